"""`python -m bench.record`: records the lab kernel's answers for `recorded_kernel` in recorded.json."""

import json
from pathlib import Path

from bench.lab_run import run_in_lab

FILE = Path(__file__).with_name("recorded.json")

_DEADLINE_S = 120.0


def main() -> None:
    """Replace the recording."""
    recorded = run_in_lab("bench.guest_record", deadline_s=_DEADLINE_S)
    FILE.write_text(json.dumps(recorded, indent=1) + "\n", encoding="ascii")
    print(f"recorded from Linux {recorded['kernel']}: {FILE}")


if __name__ == "__main__":
    main()
