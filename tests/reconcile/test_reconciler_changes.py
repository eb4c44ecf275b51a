"""Changes line by line, also during a turn: written once, retried until in effect, never at the price of an outage."""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvs_healthd.events.kinds import TableChanged, TableDrift, TableError, TableRecovered
from lvs_healthd.ipvs.diff import update
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.records import DestinationRecord, Operation, Result, ServiceKey, Table, TableLine, Verb, Wanted
from lvs_healthd.ipvs.words import ForwardingMethod
from tests.ipvs.tables import DNS, WEB, copy, entry, server, service, table
from tests.pacing import READINGS_PER_SLICE
from tests.reconciling import BOTH, FALLBACK, ONE, THREE, TWO, Bench, wanted

HOSTS = [server(f"198.51.100.{number}") for number in range(1, 6)]


def change(living: Wanted, record: DestinationRecord, *, out: bool = False, key: ServiceKey = WEB) -> set[TableLine]:
    """Change one line of a wanted table in place, as the planner does, and return it."""
    if out:
        living.table[key].destinations.pop(record.key, None)
    else:
        living.table[key].destinations[record.key] = record
    return {(key, record.key)}


async def start(bench: Bench, entries: Table) -> Wanted:
    """Start with a table that is as wanted, and return the wanted table for the test to change."""
    living = wanted(copy(entries))
    bench.table.entries = copy(entries)
    await bench.reconciler.adopt()
    bench.reconciler.want(living)
    await bench.reconciler.turn()
    assert bench.table.writes == []
    return living


class EventfulTable(MemoryTable):
    """A table in which things happen while it is written to or read."""

    def __init__(self) -> None:
        super().__init__()
        self.happenings: list[Callable[[], None]] = []

    async def apply(self, operations: Sequence[Operation]) -> list[Result]:
        self._happen()
        return await super().apply(operations)

    async def read(self) -> Table:
        found = await super().read()
        self._happen()
        return found

    def _happen(self) -> None:
        if self.happenings:
            self.happenings.pop(0)()


async def test_only_the_lines_that_changed_are_written() -> None:
    bench = Bench()
    living = await start(bench, BOTH)
    bench.reconciler.want(living, change(living, THREE))
    await bench.reconciler.turn()
    bench.reconciler.want(living, change(living, ONE, out=True))
    await bench.reconciler.turn()
    assert bench.writes() == [("add_server", "198.51.100.3:80"), ("delete_server", "198.51.100.1:80")]
    assert bench.reconciler.in_sync(WEB)
    assert bench.reconciler._todo.take_lines() == []


async def test_changes_of_one_line_between_two_turns_are_one_write() -> None:
    bench = Bench()
    living = await start(bench, BOTH)
    for weight in (3, 4, 5):
        bench.reconciler.want(living, change(living, server("198.51.100.1", weight)))
    bench.reconciler.want(living, change(living, TWO, out=True))
    bench.reconciler.want(living, change(living, TWO))
    await bench.reconciler.turn()
    assert bench.writes() == [("set_server", "198.51.100.1:80")]
    assert bench.table.entries[WEB].destinations[ONE.key].weight == 5


async def test_a_wanted_table_without_changes_wakes_nobody() -> None:
    bench = Bench()
    living = await start(bench, BOTH)
    bench.reconciler.want(living, set())
    assert not bench.reconciler._wake.is_set()


async def test_a_change_that_was_refused_is_tried_again_without_being_named_again() -> None:
    bench = Bench()
    living = await start(bench, BOTH)
    bench.table.fail_next(Verb.DELETE_SERVER, errno.EPERM, times=2)
    bench.reconciler.want(living, change(living, ONE, out=True))
    await bench.reconciler.turn()
    bench.reconciler.want(living, change(living, THREE))
    for _ in range(3):
        bench.now += 1.0
        await bench.reconciler.turn()
    assert bench.writes() == [("add_server", "198.51.100.3:80"), ("delete_server", "198.51.100.1:80")]
    assert [type(event) for event in bench.events] == [TableError, TableChanged, TableChanged, TableRecovered]


