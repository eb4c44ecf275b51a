import asyncio
import errno
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvs_healthd.events.kinds import TableChanged, TableDrift, TableError, TableRecovered
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.records import Operation, ServiceKey, Table, Verb, Why
from lvs_healthd.reconcile.reconciler import Reconciler
from tests.ipvs.strategies import world_tables
from tests.ipvs.tables import DNS, MARK, WEB, copy, entry, server, service, table
from tests.reconciling import BOTH, FALLBACK, FOREIGN, ONE, THREE, TWO, Bench, Counts, FlickeringTable, wanted

# In sync


async def test_in_sync_means_zero_writes_over_100_resyncs() -> None:
    bench = Bench()
    await bench.adopt(BOTH | {MARK: FOREIGN}, BOTH)
    for _ in range(100):
        await bench.resync()
    assert bench.table.writes == []
    assert bench.events == []
    assert len(bench.counts.resyncs) == 102  # adoption takes two equal readings


async def test_a_restart_on_its_own_table_writes_nothing() -> None:
    before = Bench()
    await before.adopt({}, BOTH)
    after = Bench(table=before.table)
    await after.reconciler.adopt()
    await after.want(BOTH)
    await after.resync()
    assert after.table.writes == []
    assert after.events == []


async def test_wanting_the_same_again_writes_nothing() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    await bench.want(copy(BOTH))
    assert bench.table.writes == []
    assert bench.reconciler.in_sync(WEB)


async def test_the_first_reconcile_after_adoption_is_no_drift() -> None:
    bench = Bench()
    await bench.adopt(table(entry(service(WEB, "rr"), server("198.51.100.1", 7), THREE)))
    await bench.want(BOTH)
    assert bench.table.entries == BOTH
    assert bench.told(TableDrift) == []
    assert bench.counts.drifts == []


async def test_nothing_is_written_before_a_table_is_wanted() -> None:
    bench = Bench()
    await bench.adopt(BOTH)
    await bench.resync()
    assert bench.table.writes == []
    assert not bench.reconciler.in_sync(WEB)


# Changes


async def test_a_removal_says_why_and_how_long_detection_took() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.now += 5.0
    why = {"198.51.100.1:80": Why("connection refused", first_failure=bench.now - 4.5)}
    await bench.want(table(entry(service(WEB), TWO)), why)
    assert bench.events == [
        TableChanged(
            operation="delete_server",
            service="web",
            server="198.51.100.1:80",
            reason="connection refused",
            fields="weight 1, forward nat",
            shadow=False,
            detection_s=4.5,
        )
    ]
    assert bench.counts.detections == [4.5]
    assert bench.counts.operations[-1] == ("delete_server", True, "")


async def test_a_quiesce_is_a_detection_and_a_readmission_is_none() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    why = {"198.51.100.1:80": Why("no answer in 1s", first_failure=bench.now - 2.0)}
    await bench.want(table(entry(service(WEB), server("198.51.100.1", 0), TWO)), why)
    await bench.want(BOTH)
    changes = bench.told(TableChanged)
    assert [(one.fields, one.detection_s) for one in changes if isinstance(one, TableChanged)] == [
        ("weight 1 -> 0", 2.0),
        ("weight 0 -> 1", None),
    ]


async def test_removing_a_dead_server_that_somebody_put_back_is_no_second_detection() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    why = {"198.51.100.1:80": Why("no answer in 1s", first_failure=bench.now - 2.0)}
    await bench.want(table(entry(service(WEB), TWO)), why)
    bench.table.entries[WEB].destinations[ONE.key] = ONE
    await bench.resync()
    assert bench.table.entries == table(entry(service(WEB), TWO))
    assert bench.counts.detections == [2.0]


async def test_the_latest_wanted_table_wins() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.reconciler.want(wanted({}))
    bench.reconciler.want(wanted(table(entry(service(WEB), ONE, TWO, THREE))))
    await bench.reconciler.turn()
    assert bench.writes() == [("add_server", "198.51.100.3:80")]


