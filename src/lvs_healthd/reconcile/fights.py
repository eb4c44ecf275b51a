"""Notices when somebody else undoes our writes again and again, reports who it may be, and slows our writes down.

`runtime.patience` decides how long a line of the table is left alone. A line is a service itself or one of its servers.
Lines that clients depend on are never left alone: a missing service, and servers of a service in which no other server
serves.
"""

import asyncio
import math
from collections.abc import Callable, Sequence

from lvs_healthd.events.kinds import Event, TableFight, TableFightOver
from lvs_healthd.ipvs.diff import Phase, changes_way, line_of, takes_capacity
from lvs_healthd.ipvs.drift import Drift, Kind
from lvs_healthd.ipvs.records import DestinationRecord, Operation, ServiceKey, ServiceRecord, TableLine, Verb
from lvs_healthd.runtime.pace import paced
from lvs_healthd.runtime.patience import TIMES, hold_s

TOLD_AGAIN_S = 600.0
"""The minimum time between two events about the same fight, seconds."""
_CALM_RESYNCS = 10
"""A fight is over when nobody has undone its line for this many resync intervals plus twice the time that the line was
held back."""


_GIVING = (Phase.ADD_SERVERS, Phase.RAISE)
"""The phases that bring servers into service."""


class _Fight:
    """One line of the table that somebody else has changed back."""

    __slots__ = ("held", "hold_s", "last", "times", "told", "until")

    def __init__(self) -> None:
        self.times = 0
        self.last = 0.0
        self.hold_s = 0.0
        self.until = -math.inf
        self.told = -math.inf
        self.held: tuple[Verb, ServiceRecord | DestinationRecord] | None = None
        """The write that is held back. Any other write to the same line is a newer decision of ours and goes out."""


class Fights:
    """The lines of the table that somebody else undoes, and how long to leave each alone.

    emit: receives the events.
    name: returns the name of a service.
    suspects: returns the programs that may be undoing our writes. Called on a thread, because it reads all of /proc.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        name: Callable[[ServiceKey], str],
        suspects: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.resync_s = 0.0
        """How often the table is read back, seconds."""
        self._emit = emit
        self._name = name
        self._suspects = suspects
        self._lines: dict[TableLine, _Fight] = {}
        self._to_tell: list[TableLine] = []

    @property
    def count(self) -> int:
        """How many lines somebody else keeps undoing."""
        return sum(fight.times >= TIMES for fight in self._lines.values())

    def drifted(self, drift: Drift, now: float) -> None:
        """Note that a line was found to differ from what we wrote.

        now: monotonic, seconds.
        """
        line = (drift.service, drift.server)
        fight = self._lines.get(line)
        if fight is None or self._is_over(fight, now):
            fight = self._lines[line] = _Fight()
        fight.times += 1
        fight.last = now
        fight.held = None
        if fight.times < TIMES:
            return
        fight.hold_s = 0.0 if drift.kind is Kind.MISSING_SERVICE else hold_s(fight.times, self.resync_s)
        fight.until = now + fight.hold_s
        if now - fight.told >= TOLD_AGAIN_S:
            fight.told = now
            self._to_tell.append(line)

    def held_until(self, line: TableLine, now: float) -> float | None:
        """Return until when a line is left alone because somebody else undoes our writes; None if it is not.

        now: monotonic, seconds.
        """
        fight = self._lines.get(line)
        return fight.until if fight is not None and fight.until > now else None

    def release(self) -> None:
        """Hold nothing back until the next drift, because an operator has reloaded and wants everything written."""
        for fight in self._lines.values():
            fight.until = -math.inf

    def hold_back(
        self,
        phases: dict[Phase, list[Operation]],
        now: float,
        *,
        is_configured: Callable[[TableLine], bool],
        is_dark: Callable[[ServiceKey], bool],
    ) -> bool:
        """Remove from `phases` the writes that somebody else would only undo. Return whether there were any.

        Three kinds of writes are never held back:

        - a write that takes a configured server out of service, because that server is down;
        - a write that adds a service, because without it clients reach nobody;
        - if no server of a service serves as wanted, a write that makes one serve, for the same reason. It may add the
          server, raise its weight, or correct its forwarding method or tunnel.

        now: monotonic, seconds.
        is_configured: whether a line belongs to a configured server.
        is_dark: whether a service is not in the table, or none of the servers that should serve it serves as wanted.
        """
        if not any(fight.until > now for fight in self._lines.values()):
            return False
        is_any_held = False
        for phase, operations in phases.items():
            kept = [
                operation
                for operation in operations
                if phase is Phase.ADD_SERVICES
                or not self._is_held(operation, now)
                or (takes_capacity(operation) and is_configured(line_of(operation)))
                or ((phase in _GIVING or changes_way(operation)) and is_dark(operation.service.key))
            ]
            is_any_held |= len(kept) < len(operations)
            phases[phase] = kept
        return is_any_held

    async def report(self, now: float) -> None:
        """Emit an event for each new fight, and for each that is over.

        now: monotonic, seconds.
        """
        told, self._to_tell = self._to_tell, []
        suspects = tuple(await asyncio.to_thread(self._suspects)) if told else ()
        async for line in paced(told):
            fight = self._lines[line]
            service, server = self._words(line)
            self._emit(
                TableFight(service=service, server=server, times=fight.times, hold_s=fight.hold_s, suspects=suspects)
            )
        async for line in paced([line for line, fight in self._lines.items() if self._is_over(fight, now)]):
            if self._lines.pop(line).times >= TIMES:
                service, server = self._words(line)
                self._emit(TableFightOver(service=service, server=server))

    def _is_held(self, operation: Operation, now: float) -> bool:
        fight = self._lines.get(line_of(operation))
        if fight is None or fight.until <= now:
            return False
        what = (operation.verb, operation.destination or operation.service)
        if fight.held is None:
            fight.held = what
        return fight.held == what

    def _is_over(self, fight: _Fight, now: float) -> bool:
        return now - fight.last > _CALM_RESYNCS * self.resync_s + 2 * fight.hold_s

    def _words(self, line: TableLine) -> tuple[str, str]:
        key, server = line
        return self._name(key), "" if server is None else str(server)
