"""Makes the kernel's table equal to the wanted one, and keeps it so.

One task owns the table. Each turn of its loop reads the table back when that is due, compares it with the newest wanted
table, and writes the difference. A lost event, a foreign edit and a refused write all heal in the same way: by the next
turn. In sync, a turn writes nothing.
"""

import asyncio
import errno
import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence

from lvs_healthd.events import Event, TableError, TableRecovered
from lvs_healthd.ipvs.diff import Phase, diff, is_in_effect, phase, takes_capacity, update
from lvs_healthd.ipvs.drift import compare
from lvs_healthd.ipvs.errors import code_name
from lvs_healthd.ipvs.interface import IpvsTable, TableUnavailableError
from lvs_healthd.ipvs.records import (
    Operation,
    Result,
    ServiceKey,
    Table,
    Verb,
    Wanted,
)
from lvs_healthd.telling import NoObserver, Observer, Teller
from lvs_healthd.trouble import Trouble

HEARTBEAT_S = 1.0
"""The longest sleep between two turns, so that `progress` shows a watchdog that the loop lives."""
_ROUNDS = 3
"""Attempts within one turn when the table proves to be other than we thought; each but the first after reading back."""
_BATCH = 128
"""Writes between two looks at the clock and two turns of the event loop."""

_GONE_ANYWAY = frozenset({(Verb.DELETE_SERVER, errno.ENOENT), (Verb.DELETE_SERVICE, errno.ESRCH)})
"""What was to be deleted is not there: done."""
_MISMATCH = frozenset(
    {
        (Verb.ADD_SERVICE, errno.EEXIST),
        (Verb.SET_SERVICE, errno.ESRCH),
        (Verb.ADD_SERVER, errno.EEXIST),
        (Verb.ADD_SERVER, errno.ESRCH),
        (Verb.SET_SERVER, errno.ENOENT),
        (Verb.SET_SERVER, errno.ESRCH),
        (Verb.DELETE_SERVER, errno.ESRCH),
    }
)
"""The table is not as we thought: somebody else writes to it. Read it back, then decide again."""