@given(st.lists(world_tables, min_size=1, max_size=4), world_tables)
@settings(deadline=None, max_examples=50)
def test_whatever_the_kernel_takes_ends_up_as_wanted_and_foreign_services_as_they_were(
    plans: list[Table], before: Table
) -> None:
    def acceptable(one: Table) -> Table:
        memory = MemoryTable()
        for key, each in one.items():
            asyncio.run(memory.apply([Operation(Verb.ADD_SERVICE, each.service)]))
            adds = [Operation(Verb.ADD_SERVER, each.service, server) for server in each.destinations.values()]
            asyncio.run(memory.apply(adds))
            assert key == each.service.key
        return memory.entries

    async def follow() -> None:
        bench = Bench()
        await bench.adopt(start)
        ever_wanted: set[ServiceKey] = set()
        for plan in goals:
            ever_wanted |= plan.keys()
            await bench.want(plan)
            foreign = {key: one for key, one in start.items() if key not in ever_wanted}
            assert bench.table.entries == plan | foreign
            assert bench.reconciler.actual == bench.table.entries
            assert bench.reconciler.ownership.services == plan.keys()

    start, goals = acceptable(before), [acceptable(plan) for plan in plans]
    asyncio.run(follow())


async def test_a_mass_change_adds_everything_before_it_deletes_anything() -> None:
    old = [server(f"198.51.100.{number}") for number in range(1, 201)]
    new = [server(f"203.0.113.{number}") for number in range(1, 201)]
    bench = Bench()
    await bench.adopt(table(entry(service(WEB), *old)), table(entry(service(WEB), *old)))
    await bench.want(table(entry(service(WEB), *new)))
    verbs = [verb for verb, _ in itertools.groupby(operation.verb for operation in bench.table.writes)]
    assert verbs == [Verb.ADD_SERVER, Verb.DELETE_SERVER]
    assert len(bench.told(TableChanged)) == 400


# Ownership


async def test_a_service_that_is_no_longer_wanted_is_deleted_and_no_longer_ours() -> None:
    bench = Bench()
    await bench.adopt({MARK: FOREIGN}, BOTH)
    await bench.want({})
    assert bench.table.entries == {MARK: FOREIGN}
    assert bench.reconciler.ownership.services == set()
    (change,) = bench.told(TableChanged)
    assert isinstance(change, TableChanged)
    assert (change.operation, change.service, change.reason) == ("delete_service", "web", "not configured any more")


async def test_a_service_known_as_ours_from_saved_state_is_deleted_when_it_is_not_configured() -> None:
    bench = Bench()
    bench.reconciler.ownership.services = {WEB}
    await bench.adopt(BOTH | {MARK: FOREIGN})
    await bench.want({})
    assert bench.table.entries == {MARK: FOREIGN}


async def test_a_foreign_service_is_left_alone_whatever_happens_to_it() -> None:
    bench = Bench()
    await bench.adopt(BOTH | {MARK: FOREIGN}, BOTH)
    changed = entry(service(MARK, "wlc"), THREE)
    bench.table.entries[MARK] = changed
    await bench.resync()
    assert bench.table.entries[MARK] == changed
    assert bench.events == []
    del bench.table.entries[MARK]
    await bench.resync()
    assert MARK not in bench.table.entries
    assert bench.events == []


# Drift


@pytest.mark.parametrize(
    ("tampered", "kind", "told", "repair"),
    [
        (
            {},
            "missing_service",
            ("", "missing"),
            [
                ("add_service", "192.0.2.100:80/tcp"),
                ("add_server", "198.51.100.1:80"),
                ("add_server", "198.51.100.2:80"),
            ],
        ),
        (
            table(entry(service(WEB, "rr"), ONE, TWO)),
            "changed_service",
            ("", "scheduler rr, expected wrr"),
            [("set_service", "192.0.2.100:80/tcp")],
        ),
        (
            table(entry(service(WEB), ONE)),
            "missing_server",
            ("198.51.100.2:80", "missing"),
            [("add_server", "198.51.100.2:80")],
        ),
        (
            table(entry(service(WEB), ONE, server("198.51.100.2", 7))),
            "changed_server",
            ("198.51.100.2:80", "weight 7, expected 1"),
            [("set_server", "198.51.100.2:80")],
        ),
        (
            table(entry(service(WEB), ONE, TWO, THREE)),
            "extra_server",
            ("198.51.100.3:80", "not configured"),
            [("delete_server", "198.51.100.3:80")],
        ),
    ],
)
async def test_drift_is_found_told_and_repaired(
    tampered: Table, kind: str, told: tuple[str, str], repair: list[tuple[str, str]]
) -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.entries = copy(tampered)
    await bench.resync()
    assert bench.table.entries == BOTH
    assert bench.writes() == repair
    assert bench.counts.drifts == [kind]
    server_name, found = told
    drift = bench.events[0]
    assert isinstance(drift, TableDrift)
    assert (drift.service, drift.server, drift.found) == ("web", server_name, found)
    assert drift.instead == {
        "missing_server": f"lvs-healthd disable web {server_name}",
        "changed_server": f"lvs-healthd weight web {server_name} 7",
    }.get(kind, "")
    assert all(isinstance(event, TableChanged) and event.reason.startswith("repair: ") for event in bench.events[1:])
    bench.events.clear()
    await bench.resync()
    assert bench.events == []


