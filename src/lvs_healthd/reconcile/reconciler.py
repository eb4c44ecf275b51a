"""Makes the kernel's table equal to the wanted one, and keeps it so.

One task owns the table. Each turn of its loop reads the table back if that is due, compares what may differ from the
newest wanted table, and writes the difference. The next turn therefore repairs lost events, foreign edits and refused
writes alike. A turn that finds the table in sync writes nothing.

The wanted table may change in place during a turn, at any `await`. So each write is derived from the newest table, and
is checked once more before it is sent.
"""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from lvs_healthd.events.kinds import Event, TableError
from lvs_healthd.ipvs.diff import Phase, is_in_sync, is_uncovered, line_of, operation_on
from lvs_healthd.ipvs.interface import IpvsTable, TableUnavailableError
from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics
from lvs_healthd.ipvs.records import Operation, ServiceKey, Table, TableLine, Wanted
from lvs_healthd.reconcile.fights import Fights
from lvs_healthd.reconcile.foreseeing import Circumstances, Foreseen, foresee
from lvs_healthd.reconcile.gate import Braked, Gate
from lvs_healthd.reconcile.ownership import Ownership
from lvs_healthd.reconcile.readback import Readback, Reading
from lvs_healthd.reconcile.reports import TableObserver, TableReports
from lvs_healthd.reconcile.todo import ToDo
from lvs_healthd.reconcile.trouble import TableErrors
from lvs_healthd.reconcile.writing import Attempt, Writing
from lvs_healthd.runtime.moments import next_moment
from lvs_healthd.runtime.pace import paced

HEARTBEAT_S = 1.0
"""About the longest sleep between two turns, seconds, so that `progress` shows a watchdog that the loop is alive."""
_ROUNDS = 3
"""The maximum number of attempts within one turn, when the table turns out to differ from what we knew. Services in
doubt are read back before each attempt but the first."""
_ADOPTION_READS = 3
"""The maximum number of readings after the first one. Reading stops earlier when two in succession are the same."""

KEEPS_CHANGING = "the table keeps changing under our writes"


