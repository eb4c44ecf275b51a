"""Writes a whole table to a real IPVS, in the lab, with ipvsadm and with the daemon's reconciler.

`scenarios/table.py` starts `python -m bench.guest_table N`: N rounds, each with both programs.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.whole_table import commands, live, table


def main() -> None:
    """Measure, and write the results as JSON into the folder shared with the host."""
    entries = table()
    lines = commands(entries)
    found: dict[str, list[float]] = {}
    for _ in range(int(sys.argv[1])):
        took = asyncio.run(live(entries))
        row = {
            "start": took.start.wall_s,
            "resync": min(each.wall_s for each in took.resyncs),
            "removal": took.removal.wall_s,
            "ipvsadm -R": _run_s("-R", stdin=lines),
            "ipvsadm -Sn": _run_s("-Sn"),
            "ipvsadm -C": _run_s("-C"),
            "ipvsadm -C, empty": _run_s("-C"),
        }
        for name, seconds in row.items():
            found.setdefault(name, []).append(seconds)
        print("    " + ", ".join(f"{name}: {seconds:.2f} s" for name, seconds in row.items()), flush=True)
    result = {"kernel": os.uname().release, "took": found}
    folder = Path(os.environ["LVS_HEALTHD_LAB_FOLDER"])
    (folder / "result.json").write_text(json.dumps(result), encoding="ascii")


def _run_s(option: str, *, stdin: str = "") -> float:
    began = time.monotonic()
    subprocess.run(["ipvsadm", option], input=stdin, check=True, text=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