async def test_a_surprise_that_a_second_read_does_not_confirm_is_none() -> None:
    flickering = FlickeringTable()
    bench = Bench(table=flickering)
    await bench.adopt(BOTH, BOTH)
    flickering.missed = {WEB}
    await bench.resync()
    assert bench.table.writes == []
    assert bench.events == []
    assert bench.reconciler.in_sync(WEB)


async def test_a_change_after_the_repair_is_not_called_a_repair() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.entries[WEB].destinations[TWO.key] = server("198.51.100.2", 7)
    await bench.resync()
    bench.events.clear()
    await bench.want(table(entry(service(WEB), ONE)))
    (change,) = bench.events
    assert isinstance(change, TableChanged)
    assert change.reason == "all checks pass"


# Errors


async def test_a_refused_write_is_told_and_tried_again_until_it_works() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.fail_next(Verb.ADD_SERVER, errno.EPERM, times=2)
    await bench.want(table(entry(service(WEB), ONE, TWO, THREE)))
    assert bench.events == [
        TableError(
            operation="add_server",
            service="web",
            server="198.51.100.3:80",
            error="not permitted: needs CAP_NET_ADMIN: run as root or give the unit AmbientCapabilities=CAP_NET_ADMIN",
            retry_s=0.25,
        )
    ]
    assert "CAP_NET_ADMIN" in bench.reconciler.errors.last
    assert not bench.reconciler.in_sync(WEB)
    bench.now += 0.25
    await bench.reconciler.turn()
    bench.now += 0.5
    await bench.reconciler.turn()
    assert bench.events[1:] == [
        TableChanged(
            operation="add_server",
            service="web",
            server="198.51.100.3:80",
            reason="all checks pass",
            fields="weight 1, forward nat",
            shadow=False,
        ),
        TableRecovered(errors=2, after_s=0.75),
    ]
    assert bench.reconciler.errors.last == ""
    assert bench.counts.operations == [("add_server", False, "EPERM")] * 2 + [("add_server", True, "")]


async def test_retries_back_off_to_ten_seconds_and_unchanged_errors_are_told_once_a_minute() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.fail_next(Verb.ADD_SERVER, errno.EPERM, times=10_000)
    started = bench.now
    bench.reconciler.want(wanted(table(entry(service(WEB), ONE, TWO, THREE))))
    bench.reconciler.set_resync(3600.0)
    attempts: list[float] = []
    told: list[float] = []
    while bench.now < started + 130:
        before = len(bench.counts.operations), len(bench.events)
        await bench.reconciler.turn()
        if len(bench.counts.operations) > before[0]:
            attempts.append(bench.now - started)
        if len(bench.events) > before[1]:
            told.append(bench.now - started)
        bench.now += 0.125
    pauses = [later - earlier for earlier, later in itertools.pairwise(attempts)]
    assert pauses[:7] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0]
    assert set(pauses[7:]) == {10.0}
    assert len(told) == 3
    assert 60.0 <= told[1] <= 75.0


async def test_new_wanted_tables_try_sooner_but_make_no_hot_loop() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.fail_next(Verb.ADD_SERVER, errno.EPERM, times=10_000)
    bench.reconciler.set_resync(3600.0)
    for _ in range(10_000):
        await bench.want(table(entry(service(WEB), ONE, TWO, THREE)))
        bench.now += 0.001
    assert 38 <= len(bench.counts.operations) <= 42  # ten seconds, four a second
    assert len(bench.told(TableError)) == 1


async def test_a_new_failure_is_acted_on_at_once_although_another_write_keeps_failing() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.fail_next(Verb.ADD_SERVER, errno.EPERM, times=100)
    await bench.want(table(entry(service(WEB), ONE, TWO, THREE)))
    bench.now += 1.0
    await bench.reconciler.turn()
    bench.now += 0.3
    await bench.want(table(entry(service(WEB), TWO, THREE)))
    assert ("delete_server", "198.51.100.1:80") in bench.writes()