class Reconciler:
    """Keeps the kernel's table equal to the wanted table last given to `want`.

    table: the kernel's table. Nothing else in this process writes to it.
    emit: receives the events.
    clock: monotonic, seconds.
    resync_s: how often the whole table is read back, seconds.
    shadow: whether to write nothing, and only report each difference once.
    observer: counts and measures, for the metrics.
    suspects: returns the programs that may be undoing our writes (see `Fights`).
    """

    def __init__(
        self,
        table: IpvsTable,
        emit: Callable[[Event], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        resync_s: float,
        shadow: bool = False,
        observer: TableObserver,
        suspects: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.ownership = Ownership()
        """Which part of the table is ours. Preset from the saved state."""
        self.gate = Gate()
        """Which writes an operator or the brake forbids. Whoever changes it calls `look_again`."""
        self.errors = TableErrors(emit, clock)
        """Why the table is not as wanted."""
        self.was_read: Callable[[float, Collection[ServiceKey] | None], None] = _nobody
        """Called after each reading, with the time when it began, on `clock`, and with the services that were read;
        None means all."""
        self.has_turned: Callable[[], None] = _nobody
        """Called after each turn that has read or written anything."""
        self.shadow = shadow
        """Whether nothing is written. It may be set at any time, and then no further batch of writes is sent."""

        self._table = table
        self._emit = emit
        self._clock = clock
        self._observer = observer
        self._reports = TableReports(emit, observer, clock)
        self.fights = Fights(emit, self._reports.name, suspects)
        self._readback = Readback(table, clock)
        self._set_resync(resync_s)
        self._wake = asyncio.Event()
        self._was_read = asyncio.Event()
        self._asked: set[ServiceKey] = set()
        """The services that somebody has asked to be read again."""

        self._wanted: Wanted | None = None
        self._todo = ToDo()
        self._was_shadow = shadow
        self._writing = Writing(
            table,
            readback=self._readback,
            ownership=self.ownership,
            gate=self.gate,
            todo=self._todo,
            reports=self._reports,
            observer=observer,
            wanted=lambda: self._wanted,
            may_write=lambda: not self.shadow,
        )
        self._is_new = False
        """Whether `want` or `look_again` has been called since the last attempt."""

    @property
    def actual(self) -> Table:
        """The kernel's table, as last read and then changed by the writes it acknowledged."""
        return self._readback.actual

    @property
    def _wanted_table(self) -> Table:
        return self._wanted.table if self._wanted is not None else {}

    def statistics(self, key: ServiceKey) -> ServiceStatistics | None:
        """Return the kernel's counters of a service as last read; None while it is not in the table."""
        return self._table.statistics(key)

    @property
    def last_resync(self) -> float | None:
        """When the whole table was last read, on `clock`."""
        return self._readback.last_resync

    @property
    def progress(self) -> float:
        """When the loop last made progress, on `clock`."""
        return self._readback.progress

    async def open(self) -> str:
        """Make the table ready, and return a line that describes it.

        Raises `TableUnavailableError` when the table cannot be reached.
        """
        return await self._table.open()

    async def adopt(self) -> Table:
        """Read the whole table for the first time. Its content is the starting point, and does not count as drift.

        The table is read until two readings are the same, because another program may still be writing. No server may
        be overlooked, because those that serve now must keep serving.

        Raises `TableUnavailableError` when the table cannot be read.
        """
        self._readback.actual = await self._read_whole()
        for _ in range(_ADOPTION_READS):
            before, self._readback.actual = self.actual, await self._read_whole()
            if self.actual == before:
                break
        return self.actual

    async def _read_whole(self) -> Table:
        found = await self._readback.read_whole()
        self._observer.resync(self._readback.took_s)
        return found

    def want(self, wanted: Wanted, touched: Collection[TableLine] | None = None) -> None:
        """Take a new wanted table; the latest wins. Returns at once, and the loop does the work.

        touched: the lines that have changed since this table was last given; None when any line may have changed.
        """
        if touched is None or wanted is not self._wanted:
            self._wanted = wanted
            self._reports.want(wanted)
            self.ownership.want(wanted, shadow=self.shadow, shadowed=self.gate.shadowed)
            self.fights.release()
            self._todo.is_whole = True
        elif touched:
            self._todo.add(touched)
        else:
            return
        self._writing.wanted_changed()
        self._is_new = True
        self._wake.set()

    def look_again(self) -> None:
        """Have the next turn come soon, because `gate` may permit other writes than before."""
        self._is_new = True
        self._wake.set()

    def take_moved(self) -> AbstractSet[TableLine]:
        """Return the lines of `actual` that changed since the last call. A service that came or went is one line."""
        moved, self._readback.moved = self._readback.moved, {}
        return moved.keys()

    def set_resync(self, resync_s: float) -> None:
        """Change how often the whole table is read back, seconds."""
        self._set_resync(resync_s)
        if self.last_resync is not None:
            self._readback.due = self.last_resync + resync_s
        self._wake.set()

    def _set_resync(self, resync_s: float) -> None:
        self._readback.resync_s = self.fights.resync_s = resync_s

    @property
    def wanted(self) -> Wanted | None:
        """The table last given to `want`."""
        return self._wanted

    async def read_back(self, timeout_s: float) -> None:
        """Make `run` read the whole table back before it does anything else, and wait until it has.

        After `timeout_s` seconds this returns all the same, without an error.

        A reading that is already under way began too early, and does not count. If the caller then calls `want` before
        its next `await`, the new wanted table is in force before anything is written. So if somebody has added a server
        that the caller is about to configure, it is not deleted as foreign.
        """
        demand = self._readback.demand()
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._readback.answered < demand:
                    self._was_read.clear()
                    await self._was_read.wait()

    def read_again(self, keys: Iterable[ServiceKey]) -> None:
        """Read these services soon. `was_read` is called when that is done."""
        self._asked.update(keys)
        self._wake.set()

    def changed_at(self, key: ServiceKey) -> float:
        """Return when a service by firewall mark was last seen to change, on `clock`; minus infinity for never."""
        return self._readback.changed_at.get(key, -math.inf)

    def in_sync(self, key: ServiceKey) -> bool:
        """Whether a service is in the kernel's table exactly as wanted."""
        return self._wanted is not None and is_in_sync(key, self._wanted.table, self.actual, self.ownership.servers)

    def due(self, line: TableLine) -> Operation | None:
        """Return the write that a line of the table needs to be as wanted; None if it is."""
        return None if self._wanted is None else self._operation_on(line)

    async def foreseen(
        self, wanted: Wanted, braked: Mapping[ServiceKey, Braked], *, shadow: bool, shadowed: frozenset[ServiceKey]
    ) -> list[Foreseen]:
        """Return what would be written, or kept back, if this table were wanted. See `foresee` for the arguments."""
        circumstances = Circumstances(self.actual, self.ownership, self.gate, self._reports)
        return await foresee(circumstances, wanted, braked, shadow=shadow, shadowed=shadowed)

    async def run(self) -> None:
        """Keep the kernel's table as wanted until cancelled."""
        while True:
            await self.turn()
            due = asyncio.get_running_loop().time() + max(self._next_due() - self._clock(), 0.0)
            try:
                async with asyncio.timeout_at(min(due, next_moment(HEARTBEAT_S))):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def turn(self) -> None:
        """Do what is due now: read back, compare, write. `run` calls this in a loop."""
        self._wake.clear()
        now = self._clock()
        if now >= self._next_due():
            operation = "read"
            self._is_new = False
            try:
                await self._refresh(now)
                await self.fights.report(self._clock())
                operation = "write"
                await self._converge()
            except TableUnavailableError as error:
                self._readback.is_all_stale = True
                unavailable = TableError(operation=operation, service="", server="", error=str(error), retry_s=0.0)
                await self.errors.fail([unavailable], None)
                self._readback.due = max(self._readback.due, self.errors.retry_at)
            self.has_turned()
        self._readback.note_progress()

    def _next_due(self) -> float:
        due = min(self._readback.due, self.errors.retry_at, -math.inf if self._is_new or self._asked else math.inf)
        return max(due, self.errors.not_before)

    # Reading

    async def _refresh(self, now: float) -> None:
        """Read back what is due or in doubt, before anything is written."""
        readback = self._readback
        asked, self._asked = self._asked, set()
        readback.stale.update(asked)
        if now >= readback.due or readback.is_all_stale:
            began = self._clock()
            reading = await readback.resync(self._wanted_table)
            self.was_read(began, None)
            self._observer.resync(readback.took_s)
            self._todo.is_whole = True
            if not self._was_read.is_set():
                self._was_read.set()
                await asyncio.sleep(0)  # let the caller that waits in `read_back` act first
            await self._report(reading)
        elif readback.stale:
            await self._reread()

    async def _reread(self) -> None:
        """Read back the services in doubt."""
        began = self._clock()
        keys, reading = await self._readback.reread(self._wanted_table)
        self.was_read(began, keys)
        await self._report(reading)
        if self._wanted is not None:
            await self._todo.compare(keys, self._wanted.table, self.actual, self.ownership)

    async def _report(self, reading: Reading) -> None:
        """Report what a reading showed: writes that turn out to be in effect, and what somebody else has changed."""
        async for operation in paced(reading.confirmed):
            self._writing.confirm(operation)
        if self.shadow:
            return
        now = self._clock()
        async for drift in paced(reading.drifts):
            line = (drift.service, drift.server)
            # A reload may have dropped the service meanwhile, or may want exactly what was found.
            if drift.service in self.gate.shadowed:
                continue
            if drift.service in self._wanted_table and self._operation_on(line) is not None:
                self._reports.drifted(drift)
                if not self.gate.is_held(drift.service):
                    self.fights.drifted(drift, now)

    def _operation_on(self, line: TableLine) -> Operation | None:
        ours = self.ownership
        return operation_on(line, self._wanted_table, self.actual, ours.services, ours.servers)

    # Writing

    async def _converge(self) -> None:
        """Write the difference between the wanted and the actual table, or report it in shadow mode."""
        if self._wanted is None:
            self.errors.recover()
            return
        if self.shadow is not self._was_shadow:
            self._was_shadow = self.shadow
            self._todo.is_whole = True
        if self.shadow:
            await self._watch(self._wanted)
            self.errors.recover()
            return
        self._reports.writes_again(self.gate.shadowed)
        is_whole = self._todo.is_whole
        attempt = Attempt()
        for _ in range(_ROUNDS):
            await self._todo.take_news(self._wanted.table, self.actual, self.ownership)
            phases = await self._todo.operations(self._wanted.table, self.actual, self.ownership)
            self._hold_back(phases)
            if not await self._writing.write(phases, attempt):
                self._is_new = True  # the next turn reports what is left
                return
            if not self._readback.stale:
                break
            await self._reread()
        if is_whole:
            self.ownership.give_up_gone(self._wanted, self.actual)
        await self._conclude(self._wanted, attempt.failed)

    async def _watch(self, wanted: Wanted) -> None:
        """Report what would be written. Used in shadow mode."""
        if self._todo.is_whole:
            self._todo.add(self._reports.would_be_written)
        await self._todo.take_news(wanted.table, self.actual, self.ownership)
        async for line in paced(self._todo.take_lines()):
            self._reports.would_write(line, self._operation_on(line))

    async def _conclude(self, wanted: Wanted, failed: dict[TableLine, str]) -> None:
        """Report whether the table is as wanted after an attempt. Later changes are left to the next attempt."""
        errors: list[TableError] = []
        of: dict[ServiceKey, str] = {}
        left: Operation | None = None
        is_pending = False
        phases = await self._todo.operations(wanted.table, self.actual, self.ownership)
        is_held = self._hold_back(phases)
        async for operation in paced(itertools.chain.from_iterable(phases.values())):
            line = line_of(operation)
            if line in failed:
                errors.append(self._reports.error(operation, failed[line]))
                of.setdefault(operation.service.key, failed[line])
            elif self._is_new or self._todo.is_whole or self._todo.is_news(line):
                is_pending = True
            else:
                left = operation
        if errors:
            await self.errors.fail(errors, of)
        elif left is not None and not is_pending:
            await self.errors.fail([self._reports.error(left, KEEPS_CHANGING)], {left.service.key: KEEPS_CHANGING})
        elif not any(phases.values()):
            if not is_held:
                self._reports.repaired()
            self.errors.recover()

    def _hold_back(self, phases: dict[Phase, list[Operation]]) -> bool:
        is_held = False
        if self.gate.shadowed:
            self._report_shadowed(phases)
        for each, operations in phases.items():
            phases[each] = self.gate.permitted(operations)
            is_held |= len(phases[each]) < len(operations)
        is_fought = self.fights.hold_back(
            phases,
            self._clock(),
            is_configured=self._is_configured,
            is_dark=self._is_dark,
        )
        return is_held or is_fought

    def _report_shadowed(self, phases: dict[Phase, list[Operation]]) -> None:
        """Report what would be written to services in shadow mode, each difference once for as long as it lasts."""
        due = {
            line_of(operation): operation
            for operations in phases.values()
            for operation in operations
            if operation.service.key in self.gate.shadowed
        }
        for line in (*due, *(line for line in self._reports.would_be_written if line not in due)):
            self._reports.would_write(line, due.get(line))

    def _is_dark(self, key: ServiceKey) -> bool:
        return key not in self.actual or is_uncovered(key, self._wanted_table, self.actual, in_any_way=False)

    def _is_configured(self, line: TableLine) -> bool:
        return self._wanted is not None and line in self._wanted.why


def _nobody(*_: object) -> None:
    """Ignore a call, because nobody waits for it."""
