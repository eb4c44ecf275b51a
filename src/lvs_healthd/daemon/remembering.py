"""Keeps what has happened to real servers over restarts, in a file beside the state file (see `state.history`).

The file is written as a whole, so the more there is in it, the more seldom it is written. What happened in the last
seconds before a crash is lost; it is in the log.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from lvs_healthd.events.kinds import Event, StateError, StateRecovered
from lvs_healthd.runtime.exceptions import HealthdError
from lvs_healthd.runtime.pace import paced
from lvs_healthd.runtime.threads import in_thread
from lvs_healthd.state.history import Happened, Place, history_beside, read_history, write_history
from lvs_healthd.state.safe_file import StateFileError
from lvs_healthd.state.writer import Writer
from lvs_healthd.view.past import Past

WRITE_S = 5.0
"""The minimum time between two writes, seconds."""

SHARE = 0.005
"""The largest share of the time that writing may take, 0 to 1: a file that takes 0.1 s is written every 20 s."""

READ_S = 20.0
"""How long reading the file may take, seconds."""


class Remembering:
    """Reads the file at the start, and writes it when something has happened.

    past: what has happened.
    emit: receives the events.
    loop: the event loop that runs this.
    """

    def __init__(self, past: Past, emit: Callable[[Event], None], loop: asyncio.AbstractEventLoop) -> None:
        self._past = past
        self._emit = emit
        self._writer = Writer(loop, self._write, self._told)
        self._path = Path()
        """The file that was written last, or read."""
        self._is_restored = False
        """Whether what was read is remembered. Before that, nothing is written, because it would be lost."""
        self._began = 0.0
        """When it was written last, monotonic time."""
        self._took_s = 0.0
        """How long that took."""

    @property
    def error(self) -> str:
        """Why the last write failed; empty if it did not."""
        return self._writer.error

    async def read(self, state: str, *, rescue: bool) -> Mapping[Place, tuple[Happened, ...]]:
        """Read the file at the start. What cannot be used is told, and counts as empty.

        state: the path of the state file.
        rescue: whether an unusable file is put aside.
        """
        self._path = path = history_beside(state)

        def read() -> Mapping[Place, tuple[Happened, ...]]:
            return read_history(path, rescue=rescue)

        try:
            return await in_thread(read, timeout_s=READ_S, what=f"reading {path}")
        except HealthdError as error:
            self._emit(StateError(file=str(path), error=str(error)))
            return {}

    async def restore(self, before: Mapping[Place, tuple[Happened, ...]]) -> None:
        """Remember what has happened before this start.

        before: what `read` has returned.
        """
        await self._past.restore(before)
        self._is_restored = True

    async def turn(self, state: str, now: float) -> None:
        """Write the file if that is due.

        state: the path of the state file.
        now: monotonic time, seconds; infinity when the daemon stops.
        """
        path = history_beside(state)
        is_due = self._past.is_changed or self._writer.error or path != self._path
        if not (is_due and self._is_restored):
            return
        if now < self._began + max(WRITE_S, self._took_s / SHARE):
            return
        self._path, self._began, self._past.is_changed = path, now, False
        # What happens while this is collected makes the next write due.
        self._writer.write(path, [each async for each in paced(self._past.kept())])

    async def flush(self) -> None:
        """Wait until everything is written. This may take forever, so the caller must set a time limit."""
        await self._writer.flush()

    def _write(self, path: Path, past: list[tuple[Place, tuple[Happened, ...]]]) -> None:
        began = time.perf_counter()
        write_history(path, past)
        self._took_s = time.perf_counter() - began

    def _told(self, path: Path, error: StateFileError | None) -> None:
        file = str(path)
        self._emit(StateRecovered(file=file) if error is None else StateError(file=file, error=str(error)))