async def test_many_errors_are_summed_up() -> None:
    many = [server(f"203.0.113.{number}") for number in range(1, 101)]
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.fail_next(Verb.ADD_SERVER, errno.ENOMEM, times=100)
    await bench.want(table(entry(service(WEB), ONE, TWO, *many)))
    errors = bench.told(TableError)
    assert len(errors) == 11
    assert isinstance(errors[-1], TableError)
    assert errors[-1].error == "the kernel is out of memory (and 90 more failed writes)"


async def test_an_add_that_finds_the_server_there_already_sets_it() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.entries[WEB].destinations[THREE.key] = server("198.51.100.3", 9)
    await bench.want(table(entry(service(WEB), ONE, TWO, THREE)))
    assert bench.writes() == [("set_server", "198.51.100.3:80")]
    assert bench.events[0] == TableDrift(service="web", server="198.51.100.3:80", found="added by somebody else")
    assert bench.told(TableError) == []
    assert bench.counts.operations == [("add_server", False, "EEXIST"), ("set_server", True, "")]


async def test_an_add_that_finds_the_service_there_already_sets_it() -> None:
    bench = Bench()
    await bench.adopt({})
    bench.table.entries = table(entry(service(WEB, "rr"), ONE, THREE))
    await bench.want(BOTH)
    assert bench.table.entries == BOTH
    assert bench.told(TableError) == []


async def test_a_write_into_a_service_that_is_gone_brings_the_service_back() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.entries.clear()
    await bench.want(table(entry(service(WEB), ONE, TWO, THREE)))
    assert bench.table.entries == table(entry(service(WEB), ONE, TWO, THREE))
    assert bench.events[0] == TableDrift(service="web", server="", found="missing")
    assert bench.told(TableError) == []


async def test_an_edit_of_a_server_that_is_gone_brings_it_back() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    del bench.table.entries[WEB].destinations[TWO.key]
    await bench.want(table(entry(service(WEB), ONE, server("198.51.100.2", 5))))
    assert bench.writes() == [("add_server", "198.51.100.2:80")]


async def test_deleting_what_is_gone_already_is_done() -> None:
    bench = Bench()
    both = BOTH | table(entry(service(DNS)))
    await bench.adopt(both, both)
    del bench.table.entries[WEB].destinations[ONE.key]
    del bench.table.entries[DNS]
    await bench.want(table(entry(service(WEB), TWO)))
    assert bench.events == []
    assert bench.table.writes == []
    assert bench.reconciler.in_sync(WEB)
    assert bench.reconciler.in_sync(DNS)


@pytest.mark.parametrize("executed", [True, False])
async def test_a_lost_acknowledgement_is_settled_by_reading_back(executed: bool) -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.fail_next(Verb.DELETE_SERVER, None, executed=executed)
    why = {"198.51.100.1:80": Why("no answer in 1s", first_failure=bench.now - 3.0)}
    await bench.want(table(entry(service(WEB), TWO)), why)
    assert bench.writes() == [("delete_server", "198.51.100.1:80")]
    assert [type(event) for event in bench.events] == [TableChanged]
    assert bench.counts.detections == [3.0]
    assert bench.counts.operations[0] == ("delete_server", False, "unknown")
    assert bench.reconciler.in_sync(WEB)


async def test_outcomes_that_stay_unknown_are_an_error() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.fail_next(Verb.DELETE_SERVER, None, times=100)
    await bench.want(table(entry(service(WEB), TWO)))
    (error,) = bench.events
    assert isinstance(error, TableError)
    assert error.error == "outcome unknown: the kernel's acknowledgement was lost"
    assert bench.reconciler.actual == BOTH


async def test_an_unknown_scheduler_is_one_error_not_one_for_each_server() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    await bench.want(BOTH | table(entry(service(DNS, "no-such"), server("2001:db8::1"), server("2001:db8::2"))))
    (error,) = bench.events
    assert isinstance(error, TableError)
    assert (error.operation, error.service) == ("add_service", "dns")
    assert error.error == 'scheduler "no-such" is not known to this kernel: modprobe ip_vs_no-such'
    assert bench.counts.operations == [("add_service", False, "ENOENT")]
    assert bench.reconciler.in_sync(WEB)


async def test_an_error_that_goes_with_the_configuration_is_recovered_from() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    await bench.want(BOTH | table(entry(service(DNS, "no-such"))))
    bench.now += 1.0
    await bench.want(BOTH)
    assert bench.events[-1] == TableRecovered(errors=1, after_s=1.0)


