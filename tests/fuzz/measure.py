"""Measures what a search has found: the code that it reaches, the longest call, and memory. A process of its own.

`python -m tests.fuzz.measure NAME FOLDER BYTES SECONDS`. There is no fuzzer in this process, because it would be
measured too. FOLDER/measured.json says what was measured.
"""

import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import coverage

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lvs_healthd"

_reached = coverage.Coverage(data_file=None, include=[f"{SOURCE}/*"], branch=False)
_reached.start()

from tests.fuzz.changes import changed  # noqa: E402  # what a module does when it is imported counts as reached
from tests.fuzz.conversation import Stopwatch  # noqa: E402
from tests.fuzz.subject import Subject  # noqa: E402
from tests.fuzz.subjects import subjects  # noqa: E402

_REPEATED = 3
"""How often an input that seems to be the slowest is run. The shortest time counts, because others work here too."""

_MOST_TRACED = 4000
"""How many inputs are run to see which code they reach. That takes ten times as long."""

_WARMING = 4
"""What part of the bytes, one in so many, is run before memory is looked at: until then bounded memories fill."""

_PAGE = resource.getpagesize()


def main() -> None:
    """Measure, and write the figures."""
    name, written, most_bytes, seconds = sys.argv[1:]
    subject, folder = subjects()[name], Path(written)
    inputs = [each.read_bytes() for each in sorted((folder / "inputs").iterdir())]
    inputs += [*subject.seeds, *subject.heavy]
    watch = Stopwatch()
    for data in inputs[:: len(inputs) // _MOST_TRACED + 1]:
        _run(subject, data, watch)
    _reached.stop()
    reached = {file: _part_reached(SOURCE / file) for file in subject.files}
    slowest_s, slowest = _slowest(subject, inputs)
    light = [data for data in inputs if data not in set(subject.heavy)]
    changes = changed(light, subject.words, seed=1)
    until = time.monotonic() + float(seconds)
    count = _spend(subject, changes, int(most_bytes) // _WARMING, until)
    before = _resident()
    count += _spend(subject, changes, int(most_bytes) * (_WARMING - 1) // _WARMING, until)
    measured = {
        "reached": reached,
        "slowest_ms": slowest_s * 1000,
        "slowest": slowest.hex(),
        "executions": count,
        "resident_before": before,
        "resident_after": _resident(),
    }
    (folder / "measured.json").write_text(json.dumps(measured), encoding="utf-8")


def _run(subject: Subject, data: bytes, watch: Stopwatch) -> None:
    """Run an input. What is wrong with its outcome is the search's to say."""
    with contextlib.suppress(Exception):
        subject.feed(data, watch)


def _part_reached(file: Path) -> float:
    """Return the part of a file's statements that were run, in percent."""
    _, statements, _, missing, _ = _reached.analysis2(str(file))
    return 100 * (1 - len(missing) / max(1, len(statements)))


def _slowest(subject: Subject, inputs: Iterable[bytes]) -> tuple[float, bytes]:
    """Return the CPU time of the longest call that any of the inputs causes, seconds, and that input."""
    slowest = 0.0, b""
    for data in inputs:
        spent = _longest_call(subject, data)
        for _ in range(_REPEATED - 1):
            if spent <= slowest[0]:
                break
            spent = min(spent, _longest_call(subject, data))
        slowest = max(slowest, (spent, data))
    return slowest


def _longest_call(subject: Subject, data: bytes) -> float:
    watch = Stopwatch()
    _run(subject, data, watch)
    return watch.worst_s


def _spend(subject: Subject, inputs: Iterable[bytes], most_bytes: int, until: float) -> int:
    """Run inputs until there were enough bytes, or the time is up. Return how many were run."""
    watch = Stopwatch()
    spent = count = 0
    for data in inputs:
        _run(subject, data, watch)
        spent += len(data)
        count += 1
        if spent >= most_bytes or time.monotonic() >= until:
            break
    return count


def _resident() -> int:
    """Return the resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE


if __name__ == "__main__":
    main()
