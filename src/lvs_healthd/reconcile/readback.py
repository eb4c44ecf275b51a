"""The kernel's table as last read, then changed by the writes it acknowledged; and what of that is in doubt."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable

from lvs_healthd.ipvs.diff import Servers, is_foreign, is_in_effect, line_of, size, update
from lvs_healthd.ipvs.drift import Drift, compare
from lvs_healthd.ipvs.interface import IpvsTable
from lvs_healthd.ipvs.records import Operation, ServiceKey, Table, TableLine, Verb
from lvs_healthd.reconcile.fights import Fights
from lvs_healthd.reconcile.reports import Observer, Teller
from lvs_healthd.reconcile.todo import EQUAL_SLICE
from lvs_healthd.runtime.pace import Pace, sliced

_TOLD_IN_SLICE = 100
"""Events told between two turns of the event loop: 100 at 20 µs hold it up for 2 ms."""
_DRIFT_COST = EQUAL_SLICE // _TOLD_IN_SLICE


class Readback:
    """What is known of `table`.

    `ours` returns the services that are wanted now, `servers` which of their servers are ours (see `diff.Servers`).
    `written` is called for each write that turns out to have been done.
    """

    def __init__(
        self,
        table: IpvsTable,
        teller: Teller,
        observer: Observer,
        fights: Fights,
        clock: Callable[[], float],
        *,
        ours: Callable[[], Table],
        servers: Servers,
        written: Callable[[Operation], None],
    ) -> None:
        self.actual: Table = {}
        """The kernel's table, as last read and then changed by the writes it acknowledged."""
        self.last_resync: float | None = None
        """When the whole table was last read, on `clock`."""
        self.due = -math.inf
        """When it is to be read whole again, on `clock`."""
        self.resync_s = 0.0
        self.progress = clock()
        """When the work last got on, on `clock`."""
        self.is_all_stale = False
        """Whether the whole of `actual` is in doubt."""
        self.stale: set[ServiceKey] = set()
        """Services whose entry in `actual` is in doubt."""
        self.unconfirmed: list[Operation] = []
        """Writes whose outcome is unknown until the next read."""
        self.moved: set[TableLine] = set()
        """Lines of `actual` that changed since they were last asked for."""
        self._table = table
        self._teller = teller
        self._observer = observer
        self._fights = fights
        self._clock = clock
        self._ours = ours
        self._servers = servers
        self._written = written

    async def read_whole(self) -> Table:
        """Read the whole table. Raises `TableUnavailableError`."""
        started = self._clock()
        found = await self._table.read()
        now = self._clock()
        self.last_resync = self.progress = now
        self.due = now + self.resync_s
        self._observer.resync(now - started)
        return found

    async def resync(self, *, tell: bool) -> None:
        """Read everything back; with `tell`, say what somebody else has done to our services.

        Raises `TableUnavailableError`.
        """
        keys = dict.fromkeys(self._ours())
        found = await self.read_whole()
        await self._confirm(found)
        surprises = {drift.service: None async for drift in self._drifts(found, keys)}
        if surprises:
            # A dump is not atomic: one that races a write may skip an entry. Look again before believing it.
            second = await self._table.read_services(list(surprises))
            for key in surprises:
                _replace(found, key, second)
        await self._absorb(found, surprises, tell=tell)
        # Of a service that came with a reload meanwhile, nobody has looked at single lines.
        known = keys.keys() & self.actual.keys()
        self.moved.update((key, None) for key in {*self.actual, *found} - known)
        self.actual = found
        self.is_all_stale = False
        self.stale.clear()

    async def reread(self, *, tell: bool) -> list[ServiceKey]:
        """Read back the services in doubt, and return which they were. Raises `TableUnavailableError`."""
        keys = sorted(self.stale)
        found = await self._table.read_services(keys)
        await self._confirm(found)
        await self._absorb(found, keys, tell=tell)
        for key in keys:
            if key not in self.actual:
                self.moved.add((key, None))
            _replace(self.actual, key, found)
        self.stale.clear()
        self.progress = self._clock()
        return keys

    def take_in(self, operation: Operation) -> None:
        """Note that a write is in effect."""
        update(self.actual, operation)
        self.moved.add(line_of(operation))

    def knows(self, operation: Operation) -> bool:
        """Whether a write has a place in `actual`; if not, its service has gone meanwhile."""
        is_of_service = operation.verb in (Verb.ADD_SERVICE, Verb.DELETE_SERVICE)
        return is_of_service or operation.service.key in self.actual

    async def _confirm(self, found: Table) -> None:
        """Settle the writes of unknown outcome: what is in effect was done."""
        unconfirmed, self.unconfirmed = self.unconfirmed, []
        async for operation in sliced(unconfirmed, _TOLD_IN_SLICE):
            if is_in_effect(operation, found):
                self._written(operation)

    async def _absorb(self, found: Table, keys: Iterable[ServiceKey], *, tell: bool) -> None:
        """Take in what somebody else has done to our services."""
        now = self._clock()
        ours = self._ours()
        async for drift in self._drifts(found, [key for key in keys if key in ours]):
            line = (drift.service, drift.server)
            self.moved.add(line)
            # A reload may have dropped the service meanwhile.
            if tell and drift.service in self._ours() and not is_foreign(line, self._servers):
                self._teller.drifted(drift)
                self._fights.drifted(line, now)

    async def _drifts(self, found: Table, keys: Iterable[ServiceKey]) -> AsyncIterator[Drift]:
        """Find how services differ from the way we left them."""
        pace = Pace(EQUAL_SLICE)
        for key in keys:
            if pace.spend(size(key, self.actual)):
                await asyncio.sleep(0)
            for drift in compare(self.actual, found, [key]):
                yield drift
                if pace.spend(_DRIFT_COST):
                    await asyncio.sleep(0)


def _replace(table: Table, key: ServiceKey, source: Table) -> None:
    if key in source:
        table[key] = source[key]
    else:
        table.pop(key, None)