class Reconciler:
    """Keeps one table true to what `want` was last given.

    `table` is written by nobody else in this process. `emit` receives the events, `clock` is monotonic, `resync_s` is
    how often the table is read back, in seconds. With `shadow` nothing is written: each difference is told once.
    """

    def __init__(
        self,
        table: IpvsTable,
        emit: Callable[[Event], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        resync_s: float,
        shadow: bool = False,
        observer: Observer | None = None,
    ) -> None:
        self.actual: Table = {}
        """The kernel's table, as last read and then changed by the writes it acknowledged."""
        self.owned: set[ServiceKey] = set()
        """The services that are ours: preset from saved state, and every service ever wanted until it is deleted."""
        self.last_resync: float | None = None
        """When the whole table was last read, on `clock`."""
        self.last_error = ""
        """Why the table is not in order; empty when it is."""
        self.shadow = shadow
        """Whether nothing is written; may be changed between two turns, and takes effect with the next."""
        self.progress = clock()
        """When the loop last got on with its work, on `clock`."""

        self._table = table
        self._emit = emit
        self._clock = clock
        self._resync_s = resync_s
        self._observer = observer or NoObserver()
        self._teller = Teller(emit, self._observer, clock)
        self._wake = asyncio.Event()

        self._wanted: Wanted | None = None
        self._is_new = False
        """`want` was called since the last attempt."""
        self._resync_at = -math.inf
        self._trouble = Trouble()

        self._stale: set[ServiceKey] = set()
        """Services whose entry in `actual` is in doubt."""
        self._is_all_stale = False
        self._unconfirmed: list[Operation] = []
        """Writes whose outcome is unknown until the next read."""

    async def open(self) -> str:
        """Make the table ready and return a line describing it. Raises `TableUnavailableError`."""
        return await self._table.open()

    async def adopt(self) -> Table:
        """Read the whole table for the first time; what it holds is the starting point, not drift.

        Raises `TableUnavailableError`.
        """
        self.actual = await self._read_whole()
        return self.actual

    def want(self, wanted: Wanted) -> None:
        """Take a new wanted table; the latest wins. Returns at once, the loop does the work."""
        self._wanted = wanted
        self._teller.want(wanted)
        if not self.shadow:
            self.owned.update(wanted.table)
        self._is_new = True
        self._wake.set()

    def set_resync(self, resync_s: float) -> None:
        """Change how often the table is read back, in seconds."""
        self._resync_s = resync_s
        if self.last_resync is not None:
            self._resync_at = self.last_resync + resync_s
        self._wake.set()

    @property
    def wanted(self) -> Wanted | None:
        """What `want` was last given."""
        return self._wanted

    def read_soon(self) -> None:
        """Read the whole table back before anything else is done."""
        self._resync_at = -math.inf
        self._wake.set()

    def in_sync(self, key: ServiceKey) -> bool:
        """Tell whether a service is in the table exactly as wanted."""
        return self._wanted is not None and self._wanted.table.get(key) == self.actual.get(key)

    async def run(self) -> None:
        """Keep the table true until cancelled."""
        while True:
            await self.turn()
            delay = min(max(self._next_due() - self._clock(), 0.0), HEARTBEAT_S)
            try:
                async with asyncio.timeout(delay):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def turn(self) -> None:
        """Do what is due now: read back, compare, write. One step of `run`."""
        self._wake.clear()
        now = self._clock()
        if now >= self._next_due():
            operation = "read"
            self._is_new = False
            try:
                await self._refresh(now)
                operation = "write"
                await self._converge()
            except TableUnavailableError as error:
                self._is_all_stale = True
                self._fail([TableError(operation=operation, service="", server="", error=str(error), retry_s=0.0)])
                self._resync_at = max(self._resync_at, self._trouble.retry_at)
        self.progress = self._clock()

    def _next_due(self) -> float:
        due = min(self._resync_at, self._trouble.retry_at, -math.inf if self._is_new else math.inf)
        return max(due, self._trouble.not_before)

    # Reading

    async def _refresh(self, now: float) -> None:
        """Read back what is due or in doubt, before anything is written."""
        if now >= self._resync_at or self._is_all_stale:
            found = await self._read_whole()
            wanted = self._wanted.table if self._wanted is not None else {}
            self._confirm(found)
            if surprises := {drift.service for drift in compare(self.actual, found, wanted)}:
                # A dump is not atomic: one that races a write may skip an entry. Look again before believing it.
                second = await self._table.read_services(list(surprises))
                for key in surprises:
                    _replace(found, key, second)
            self._absorb(found, wanted)
            self.actual = found
            self._is_all_stale = False
            self._stale.clear()
        elif self._stale:
            await self._reread()

    async def _reread(self) -> None:
        """Read back the services in doubt."""
        keys = sorted(self._stale)
        found = await self._table.read_services(keys)
        self._confirm(found)
        self._absorb(found, keys)
        for key in keys:
            _replace(self.actual, key, found)
        self._stale.clear()
        self.progress = self._clock()

    async def _read_whole(self) -> Table:
        started = self._clock()
        found = await self._table.read()
        now = self._clock()
        self.last_resync = self.progress = now
        self._resync_at = now + self._resync_s
        self._observer.resync(now - started)
        return found

    def _confirm(self, found: Table) -> None:
        """Settle the writes of unknown outcome: what is in effect was done."""
        unconfirmed, self._unconfirmed = self._unconfirmed, []
        for operation in unconfirmed:
            if is_in_effect(operation, found):
                self._done(operation)

    def _absorb(self, found: Table, keys: Iterable[ServiceKey]) -> None:
        """Tell what somebody else has done to our services. In shadow mode the table is theirs to change."""
        if self.shadow:
            return
        wanted = self._wanted.table if self._wanted is not None else {}
        for drift in compare(self.actual, found, [key for key in keys if key in wanted]):
            self._teller.drifted(drift)

    # Writing

    async def _converge(self) -> None:
        """Write the difference between the wanted and the actual table."""
        wanted = self._wanted
        if wanted is None:
            self._recover()
            return
        failed: dict[Operation, str] = {}
        refused: set[Operation] = set()
        for _ in range(_ROUNDS):
            operations = diff(wanted.table, self.actual, self.owned)
            if self.shadow:
                self._teller.would_write(operations)
                self._recover()
                return
            self._teller.writes_again()
            operations = [operation for operation in operations if operation not in refused]
            if not operations:
                break
            await self._write(operations, wanted.table, failed, refused)
            if not self._stale:
                break
            await self._reread()
        remaining = diff(wanted.table, self.actual, self.owned)
        self.owned.intersection_update(self.actual.keys() | wanted.table.keys())
        if remaining:
            errors = [
                self._teller.error(operation, failed[operation]) for operation in remaining if operation in failed
            ]
            self._fail(errors or [self._teller.error(remaining[0], "the table keeps changing under our writes")])
        else:
            self._teller.repaired()
            self._recover()

    async def _write(
        self, operations: Sequence[Operation], wanted: Table, failed: dict[Operation, str], refused: set[Operation]
    ) -> None:
        """Write in three steps, each acknowledged before the next: services, what gives capacity, what takes it."""
        for _, group in itertools.groupby(operations, key=_step):
            step = self._permitted(list(group), wanted)
            for start in range(0, len(step), _BATCH):
                batch = step[start : start + _BATCH]
                try:
                    results = await self._table.apply(batch)
                except TableUnavailableError:
                    self._unconfirmed += batch
                    raise
                for operation, result in zip(batch, results, strict=True):
                    self._settle(operation, result, failed, refused)
                self.progress = self._clock()
                await asyncio.sleep(0)

    def _permitted(self, step: list[Operation], wanted: Table) -> list[Operation]:
        """Leave out what cannot work, and what would leave a service empty because its new servers did not get in."""
        held_back = {
            key
            for key in {operation.service.key for operation in step if phase(operation) >= Phase.QUIESCE}
            if key in wanted and key in self.actual and self._is_uncovered(key, wanted)
        }
        return [
            operation
            for operation in step
            if (operation.destination is None or operation.service.key in self.actual)
            and not (operation.service.key in held_back and takes_capacity(operation))
        ]

    def _is_uncovered(self, key: ServiceKey, wanted: Table) -> bool:
        """Tell whether a service has servers that should serve and none of them is in the table yet."""
        serving = [server.key for server in wanted[key].destinations.values() if server.weight > 0]
        present = self.actual[key].destinations
        return bool(serving) and not any(server in present and present[server].weight > 0 for server in serving)

    def _settle(
        self, operation: Operation, result: Result, failed: dict[Operation, str], refused: set[Operation]
    ) -> None:
        """Act on the kernel's answer to one write."""
        self._observer.operation(operation.verb.value, result.ok, "" if result.ok else code_name(result.errno))
        failed.pop(operation, None)
        if result.errno == 0:
            self._done(operation)
            return
        if result.errno is None:
            self._unconfirmed.append(operation)
            self._stale.add(operation.service.key)
        elif (operation.verb, result.errno) in _GONE_ANYWAY:
            update(self.actual, operation)
            return
        elif (operation.verb, result.errno) in _MISMATCH:
            self._stale.add(operation.service.key)
        else:
            refused.add(operation)
        failed[operation] = result.message

    def _done(self, operation: Operation) -> None:
        """Take an acknowledged write into the cache and tell of it."""
        if operation.verb in (Verb.ADD_SERVICE, Verb.DELETE_SERVICE) or operation.service.key in self.actual:
            update(self.actual, operation)
        self._teller.written(operation)

    # Trouble

    def _fail(self, errors: Sequence[TableError]) -> None:
        now = self._clock()
        self._trouble.attempt_failed(now, len(errors))
        self.last_error = errors[0].error
        for error in self._trouble.worth_telling(errors, now):
            self._emit(error)

    def _recover(self) -> None:
        self.last_error = ""
        if self._trouble.since is not None:
            after_s = self._clock() - self._trouble.since
            self._emit(TableRecovered(errors=self._trouble.errors, after_s=after_s))
            self._trouble = Trouble()


def _step(operation: Operation) -> int:
    """Return the number of the step an operation belongs to; a step starts when the one before is acknowledged."""
    match phase(operation):
        case Phase.ADD_SERVICES:
            return 0
        case Phase.ADD_SERVERS | Phase.RAISE | Phase.EDIT:
            return 1
        case _:
            return 2


def _replace(table: Table, key: ServiceKey, source: Table) -> None:
    if key in source:
        table[key] = source[key]
    else:
        table.pop(key, None)
