"""The command: `python -m tests.fuzz [--bytes N] [--seconds N] [--jobs N] [--only NAME]... [--into FOLDER]`.

It fuzzes each subject in processes of its own, and prints a table. The exit status is 1 if a fault was found.
"""

import argparse
import concurrent.futures
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from tests.fuzz.subjects import subjects

BYTES = 10_000_000
"""How many bytes of inputs each subject gets unless told otherwise."""
SECONDS = 300
"""How long each of the two steps of a subject may take, unless told otherwise."""

_PATIENCE_S = 120
"""How much longer a process may take before it is ended, because it has begun an input that holds it up."""

_MIB = 2**20

_HEAD = """\
| what | bytes | executions | faults | its code reached | longest call | memory after warming up, and at the end |
|---|---|---|---|---|---|---|"""


def main() -> int:
    """Fuzz what was chosen, and print what was found."""
    arguments = _arguments()
    chosen = arguments.only or list(subjects())
    folder: Path = arguments.into
    print(_HEAD, flush=True)
    printing = threading.Lock()
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:

        def fuzz(name: str) -> dict[str, Any]:
            found = _fuzzed(name, folder / name, arguments.bytes, arguments.seconds)
            with printing:
                print(_row(name, found), flush=True)
            return found

        found = dict(zip(chosen, pool.map(fuzz, chosen), strict=True))
    for name, each in found.items():
        for where, text in each["faults"].items():
            print(f"{name}: {where}: {text}", file=sys.stderr)
    return int(any(each["faults"] for each in found.values()))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--bytes", type=int, default=BYTES, help="how many bytes of inputs each subject gets")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long each step of a subject may take")
    parser.add_argument("--jobs", type=int, default=1, help="how many subjects at once")
    parser.add_argument("--only", action="append", choices=list(subjects()), help="a subject; may be repeated")
    parser.add_argument("--into", type=Path, default=Path(".cache/fuzz"), help="where inputs are kept")
    return parser.parse_args()


def _fuzzed(name: str, folder: Path, most_bytes: int, seconds: float) -> dict[str, Any]:
    """Search and measure. Return what was found."""
    for file in ("found.json", "measured.json"):
        (folder / file).unlink(missing_ok=True)
    shutil.rmtree(folder / "seeds", ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    faults: dict[str, str] = {}
    result: dict[str, Any] = {"faults": faults}
    for step, written in (("search", "found.json"), ("measure", "measured.json")):
        command = (sys.executable, "-m", f"tests.fuzz.{step}", name, str(folder), str(most_bytes), str(seconds))
        with (folder / f"{step}.log").open("w", encoding="utf-8") as log:
            try:
                subprocess.run(command, stdout=log, stderr=log, timeout=seconds + _PATIENCE_S, check=True)
            except subprocess.SubprocessError as error:
                faults[step] = f"{error}; see {log.name}"
                return result
        result[step] = json.loads((folder / written).read_text(encoding="utf-8"))
    faults |= result["search"]["faults"]
    return result


def _row(name: str, found: dict[str, Any]) -> str:
    if "measure" not in found:
        return f"| {name} | failed | | | | | |"
    search, measured = found["search"], found["measure"]
    reached = ", ".join(f"{Path(file).stem} {part:.0f} %" for file, part in measured["reached"].items())
    memory = f"{measured['resident_before'] / _MIB:.1f} MiB, {measured['resident_after'] / _MIB:.1f} MiB"
    return (
        f"| {name} | {search['bytes'] / 1e6:.1f} M | {search['executions']} | {len(search['faults'])} "
        f"| {reached} | {measured['slowest_ms']:.2f} ms | {memory} |"
    )


if __name__ == "__main__":
    sys.exit(main())
