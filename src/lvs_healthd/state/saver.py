"""Decides when the state file is written.

Changed verdicts are written at intervals. A change of ownership, which says what in the kernel's table belongs to the
daemon, is written at once, and so is everything when the daemon stops.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from lvs_healthd.runtime.pace import paced
from lvs_healthd.state.file import Ours, SavedVerdict

STATE_S = 5.0
"""The minimum time between two writes of changed verdicts, seconds. The file holds every check: 2 MB with 10 000
servers. A crash may lose the reasons of the last seconds, but the kernel's table shows which servers serve."""


class StateWriter(Protocol):
    """Writes the state file without waiting for it; a `state.writer.Writer`."""

    error: str
    """Why the last write failed; empty if it did not."""

    def write(self, path: Path, ours: Ours, verdicts: tuple[SavedVerdict, ...], written: float, /) -> None:
        """Have this content written soon, as `write_state` does."""


class Saver:
    """Passes the state to the writer when a write is due.

    writer: writes the state file.
    verdicts: returns the verdicts to save.
    ours: returns the part of the kernel's table that belongs to the daemon.
    written: notes that the state is written now, and returns the time to write into it, Unix time.
    """

    def __init__(
        self,
        writer: StateWriter,
        verdicts: Callable[[], Iterable[SavedVerdict]],
        ours: Callable[[], Ours],
        written: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._verdicts = verdicts
        self._ours = ours
        self._written = written
        self._is_due = True
        self._saved = Ours()
        self._not_before = -math.inf

    def changed(self) -> None:
        """Note that verdicts have changed, so that they are saved."""
        self._is_due = True

    async def turn(self, path: Path, now: float) -> None:
        """Write the state if a write is due.

        path: the state file.
        now: monotonic time, seconds. The daemon passes infinity when it stops, so that any change is written at once.
        """
        ours = self._ours()
        is_due = self._is_due or bool(self._writer.error)
        if not ((is_due and now >= self._not_before) or ours != self._saved):
            return
        self._is_due, self._saved = False, ours
        self._not_before = now + STATE_S
        # A verdict that changes while the verdicts are collected makes the next write due.
        verdicts = tuple([verdict async for verdict in paced(self._verdicts())])
        self._writer.write(path, ours, verdicts, self._written())