async def test_a_table_that_cannot_be_read_is_told_retried_and_recovered_from() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.be_unavailable("the kernel did not answer within 5s", times=2)
    await bench.resync()
    assert bench.events == [
        TableError(operation="read", service="", server="", error="the kernel did not answer within 5s", retry_s=0.25)
    ]
    assert bench.reconciler.errors.last == "the kernel did not answer within 5s"
    bench.now += 0.25
    await bench.reconciler.turn()
    bench.now += 0.5
    await bench.reconciler.turn()
    assert bench.events[1:] == [TableRecovered(errors=2, after_s=0.75)]


async def test_a_table_lost_during_writing_is_read_whole_before_it_is_written_again() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.be_unavailable("netlink: broken")
    await bench.want(table(entry(service(WEB), ONE, TWO, THREE)))
    assert [type(event) for event in bench.events] == [TableError]
    resyncs = len(bench.counts.resyncs)
    bench.now += 0.25
    await bench.reconciler.turn()
    assert len(bench.counts.resyncs) == resyncs + 1
    assert bench.table.entries == table(entry(service(WEB), ONE, TWO, THREE))
    assert [type(event) for event in bench.events[1:]] == [TableChanged, TableRecovered]


async def test_adoption_of_a_table_that_cannot_be_read_fails() -> None:
    bench = Bench()
    bench.table.be_unavailable("no module")
    with pytest.raises(TableUnavailableError):
        await bench.reconciler.adopt()


# Holding back


async def test_the_last_server_stays_while_its_replacement_cannot_be_added() -> None:
    bench = Bench()
    await bench.adopt(table(entry(service(WEB), ONE)), table(entry(service(WEB), ONE)))
    bench.table.fail_next(Verb.ADD_SERVER, errno.ENOMEM)
    await bench.want(table(entry(service(WEB), FALLBACK)))
    assert bench.table.entries == table(entry(service(WEB), ONE))
    bench.now += 0.25
    await bench.reconciler.turn()
    assert bench.writes() == [("add_server", "198.51.100.99:80"), ("delete_server", "198.51.100.1:80")]


async def test_the_last_server_stays_while_its_replacement_cannot_be_raised() -> None:
    quiet = server("198.51.100.2", 0)
    start = table(entry(service(WEB), ONE, quiet))
    bench = Bench()
    await bench.adopt(start, start)
    bench.table.fail_next(Verb.SET_SERVER, errno.ENOMEM)
    await bench.want(table(entry(service(WEB), server("198.51.100.1", 0), TWO)))
    assert bench.table.entries == start


async def test_servers_leave_although_an_add_fails_when_another_serves() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.fail_next(Verb.ADD_SERVER, errno.ENOMEM)
    await bench.want(table(entry(service(WEB), TWO, THREE)))
    assert bench.writes() == [("delete_server", "198.51.100.1:80")]


async def test_the_last_server_leaves_when_nothing_is_wanted_in_its_place() -> None:
    bench = Bench()
    await bench.adopt(table(entry(service(WEB), ONE)), table(entry(service(WEB), ONE)))
    await bench.want(table(entry(service(WEB))))
    assert bench.table.entries == table(entry(service(WEB)))


async def test_a_server_without_weight_leaves_although_others_are_held_back() -> None:
    quiet = server("198.51.100.2", 0)
    start = table(entry(service(WEB), ONE, quiet))
    bench = Bench()
    await bench.adopt(start, start)
    bench.table.fail_next(Verb.ADD_SERVER, errno.ENOMEM)
    await bench.want(table(entry(service(WEB), FALLBACK)))
    assert bench.writes() == [("delete_server", "198.51.100.2:80")]


# Shadow


async def test_shadow_tells_each_difference_once_and_writes_nothing() -> None:
    bench = Bench(shadow=True)
    await bench.adopt(table(entry(service(WEB), ONE), FOREIGN))
    await bench.want(BOTH)
    for _ in range(10):
        await bench.resync()
    assert bench.events == [
        TableChanged(
            operation="add_server",
            service="web",
            server="198.51.100.2:80",
            reason="all checks pass",
            fields="weight 1, forward nat",
            shadow=True,
        )
    ]
    assert bench.table.writes == []
    assert bench.reconciler.actual == bench.table.entries
    assert not bench.reconciler.in_sync(WEB)


