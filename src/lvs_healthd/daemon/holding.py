"""Holds the table, or one service, at an operator's order, and keeps the order over a restart."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from lvs_healthd.api.peers import Peer
from lvs_healthd.events.kinds import Event, StateError, TableHeld, TableReleased
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.runtime.threads import HungError, in_thread
from lvs_healthd.state.holds import NOT_UNDERSTOOD, Hold, holds_beside, read_holds, write_holds
from lvs_healthd.state.safe_file import StateFileError
from lvs_healthd.view.hold_values import HoldOutcome, HoldRefusedError

FILE_S = 20.0
"""How long reading or writing the file may take, seconds."""

NOBODY = -1
"""The user of a hold that no operator has ordered."""


class Holding:
    """The holds that are in force.

    reconciler: its gate keeps back what is held.
    emit: receives the events.
    resolve: returns the keys and names of the services that an operator means. Raises `UnknownNameError`.
    wall: Unix time, seconds.
    """

    def __init__(
        self,
        reconciler: Reconciler,
        emit: Callable[[Event], None],
        *,
        resolve: Callable[[str], Mapping[ServiceKey, str]],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._reconciler = reconciler
        self._emit = emit
        self._resolve = resolve
        self._wall = wall
        self._holds: dict[ServiceKey | None, Hold] = {}
        self._path = Path()
        self._turn = asyncio.Lock()
        """Whoever changes the holds and their file has it, so that the file is as the last change left it."""

    @property
    def holds(self) -> tuple[Hold, ...]:
        """The holds that are in force, in the order in which they were ordered."""
        return tuple(self._holds.values())

    async def restore(self, state: str) -> None:
        """Put the holds from before a restart into force.

        state: the path of the state file.
        """
        self._path = holds_beside(state)
        try:
            holds = await in_thread(read_holds, self._path, timeout_s=FILE_S, what=f"reading {self._path}")
        except (StateFileError, HungError) as error:
            self._emit(StateError(file=str(self._path), error=str(error)))
            holds = (Hold(since=self._wall(), uid=NOBODY, reason=NOT_UNDERSTOOD),)
        self._use(holds)
        for hold in holds:
            self._emit(TableHeld(service=hold.name, uid=hold.uid, reason=hold.reason))

    async def move(self, state: str) -> None:
        """Keep the holds beside another state file from now on. The old file is left as it is.

        state: the path of the state file.
        """
        path = holds_beside(state)
        if path != self._path:
            async with self._turn:
                self._path = path
                if self._holds and (error := await self._write()):
                    self._emit(StateError(file=str(path), error=error))

    async def hold(self, which: str, reason: str, by: Peer) -> HoldOutcome:
        """Write nothing to a service, or to the whole table, from now on.

        which: the service; "" for the whole table.
        reason: why, in the operator's words.

        Raises `UnknownNameError`, and `HoldRefusedError` in shadow mode.
        """
        self._refuse_in_shadow()
        meant: Mapping[ServiceKey | None, str] = {None: ""}
        if which:
            meant = dict(self._resolve(which).items())
        async with self._turn:
            now = self._wall()
            new = [Hold(service=key, name=name, since=now, uid=by.uid, reason=reason) for key, name in meant.items()]
            self._use([*(each for each in self.holds if each.service not in meant), *new])
            for hold in new:
                self._emit(TableHeld(service=hold.name, uid=by.uid, reason=reason))
            return self._outcome(await self._write())

    async def release(self, which: str, by: Peer) -> HoldOutcome:
        """Write to a service again, or to everything that is held.

        which: the service; "" for everything that is held.

        Raises `UnknownNameError`, and `HoldRefusedError` when that is not held by itself, or in shadow mode.
        """
        self._refuse_in_shadow()
        async with self._turn:
            released = [hold for hold in self.holds if not which or self._is_meant(hold, which)]
            if not released:
                raise HoldRefusedError(self._why_not(which))
            self._use([hold for hold in self.holds if hold not in released])
            for hold in released:
                after_s = round(max(0.0, self._wall() - hold.since), 3)
                self._emit(TableReleased(service=hold.name, uid=by.uid, after_s=after_s))
            return self._outcome(await self._write())

    def _is_meant(self, hold: Hold, which: str) -> bool:
        """Whether a hold is that of the service `which`. It may have left the configuration since."""
        if hold.service is None:
            return False
        if which in (hold.name, str(hold.service)):
            return True
        return hold.service in self._resolve(which)

    def _why_not(self, which: str) -> str:
        if not self._holds:
            return "nothing is held"
        whole = "everything is held: `lvs-healthd release` ends that" if None in self._holds else "it is not held"
        return f'"{which}" has no hold of its own; {whole}'

    def _refuse_in_shadow(self) -> None:
        if self._reconciler.shadow:
            raise HoldRefusedError("this daemon writes nothing anyway: its mode is shadow")

    def _use(self, holds: Iterable[Hold]) -> None:
        self._holds = {hold.service: hold for hold in holds}
        self._reconciler.gate.hold(self._holds)
        self._reconciler.look_again()

    async def _write(self) -> str:
        """Write the file. Return why that failed, or ""."""
        try:
            await in_thread(write_holds, self._path, self.holds, timeout_s=FILE_S, what=f"writing {self._path}")
        except (StateFileError, HungError) as error:
            return str(error)
        return ""

    def _outcome(self, error: str) -> HoldOutcome:
        return HoldOutcome(held=tuple(hold.name for hold in self.holds), not_kept=error)
