"""Writes a file of its own beside the state file, whenever what it keeps has changed, and tells when that fails."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from lvs_healthd.events.kinds import Event, StateError, StateRecovered
from lvs_healthd.runtime.threads import HungError, LoneCall
from lvs_healthd.state.safe_file import StateFileError

RETRY_S = 10.0
"""After how long to try again what has failed on our side, seconds."""

FILE_S = 20.0
"""How long reading or writing the file may take, seconds."""

_Content = TypeVar("_Content")


class OwnFile(Generic[_Content]):
    """Keeps something over a restart in a file of its own.

    beside: returns the file's path, given that of the state file.
    write: writes the file. Raises `StateFileError`.
    emit: receives the events.
    clock: monotonic time, seconds.
    """

    def __init__(
        self,
        beside: Callable[[str], Path],
        write: Callable[[Path, _Content], None],
        emit: Callable[[Event], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._beside = beside
        self._write = write
        self._emit = emit
        self._clock = clock
        self._state = ""
        self._is_written = False
        self.is_unsaved = False
        """Whether the file has something else than what is to be kept."""
        self._not_before = 0.0
        """When the file may be written again after an error, monotonic seconds."""
        self._call = LoneCall()
        self.error = ""
        """Why the file cannot be written; "" while it can."""

    def path(self, state: str) -> Path:
        """Return the path of the file beside this state file, from where it was read."""
        self._state = state
        return self._beside(state)

    def configured(self, state: str, *, shadow: bool) -> bool:
        """Keep the file beside this state file from now on. Return whether it must be written for that.

        shadow: whether nothing is to be written.
        """
        is_other = state != self._state or self._is_written is shadow
        self._state, self._is_written = state, not shadow
        return is_other

    async def save_if_due(self, content: Callable[[], _Content | None]) -> None:
        """Do as `save`, unless writing has failed a moment ago."""
        if self._clock() >= self._not_before:
            await self.save(content)

    async def save(self, content: Callable[[], _Content | None]) -> None:
        """Write what is to be kept, unless it is in the file already, or nothing is written.

        content: returns what is to be kept; None for nothing yet.
        """
        if not self.is_unsaved or not self._is_written or (kept := content()) is None:
            return
        path = self._beside(self._state)
        self.is_unsaved = False
        try:
            await self._call(self._write, path, kept, timeout_s=FILE_S, what=f"writing {path}")
        except (StateFileError, HungError) as error:
            self.is_unsaved, self._not_before = True, self._clock() + RETRY_S
            if str(error) != self.error:
                self.error = str(error)
                self._emit(StateError(file=str(path), error=self.error))
            return
        if self.error:
            self.error = ""
            self._emit(StateRecovered(file=str(path)))
