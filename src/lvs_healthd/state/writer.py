"""Writes a file of state in a thread, because a disk that hangs must not delay probes, the watchdog or a stop.

The thread makes one write at a time. If several writes are waiting, only the newest is made. The thread is a daemon
thread, so it does not keep the process alive.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Concatenate, Generic, ParamSpec

from lvs_healthd.runtime.garbage import give_back_free_memory
from lvs_healthd.state.safe_file import StateFileError

_Content = ParamSpec("_Content")


class Writer(Generic[_Content]):
    """Writes a file in a thread.

    write_file: writes content to the file. Called on the thread. Raises `StateFileError`.
    report: called on the loop with the file and the error, when writing starts to fail and when the error becomes a
        different one. Called with None instead of the error when writing works again.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        write_file: Callable[Concatenate[Path, _Content], None],
        report: Callable[[Path, StateFileError | None], None],
    ) -> None:
        self._loop = loop
        self._write_file = write_file
        self._report = report
        self._next: tuple[Path, Callable[[], None]] | None = None
        self._asked = 0
        """How many writes were requested so far. When the write with this number is finished, none is waiting."""
        self._work = threading.Condition()
        self._idle = asyncio.Event()
        self._idle.set()
        self.error = ""
        """Why the last write failed; empty if it did not."""
        self._thread: threading.Thread | None = None

    def write(self, path: Path, *content: _Content.args, **more: _Content.kwargs) -> None:
        """Have the thread write this content to the file. This returns at once."""
        self._idle.clear()
        with self._work:
            self._next = path, partial(self._write_file, path, *content, **more)
            self._asked += 1
            self._work.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="state", daemon=True)
            self._thread.start()

    async def flush(self) -> None:
        """Wait until everything is written. This may take forever, so the caller must set a time limit."""
        await self._idle.wait()

    def _run(self) -> None:
        while True:
            with self._work:
                while self._next is None:
                    self._work.wait()
                (path, write), self._next = self._next, None
                number = self._asked
            error: Exception | None = None
            try:
                write()
            except Exception as caught:  # noqa: BLE001  # reported on the event loop, even if it is a bug
                error = caught
            del write  # its content may take megabytes, and the next write may be hours away
            # The content has changed because of a start, a reload or a failure, which has used memory for a moment.
            give_back_free_memory()
            try:
                self._loop.call_soon_threadsafe(self._done, number, path, error)
            except RuntimeError:
                return  # the loop was closed meanwhile

    def _done(self, number: int, path: Path, error: Exception | None) -> None:
        if error is not None and not isinstance(error, StateFileError):
            error = StateFileError(f"{path}: cannot write, which is a fault of lvs-healthd: {error!r}")
        text = "" if error is None else str(error)
        if text != self.error:
            self._report(path, error)
        self.error = text
        if number == self._asked:
            self._idle.set()