async def test_a_change_during_a_turn_is_no_error_and_is_left_to_the_next_turn() -> None:
    eventful = EventfulTable()
    bench = Bench(table=eventful)
    living = await start(bench, BOTH)
    eventful.happenings = [lambda: bench.reconciler.want(living, change(living, THREE))]
    bench.reconciler.want(living, change(living, ONE, out=True))
    await bench.reconciler.turn()
    assert bench.writes() == [("delete_server", "198.51.100.1:80")]
    await bench.reconciler.turn()
    assert bench.writes()[1:] == [("add_server", "198.51.100.3:80")]
    assert bench.told(TableError) == []


async def test_what_is_not_wanted_any_more_when_its_batch_is_due_is_not_written() -> None:
    eventful = EventfulTable()
    bench = Bench(table=eventful)
    many = [server(f"203.0.113.{number}") for number in range(1, 201)]
    living = await start(bench, table(entry(service(WEB), *many)))
    eventful.happenings = [lambda: bench.reconciler.want(living, change(living, many[150]))]
    touched = set[TableLine]().union(*(change(living, one, out=True) for one in many[1:]))
    bench.reconciler.want(living, sorted(touched, key=str))
    while not bench.reconciler.in_sync(WEB):
        await bench.reconciler.turn()
    deleted = [one for one in bench.writes() if one[0] == "delete_server"]
    # If the batch that deletes it was sent first, it had to be added again.
    assert len(deleted) - len([one for one in bench.writes() if one[0] == "add_server"]) == 198
    assert set(bench.table.entries[WEB].destinations) == {many[0].key, many[150].key}


async def test_a_server_that_recovers_during_the_turn_that_removes_the_last_ones_is_kept() -> None:
    """Both servers are down, and the fallback is refused. A server that recovers between the steps must stay."""
    eventful = EventfulTable()
    bench = Bench(table=eventful)
    living = await start(bench, BOTH)
    eventful.fail_next(Verb.ADD_SERVER, errno.ENOMEM)
    eventful.happenings = [
        lambda: bench.reconciler.want(living, change(living, FALLBACK, out=True) | change(living, ONE))
    ]
    down = change(living, ONE, out=True) | change(living, TWO, out=True) | change(living, FALLBACK)
    bench.reconciler.want(living, down)
    await bench.reconciler.turn()
    assert ONE.key in bench.table.entries[WEB].destinations
    bench.now += 1.0
    await bench.reconciler.turn()
    assert bench.table.entries == living.table


async def test_a_reload_during_a_turn_takes_effect_as_a_whole() -> None:
    eventful = EventfulTable()
    bench = Bench(table=eventful)
    living = await start(bench, BOTH)
    other = wanted(table(entry(service(DNS), server("2001:db8::1"))))
    eventful.happenings = [lambda: bench.reconciler.want(other)]
    bench.reconciler.want(living, change(living, ONE, out=True))
    await bench.reconciler.turn()
    await bench.reconciler.turn()
    assert bench.table.entries == other.table
    assert bench.reconciler.ownership.services == {DNS}
    assert bench.told(TableError) == []


async def test_a_service_that_a_reload_brings_back_while_it_is_deleted_stays_ours() -> None:
    eventful = EventfulTable()
    bench = Bench(table=eventful)
    await start(bench, BOTH)
    eventful.happenings = [lambda: bench.reconciler.want(wanted(BOTH))]
    bench.reconciler.want(wanted({}))
    await bench.reconciler.turn()
    assert bench.reconciler.ownership.services == {WEB}
    await bench.reconciler.turn()
    assert bench.table.entries == BOTH


