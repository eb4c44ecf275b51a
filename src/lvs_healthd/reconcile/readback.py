"""Holds what we know of the kernel's table, as last read plus the acknowledged writes, and which parts are in doubt."""

import math
from collections.abc import AsyncIterator, Callable, Iterable

import msgspec

from lvs_healthd.ipvs.diff import is_in_effect, line_of, update
from lvs_healthd.ipvs.drift import Drift, compare
from lvs_healthd.ipvs.interface import IpvsTable
from lvs_healthd.ipvs.records import Operation, ServiceKey, Table, TableLine, Verb
from lvs_healthd.runtime.pace import Pace, paced


class Reading(msgspec.Struct, frozen=True):
    """What a reading of the table showed."""

    confirmed: tuple[Operation, ...] = ()
    """Writes whose result was unknown, and that turn out to be in effect."""
    drifts: tuple[Drift, ...] = ()
    """What somebody else has changed in the services that were asked about."""


class Readback:
    """Reads the table, and holds what is known of it.

    table: the kernel's table.
    clock: monotonic, seconds.
    """

    def __init__(self, table: IpvsTable, clock: Callable[[], float]) -> None:
        self.actual: Table = {}
        """The kernel's table, as last read and then changed by the writes it acknowledged."""
        self.last_resync: float | None = None
        """When the whole table was last read, on `clock`."""
        self.took_s = 0.0
        """How long the last reading of the whole table took, seconds."""
        self.due = -math.inf
        """When the whole table is to be read again, on `clock`."""
        self.demands = 0
        """How many times `demand` has asked for a new reading."""
        self.answered = 0
        """How many of the `demands` are answered. A reading answers all demands that were made before it began."""
        self.resync_s = 0.0
        """How often the whole table is read, seconds."""
        self.progress = clock()
        """When the reading or writing last made progress, on `clock`."""
        self.is_all_stale = False
        """Whether the whole of `actual` is in doubt."""
        self.stale: set[ServiceKey] = set()
        """Services whose entry in `actual` is in doubt."""
        self.unconfirmed: list[Operation] = []
        """Writes whose result is unknown until the next reading."""
        self.moved: dict[TableLine, None] = {}
        """Lines of `actual` that have changed and that `Reconciler.take_moved` has not returned yet."""
        self.changed_at: dict[ServiceKey, float] = {}
        """When each service by firewall mark was last seen to change, by a write of ours or by somebody else, on
        `clock`. One that is not listed is as it was at the start."""
        self._table = table
        self._clock = clock

    def note_progress(self) -> None:
        """Note that the reading or writing makes progress now."""
        self.progress = self._clock()

    async def read_whole(self) -> Table:
        """Read the whole table and return it. `actual` stays as it is.

        Raises `TableUnavailableError` when the table cannot be read.
        """
        started, demands = self._clock(), self.demands
        found = await self._table.read()
        now = self._clock()
        self.last_resync = self.progress = now
        self.took_s = now - started
        self.answered = demands
        if self.demands == demands:
            self.due = now + self.resync_s
        return found

    def demand(self) -> int:
        """Have the whole table read soon. When `answered` has reached the returned number, that is done."""
        self.demands += 1
        self.due = -math.inf
        return self.demands

    async def resync(self, ours: Iterable[ServiceKey]) -> Reading:
        """Read the whole table back, and look for drift in `ours`.

        Raises `TableUnavailableError` when the table cannot be read.
        """
        keys = dict.fromkeys(ours)
        found = await self.read_whole()
        confirmed = await self._confirm(found)
        surprises = dict.fromkeys([drift.service async for drift in self._drifts(found, keys)])
        if surprises:
            # A dump is not atomic. One that races a write may skip an entry, so read surprising services a second time.
            second = await self._table.read_services(list(surprises))
            for key in surprises:
                _replace(found, key, second)
        drifts = await self._take_drifts(found, surprises)
        # A service that a reload has added meanwhile was not searched for drift, so the service itself counts as moved.
        known = keys.keys() & self.actual.keys()
        self.moved.update(((key, None), None) for key in self.actual | found if key not in known)
        self.actual = found
        self.changed_at = {key: at for key, at in self.changed_at.items() if key in found or key in keys}
        self.is_all_stale = False
        self.stale.clear()
        return Reading(confirmed, drifts)

    async def reread(self, ours: Iterable[ServiceKey]) -> tuple[list[ServiceKey], Reading]:
        """Read the services in doubt, and look for drift in those that are in `ours`.

        Return which services were read, and what the reading showed.

        Raises `TableUnavailableError` when the table cannot be read.
        """
        keys = sorted(self.stale)
        found = await self._table.read_services(keys)
        confirmed = await self._confirm(found)
        known = self.stale.intersection(ours)
        drifts = await self._take_drifts(found, [key for key in keys if key in known])
        for key in keys:
            if key not in self.actual:
                self.moved[key, None] = None
            _replace(self.actual, key, found)
        self.stale.clear()
        self.progress = self._clock()
        return keys, Reading(confirmed, drifts)

    def take_in(self, operation: Operation) -> bool:
        """Apply a write to `actual`. Return False if that is impossible, because the service has gone meanwhile."""
        is_of_service = operation.verb in (Verb.ADD_SERVICE, Verb.DELETE_SERVICE)
        if not is_of_service and operation.service.key not in self.actual:
            return False
        update(self.actual, operation)
        self._note_change(operation.service.key)
        self.moved[line_of(operation)] = None
        return True

    async def _confirm(self, found: Table) -> tuple[Operation, ...]:
        """Apply the writes with an unknown result that turn out to be in effect, and return them."""
        unconfirmed, self.unconfirmed = self.unconfirmed, []
        confirmed = [operation async for operation in paced(unconfirmed) if is_in_effect(operation, found)]
        for operation in confirmed:
            self.take_in(operation)
        return tuple(confirmed)

    async def _take_drifts(self, found: Table, keys: Iterable[ServiceKey]) -> tuple[Drift, ...]:
        """Return what somebody else has changed in these services, and add the changed lines to `moved`."""
        drifts = [drift async for drift in self._drifts(found, keys)]
        for drift in drifts:
            self.moved[drift.service, drift.server] = None
            self._note_change(drift.service)
        return tuple(drifts)

    def _note_change(self, key: ServiceKey) -> None:
        if key.fwmark:
            self.changed_at[key] = self._clock()

    async def _drifts(self, found: Table, keys: Iterable[ServiceKey]) -> AsyncIterator[Drift]:
        """Yield the differences between these services as found and as we last knew them."""
        pace = Pace()
        for key in keys:
            if pace.is_over():
                await pace.rest()
            for drift in compare(self.actual, found, [key]):
                yield drift
                if pace.is_over():
                    await pace.rest()


def _replace(table: Table, key: ServiceKey, source: Table) -> None:
    if key in source:
        table[key] = source[key]
    else:
        table.pop(key, None)
