"""When what a restart needs is saved: changed verdicts now and then, ownership and a stop at once."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

from lvs_healthd.runtime.pace import paced
from lvs_healthd.state.file import Ours, SavedVerdict
from lvs_healthd.state.writer import StateWriter

STATE_S = 5.0
"""A changed verdict is saved at most this often: the file holds every check, 2 MB with 10 000 servers. A crash may lose
the reasons of the last seconds; who serves is in the table. Which services are ours, and a stop, are saved at once."""


class Saver:
    """Decides when `writer` writes. `verdicts` and `ours` say what there is to save."""

    def __init__(
        self,
        writer: StateWriter,
        verdicts: Callable[[], Iterable[SavedVerdict]],
        ours: Callable[[], Ours],
    ) -> None:
        self._writer = writer
        self._verdicts = verdicts
        self._ours = ours
        self._is_due = True
        self._saved = Ours()
        self._not_before = -math.inf

    def changed(self) -> None:
        """Take note that verdicts changed."""
        self._is_due = True

    async def turn(self, path: Path, now: float) -> None:
        """Have it written if that is due; `now` is monotonic, seconds, infinite at a stop."""
        ours = self._ours()
        is_due = self._is_due or self._writer.has_failed
        if not ((is_due and now >= self._not_before) or ours != self._saved):
            return
        self._is_due, self._saved = False, ours
        self._not_before = now + STATE_S
        # A verdict that changes between two slices makes the next write due.
        verdicts = tuple([verdict async for verdict in paced(self._verdicts())])
        self._writer.write(path, ours, verdicts)