async def test_lines_of_the_table_that_moved_are_named() -> None:
    bench = Bench()
    living = await start(bench, BOTH | table(entry(service(DNS))))
    bench.reconciler.take_moved()
    bench.reconciler.want(living, change(living, THREE))
    await bench.reconciler.turn()
    assert bench.reconciler.take_moved() == {(WEB, THREE.key)}
    bench.table.entries[WEB].destinations[ONE.key] = server("198.51.100.1", 7)
    del bench.table.entries[DNS]
    await bench.resync()
    assert bench.reconciler.take_moved() == {(WEB, ONE.key), (DNS, None)}
    assert bench.reconciler.take_moved() == set()


@pytest.mark.usefixtures("counted_pace")
@pytest.mark.parametrize("servers", [(1, 4000), (40, 100)])
async def test_the_loop_turns_often_while_thousands_of_lines_are_compared_and_written(servers: tuple[int, int]) -> None:
    """The test counts turns of the event loop, not seconds, which a busy machine would stretch."""
    services, per = servers
    before = table(
        *(
            entry(
                service(ServiceKey(2, fwmark=mark + 1)),
                *(server(f"10.{mark}.{number // 250}.{number % 250 + 1}") for number in range(per)),
            )
            for mark in range(services)
        )
    )
    bench = Bench()
    living = await start(bench, before)
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    gone: set[TableLine] = set()
    for key, one in living.table.items():
        gone |= {(key, each) for each in one.destinations}
        one.destinations.clear()
    bench.reconciler.want(living, gone)
    turns = 0
    await bench.reconciler.turn()
    assert turns >= 4000 / READINGS_PER_SLICE + 4000 / 128
    assert bench.table.entries == living.table
    bench.table.entries = copy(before)
    turns = 0
    await bench.resync()
    assert len(bench.counts.drifts) == 4000
    assert turns >= 2 * 4000 / READINGS_PER_SLICE + 4000 / 128
    assert bench.table.entries == living.table
    counting.cancel()


def reasons(bench: Bench) -> list[str]:
    return [event.reason for event in bench.events if isinstance(event, TableChanged)]


async def test_an_edit_that_no_verdict_asks_for_is_said_to_be_configured() -> None:
    bench = Bench()
    living = await start(bench, BOTH)
    tunnelled = msgspec.structs.replace(TWO, forward=ForwardingMethod.TUNNEL)
    touched = change(living, server("198.51.100.1", 3)) | change(living, tunnelled)
    bench.reconciler.want(living, touched)
    await bench.reconciler.turn()
    assert reasons(bench) == ["configured", "configured"]
    bench.events.clear()
    bench.reconciler.want(living, change(living, server("198.51.100.1", 0)))
    await bench.reconciler.turn()
    bench.reconciler.want(living, change(living, server("198.51.100.1", 3)))
    await bench.reconciler.turn()
    assert reasons(bench) == ["all checks pass"] * 2  # a server that is quiesced and comes back
    bench.events.clear()
    bench.table.entries[WEB].destinations[ONE.key] = server("198.51.100.1", 7)
    await bench.resync()
    assert reasons(bench) == ["repair: configured"]


# Shadow


async def test_shadow_tells_a_change_once_and_takes_it_back_when_it_is_gone() -> None:
    bench = Bench(shadow=True)
    living = await start(bench, BOTH)
    for _ in range(2):
        bench.reconciler.want(living, change(living, ONE, out=True))
        await bench.reconciler.turn()
        await bench.resync()
        assert len(bench.told(TableChanged)) == 1
    bench.reconciler.want(living, change(living, ONE))
    await bench.reconciler.turn()
    bench.reconciler.want(living, change(living, ONE, out=True))
    await bench.reconciler.turn()
    assert len(bench.told(TableChanged)) == 2
    assert bench.table.writes == []


async def test_what_shadow_has_told_is_written_when_shadow_ends() -> None:
    bench = Bench(shadow=True)
    living = await start(bench, BOTH)
    bench.reconciler.want(living, change(living, ONE, out=True))
    await bench.reconciler.turn()
    bench.reconciler.shadow = False
    bench.reconciler.want(living, change(living, THREE))
    await bench.reconciler.turn()
    assert bench.table.entries == living.table


