"""Writes the state file beside the event loop: a disk that hangs must not stop probing, the watchdog or a stop.

One write at a time, the newest wins, on a thread that does not keep the process alive.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

from lvs_healthd.state.file import Ours, SavedVerdict, StateFileError, write_state

_Content = tuple[Path, Ours, tuple[SavedVerdict, ...]]


class StateWriter:
    """Takes contents to write. `report` is called on the loop when writing begins to fail, once until it works."""

    def __init__(self, loop: asyncio.AbstractEventLoop, report: Callable[[Path, StateFileError], None]) -> None:
        self._loop = loop
        self._report = report
        self._next: _Content | None = None
        self._asked = 0
        """How many writes were asked for; the last one done tells whether any is left."""
        self._work = threading.Condition()
        self._idle = asyncio.Event()
        self._idle.set()
        self.has_failed = False
        """Whether the last write failed."""
        self._thread: threading.Thread | None = None

    def write(self, path: Path, ours: Ours, verdicts: tuple[SavedVerdict, ...]) -> None:
        """Write this soon; returns at once."""
        self._idle.clear()
        with self._work:
            self._next = (path, ours, verdicts)
            self._asked += 1
            self._work.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="state", daemon=True)
            self._thread.start()

    async def flush(self) -> None:
        """Wait until all is written. The caller bounds the wait."""
        await self._idle.wait()

    def _run(self) -> None:
        while True:
            with self._work:
                while self._next is None:
                    self._work.wait()
                (path, ours, verdicts), self._next = self._next, None
                number = self._asked
            error: StateFileError | None = None
            try:
                write_state(path, ours, verdicts)
            except StateFileError as caught:
                error = caught
            try:
                self._loop.call_soon_threadsafe(self._done, number, path, error)
            except RuntimeError:
                return  # the loop has ended meanwhile

    def _done(self, number: int, path: Path, error: StateFileError | None) -> None:
        if error is not None and not self.has_failed:
            self._report(path, error)
        self.has_failed = error is not None
        if number == self._asked:
            self._idle.set()