async def test_shadow_tells_a_difference_again_when_it_comes_back() -> None:
    bench = Bench(shadow=True)
    await bench.adopt(table(entry(service(WEB), ONE)))
    await bench.want(BOTH)
    bench.table.entries = copy(BOTH)
    await bench.resync()
    bench.table.entries = table(entry(service(WEB), ONE))
    await bench.resync()
    assert len(bench.told(TableChanged)) == 2


async def test_shadow_owns_nothing_and_calls_nothing_drift() -> None:
    bench = Bench(shadow=True)
    await bench.adopt(BOTH)
    await bench.want(BOTH)
    bench.table.entries.clear()
    await bench.resync()
    assert bench.reconciler.ownership.services == set()
    assert bench.told(TableDrift) == []
    assert bench.counts.drifts == []


async def test_leaving_shadow_mode_writes_what_was_told_and_makes_the_services_ours() -> None:
    bench = Bench(shadow=True)
    await bench.adopt(table(entry(service(WEB), ONE)))
    await bench.want(BOTH)
    bench.reconciler.shadow = False
    await bench.want(BOTH)
    assert bench.table.entries == BOTH
    assert bench.reconciler.ownership.services == {WEB}
    bench.reconciler.shadow = True
    await bench.want(table(entry(service(WEB), ONE)))
    assert bench.table.entries == BOTH
    assert [event.shadow for event in bench.events if isinstance(event, TableChanged)] == [True, False, True]


# The loop


async def test_the_loop_writes_soon_after_a_table_is_wanted_and_sleeps_otherwise() -> None:
    memory = MemoryTable()
    counts = Counts()
    turns = 0

    class Counting(Reconciler):
        async def turn(self) -> None:
            nonlocal turns
            turns += 1
            await super().turn()

    reconciler = Counting(memory, lambda _event: None, resync_s=60.0, observer=counts)
    await reconciler.adopt()
    loop = asyncio.create_task(reconciler.run())
    await asyncio.sleep(0)
    before = reconciler.progress
    reconciler.want(wanted(BOTH))
    for _ in range(50):
        await asyncio.sleep(0)
    assert memory.entries == BOTH, "want() must wake the loop, not wait for its heartbeat"
    assert reconciler.progress > before
    for _ in range(100):
        await asyncio.sleep(0)
    assert turns <= 4
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop


async def test_progress_is_the_time_of_the_last_turn() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.now += 1.0
    await bench.reconciler.turn()
    assert bench.reconciler.progress == bench.now
    assert bench.reconciler.last_resync == bench.now - 1.0


async def test_a_shorter_resync_takes_effect_at_once() -> None:
    bench = Bench()
    await bench.adopt(BOTH, BOTH)
    bench.table.entries.clear()
    bench.now += 2.0
    bench.reconciler.set_resync(1.0)
    await bench.reconciler.turn()
    assert bench.table.entries == BOTH


async def test_repair_is_said_of_the_write_that_repairs_and_of_none_after_it() -> None:
    bench = Bench()
    await bench.adopt(BOTH, copy(BOTH))
    refused = server("224.0.0.1")
    await bench.want(table(entry(service(WEB), ONE, TWO, refused)))
    bench.table.entries[WEB].destinations[ONE.key] = server("198.51.100.1", 9)
    await bench.resync()
    bench.events.clear()
    await bench.want(table(entry(service(WEB), TWO, refused)))
    await bench.resync()
    (removed,) = bench.told(TableChanged)
    assert isinstance(removed, TableChanged)
    assert (removed.operation, removed.reason) == ("delete_server", "all checks pass")


async def test_all_that_comes_back_with_a_deleted_service_is_repair() -> None:
    bench = Bench()
    await bench.adopt(BOTH, copy(BOTH))
    bench.table.entries.clear()
    await bench.resync()
    changes = [event for event in bench.events if isinstance(event, TableChanged)]
    assert [change.operation for change in changes] == ["add_service", "add_server", "add_server"]
    assert all(change.reason.startswith("repair: ") for change in changes)


async def test_adoption_overlooks_nobody_while_another_program_writes() -> None:
    class Filling(MemoryTable):
        """A table that another program is still filling: each of the first readings finds more in it."""

        async def read(self) -> Table:
            found = await super().read()
            if len(self.entries) < 2:
                self.entries |= copy(table(entry(service(DNS if WEB in self.entries else WEB), ONE)))
            return found

    bench = Bench(table=Filling())
    await bench.adopt({})
    assert bench.reconciler.actual.keys() == {WEB, DNS}