# Whatever happens

_lines = st.tuples(st.sampled_from(range(5)), st.sampled_from([None, 0, 1, 2]))
_steps = st.one_of(
    st.tuples(st.just("want"), st.lists(_lines, min_size=1, max_size=3)),
    st.tuples(st.just("during"), st.lists(_lines, min_size=1, max_size=3)),
    st.tuples(st.just("reload"), st.lists(_lines, max_size=5)),
    st.tuples(st.just("fault"), st.sampled_from([(verb, code) for verb in Verb for code in (errno.ENOMEM, None)])),
    st.tuples(st.just("edit"), _lines),
    st.tuples(st.just("wipe"), st.none()),
    st.tuples(st.just("unavailable"), st.none()),
    st.tuples(st.just("turn"), st.floats(0.0, 12.0)),
)


class Life:
    """A reconciler, what is wanted of it, and a kernel that others write to and that fails at times."""

    def __init__(self) -> None:
        self.table = EventfulTable()
        self.bench = Bench(table=self.table)
        self.living = wanted(copy(BOTH))
        self.bench.reconciler.want(self.living)

    def want(self, lines: list[tuple[int, int | None]]) -> None:
        touched: set[TableLine] = set()
        for number, weight in lines:
            record = server(HOSTS[number].key.address, weight or 0)
            touched |= change(self.living, record, out=weight is None)
        self.bench.reconciler.want(self.living, touched)

    async def step(self, kind: str, what: object) -> None:
        match kind, what:
            case "want", list(lines):
                self.want(lines)
            case "during", list(lines):
                self.table.happenings.append(lambda: self.want(lines))
            case "reload", list(lines):
                self.living = wanted(table(entry(service(WEB))))
                self.bench.reconciler.want(self.living)
                self.want(lines)
            case "fault", (Verb() as verb, int() | None as code):
                self.table.fail_next(verb, code, executed=code is None)
            case "edit", (int() as number, int() | None as weight) if WEB in self.table.entries:
                verb = Verb.DELETE_SERVER if weight is None else Verb.SET_SERVER
                record = server(HOSTS[number].key.address, weight or 0)
                update(self.table.entries, Operation(verb, service(WEB), record))
            case "wipe", _:
                self.table.entries.clear()
            case "unavailable", _:
                self.table.be_unavailable("netlink: broken")
            case "turn", float(seconds):
                self.bench.now += seconds
                await self.bench.reconciler.turn()


@given(st.lists(_steps, max_size=25))
@settings(deadline=None, max_examples=150)
def test_whatever_happens_the_table_is_as_wanted_in_the_end(steps: list[tuple[str, object]]) -> None:
    async def live() -> None:
        life = Life()
        for kind, what in steps:
            await life.step(kind, what)
        life.table.happenings.clear()
        life.table._faults.clear()
        life.table._unavailable.clear()
        for _ in range(5):
            life.bench.now += 12.0
            await life.bench.reconciler.turn()
        assert life.table.entries == life.living.table
        assert life.bench.reconciler.actual == life.table.entries
        assert life.bench.reconciler.errors.last == ""
        writes = len(life.table.writes)
        await life.bench.resync()
        assert len(life.table.writes) == writes

    asyncio.run(live())


