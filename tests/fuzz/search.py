"""Searches for inputs of one subject that reach new code, with atheris (libFuzzer): a process of its own.

`python -m tests.fuzz.search NAME FOLDER BYTES SECONDS`. The inputs that reach something new go into FOLDER/inputs, and
the slowest ones too. FOLDER/found.json says what was found.
"""

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

import atheris

INSTRUMENTED = ["lvs_healthd.probes", "lvs_healthd.probing", "lvs_healthd.programs", "h2", "hpack"]
"""The packages in which the fuzzer sees what an input reaches."""

with atheris.instrument_imports(
    include=INSTRUMENTED,
    enable_loader_override=False,
):
    import h2.connection  # noqa: F401  # the conversations import it only when they need it

    from tests.fuzz.conversation import Stopwatch
    from tests.fuzz.subject import Subject
    from tests.fuzz.subjects import subjects

_LONGEST = 4096
"""How long an input becomes at most, bytes. Repetition (`tests.fuzz.control`) makes longer answers of it."""

_SLOW_KEPT = 16
"""How many of the slowest inputs are kept."""

_MOST_FAULTS = 20
"""How many different faults are noted before the search ends."""


class Search:
    """Runs inputs until there were enough of them.

    most_bytes: how many bytes of inputs.
    until: when to end at the latest, monotonic seconds.
    """

    def __init__(self, subject: Subject, folder: Path, most_bytes: int, until: float) -> None:
        self._subject = subject
        self._folder = folder
        self._most_bytes = most_bytes
        self._until = until
        self._watch = Stopwatch()
        self._bytes = self._count = 0
        self._faults: dict[str, str] = {}
        self._slow: list[tuple[float, bytes]] = []

    def run(self, data: bytes) -> None:
        """Run one input."""
        self._watch.reset()
        try:
            self._subject.feed(data, self._watch)
        except Exception as error:  # noqa: BLE001  # what is looked for
            self._note(error, data)
        self._bytes += len(data)
        self._count += 1
        spent = self._watch.worst_s
        if len(self._slow) < _SLOW_KEPT or spent > self._slow[-1][0]:
            self._slow = sorted((*self._slow, (spent, data)), reverse=True)[:_SLOW_KEPT]
        if self._bytes >= self._most_bytes or time.monotonic() >= self._until or len(self._faults) >= _MOST_FAULTS:
            self.end()

    def _note(self, error: Exception, data: bytes) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        if where not in self._faults:
            self._faults[where] = str(error)[:300]
            (self._folder / f"fault-{len(self._faults)}").write_bytes(data)

    def end(self) -> NoReturn:
        """Write what was found, and end this process: libFuzzer has no other way to stop it from within."""
        for number, (_, data) in enumerate(self._slow):
            (self._folder / "inputs" / f"slow-{number}").write_bytes(data)
        found = {"bytes": self._bytes, "executions": self._count, "faults": self._faults}
        (self._folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
        sys.stdout.flush()
        os._exit(0)


def main() -> None:
    """Search until there is enough."""
    name, written, most_bytes, seconds = sys.argv[1:]
    subject, folder = subjects()[name], Path(written)
    inputs, seeds, words = folder / "inputs", folder / "seeds", folder / "words"
    for each in (inputs, seeds):
        each.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(subject.seeds):
        (seeds / str(number)).write_bytes(seed)
    escaped = ("".join(f"\\x{byte:02x}" for byte in word) for word in subject.words)
    words.write_text("".join(f'"{word}"\n' for word in escaped), encoding="ascii")
    search = Search(subject, folder, int(most_bytes), time.monotonic() + float(seconds))
    options = ["-verbosity=0", "-rss_limit_mb=0", "-print_final_stats=0", "-len_control=20", f"-max_len={_LONGEST}"]
    options += [f"-artifact_prefix={folder}/", f"-dict={words}", "-seed=1"]
    atheris.Setup([sys.argv[0], *options, str(inputs), str(seeds)], search.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
