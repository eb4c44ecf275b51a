"""Has the real ldirectord read files, and writes what it understood beside them: NAME.cf becomes NAME.expected.json.

    python3 tests/importers/ldirectord/oracle.py /usr/sbin/ldirectord FILE...

It needs ldirectord and the Perl modules that its package depends on (PERL5LIB, if they are not installed), and runs
outside CI. Names of hosts come from NAME.hosts beside a file, if there is one ("192.0.2.1 name" in each line).
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

PROGRAM = "ldirectord 4.12.0 (Debian 12; same script in 13)"
HOW = "stock script, main loop replaced by: read_config(), ld_setup(), dump of @VIRTUAL; names from a hosts file"

BEGIN, END = "# main code\n", "# functions\nsub ld_init"
"""What is between these lines of the script starts the daemon. It is replaced by `DUMP`."""

DUMP = Path(__file__).with_name("oracle.pl").read_text(encoding="utf-8")


def understood(script: str, file: Path) -> object:
    """Return what ldirectord understands of a file, or with which message it refuses it."""
    before, _, rest = script.partition(BEGIN)
    after = rest[rest.index(END) :]
    hosts = file.with_suffix(".hosts")
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "ldirectord")
        program.write_text(before + DUMP + after, encoding="utf-8")
        run = subprocess.run(
            ["perl", str(program), str(file)],
            cwd=folder,
            env={**os.environ, "NAMES": str(hosts) if hosts.exists() else ""},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    head = {"program": PROGRAM, "how": HOW}
    if run.returncode:
        _, _, message = run.stderr.partition(" at line ")
        message = f"Error at line {message}".rstrip("\n").replace("\n", " ")
        return head | {"accepted": False, "exit_status": run.returncode, "message": message}
    return head | {"accepted": True} | json.loads(run.stdout)


def main() -> None:
    """Write the understanding of each file beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("script", type=Path, help="the program ldirectord")
    parser.add_argument("files", type=Path, nargs="+")
    given = parser.parse_args()
    script = given.script.read_text(encoding="utf-8")
    for file in given.files:
        found = understood(script, file.absolute())
        text = json.dumps(found, indent=1)
        file.with_suffix(".expected.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