@given(st.lists(_steps.filter(lambda step: step[0] in ("want", "during", "reload", "fault", "turn")), max_size=25))
@settings(deadline=None, max_examples=150)
def test_no_write_takes_the_last_server_that_serves_while_another_is_wanted(steps: list[tuple[str, object]]) -> None:
    class Watchful(EventfulTable):
        should_serve = False
        """Whether servers were wanted when the batch was handed over. What is wanted later comes too late for it."""

        async def apply(self, operations: Sequence[Operation]) -> list[Result]:
            self.should_serve = serves(life.living.table)
            return await super().apply(operations)

        def _write(self, operation: Operation) -> int:
            before = serves(self.entries)
            code = super()._write(operation)
            if before and not serves(self.entries):
                assert not self.should_serve, operation
            return code

    def serves(entries: Table) -> bool:
        return WEB in entries and any(one.weight for one in entries[WEB].destinations.values())

    async def live() -> None:
        life.table.entries = copy(BOTH)
        await life.bench.reconciler.adopt()
        for kind, what in steps:
            await life.step(kind, what)
            await life.bench.reconciler.turn()

    life = Life()
    life.table = Watchful()
    life.bench = Bench(table=life.table)
    life.bench.reconciler.want(life.living)
    asyncio.run(live())


async def test_read_back_waits_for_the_reading_but_not_for_ever() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    running = asyncio.create_task(bench.reconciler.run())
    try:
        bench.table.entries[WEB].destinations[ONE.key] = server("198.51.100.1", 7)
        await bench.reconciler.read_back(20.0)
        assert bench.reconciler.actual[WEB].destinations[ONE.key].weight == 7
        bench.table.be_unavailable("gone", times=1000)
        async with asyncio.timeout(20):
            await bench.reconciler.read_back(0.05)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


class SlowTable(EventfulTable):
    """A table that takes its time to be read whole: the reading is as of its beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def read(self) -> Table:
        found = await super().read()
        self.begun.set()
        await self.may_end.wait()
        return found


@contextlib.asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[None]:
    task = asyncio.create_task(bench.reconciler.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_a_reading_that_began_before_it_was_asked_for_does_not_count() -> None:
    slow = SlowTable()
    bench = Bench(table=slow)
    await bench.adopt(BOTH, BOTH)
    slow.may_end.clear()
    slow.begun.clear()
    bench.now += 10.0
    async with running(bench):
        await slow.begun.wait()
        slow.entries |= table(entry(service(DNS), THREE))

        async def is_seen() -> bool:
            # Look at once: the reading after the next one would show it too.
            await bench.reconciler.read_back(20.0)
            return DNS in bench.reconciler.actual

        asked = asyncio.create_task(is_seen())
        await asyncio.sleep(0)
        slow.may_end.set()
        assert await asked


async def test_what_a_reload_is_about_to_configure_is_not_deleted_while_it_waits_for_the_reading() -> None:
    bench = Bench(table=EventfulTable())
    await bench.adopt(BOTH, BOTH)
    more = table(entry(service(WEB), ONE, TWO, THREE))
    async with running(bench):
        bench.table.entries = copy(more)
        await bench.reconciler.read_back(20.0)
        bench.reconciler.want(wanted(copy(more)))
        await bench.reconciler.read_back(20.0)
    assert bench.table.writes == []
    assert bench.told(TableDrift) == []


@pytest.mark.parametrize("moment", ["reading", "writing"])
async def test_a_reload_to_shadow_stops_the_writes_under_way(moment: str) -> None:
    eventful = EventfulTable()
    bench = Bench(table=eventful)
    many = [server(f"203.0.113.{number}") for number in range(1, 201)]
    living = await start(bench, table(entry(service(WEB), *many)))
    bench.events.clear()

    def reload() -> None:
        bench.reconciler.shadow = True
        bench.reconciler.want(living, [])

    bench.reconciler.want(living, set[TableLine]().union(*(change(living, one, out=True) for one in many)))
    eventful.happenings = [reload]
    if moment == "reading":
        await bench.resync()
        assert bench.table.writes == []
    else:
        await bench.reconciler.turn()
        assert len(bench.table.writes) == 128
    await bench.reconciler.turn()
    would_write = [event for event in bench.told(TableChanged) if isinstance(event, TableChanged) and event.shadow]
    assert len(would_write) == len(eventful.entries[WEB].destinations) > 0
    assert bench.told(TableError) == []
    assert bench.reconciler.errors.last == ""
