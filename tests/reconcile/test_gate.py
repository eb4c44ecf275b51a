"""What is held is not written, and what is wanted is written as soon as it is released."""

from collections.abc import Sequence
from socket import IPPROTO_TCP

import pytest

from lvs_healthd.events.kinds import TableChanged, TableDrift, TableError, TableFight
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.records import Operation, Result, ServiceKey
from lvs_healthd.ipvs.words import AF_INET
from lvs_healthd.reconcile.gate import Braked
from tests.ipvs.tables import WEB, copy, entry, server, service, table
from tests.reconciling import BOTH, FALLBACK, ONE, THREE, TWO, Bench

OTHER = ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.101", 80)
ALONE = table(entry(service(WEB), ONE))
SPARE = table(entry(service(WEB), FALLBACK))
TWO_SERVICES = table(entry(service(WEB), ONE, TWO), entry(service(OTHER), THREE))


async def test_nothing_is_written_to_a_held_table_and_everything_at_its_release() -> None:
    bench = Bench()
    await bench.adopt(BOTH, copy(BOTH))
    bench.reconciler.gate.hold([None])
    await bench.want(ALONE)
    await bench.resync()
    assert bench.table.writes == []
    assert not bench.reconciler.in_sync(WEB)
    assert bench.reconciler.errors.last == ""
    assert bench.told(TableError) == []
    bench.reconciler.gate.hold([])
    bench.reconciler.look_again()
    await bench.reconciler.turn()
    assert bench.writes() == [("delete_server", str(TWO.key))]
    assert bench.reconciler.in_sync(WEB)


async def test_what_is_wanted_at_the_release_is_written_and_not_what_was_wanted_before() -> None:
    bench = Bench()
    await bench.adopt(BOTH, copy(BOTH))
    bench.reconciler.gate.hold([WEB])
    await bench.want(ALONE)
    await bench.want(table(entry(service(WEB), ONE, TWO, THREE)))
    bench.reconciler.gate.hold([])
    bench.reconciler.look_again()
    await bench.reconciler.turn()
    assert bench.writes() == [("add_server", str(THREE.key))]


async def test_one_held_service_does_not_hold_the_others() -> None:
    bench = Bench()
    await bench.adopt(TWO_SERVICES, copy(TWO_SERVICES))
    bench.reconciler.gate.hold([OTHER])
    await bench.want(ALONE)
    assert bench.writes() == [("delete_server", str(TWO.key))]
    assert OTHER in bench.table.entries


async def test_drift_of_a_held_service_is_told_and_neither_repaired_nor_a_fight() -> None:
    bench = Bench()
    await bench.adopt(BOTH, copy(BOTH))
    bench.reconciler.gate.hold([WEB])
    for weight in range(2, 8):
        bench.table.entries[WEB].destinations[ONE.key] = server("198.51.100.1", weight)
        await bench.resync()
    assert len(bench.told(TableDrift)) == 6
    assert bench.table.writes == []
    assert bench.told(TableFight) == []
    bench.reconciler.gate.hold([])
    bench.reconciler.look_again()
    await bench.reconciler.turn()
    assert bench.writes() == [("set_server", str(ONE.key))]


class HeldMeanwhile(MemoryTable):
    """A table that an operator holds, or releases, while a batch of writes is under way."""

    def __init__(self) -> None:
        super().__init__()
        self.bench: Bench | None = None
        self.hold = True

    async def apply(self, operations: Sequence[Operation]) -> list[Result]:
        if self.bench is not None:
            self.bench.reconciler.gate.hold([None] if self.hold else [])
            self.bench.reconciler.look_again()
        return await super().apply(operations)


async def test_hold_that_comes_between_two_steps_of_writing_stops_the_second() -> None:
    held = HeldMeanwhile()
    bench = Bench(table=held)
    await bench.adopt(BOTH, copy(BOTH))
    held.bench = bench
    await bench.want(table(entry(service(WEB), TWO, THREE)))
    assert bench.writes() == [("add_server", str(THREE.key))]
    assert bench.told(TableError) == []


async def test_release_that_comes_during_a_turn_is_no_error() -> None:
    held = HeldMeanwhile()
    held.hold = False
    bench = Bench(table=held)
    await bench.adopt(TWO_SERVICES, copy(TWO_SERVICES))
    bench.reconciler.gate.hold([OTHER])
    held.bench = bench
    await bench.want(table(entry(service(WEB), ONE), entry(service(OTHER), TWO)))
    assert bench.told(TableError) == []
    held.bench = None
    await bench.reconciler.turn()
    assert bench.table.entries == table(entry(service(WEB), ONE), entry(service(OTHER), TWO))


@pytest.mark.parametrize("quiesces", [False, True])
async def test_brake_keeps_servers_in_and_the_fallback_out(quiesces: bool) -> None:
    bench = Bench()
    await bench.adopt(BOTH, copy(BOTH))
    bench.reconciler.gate.brake({WEB: Braked({ONE.key, TWO.key}, {FALLBACK.key})})
    zero = (server("198.51.100.1", 0), server("198.51.100.2", 0)) if quiesces else ()
    await bench.want(table(entry(service(WEB), *zero, FALLBACK)))
    assert bench.table.writes == []
    assert bench.told(TableError) == []
    bench.reconciler.gate.brake({})
    bench.reconciler.look_again()
    await bench.reconciler.turn()
    assert [verb for verb, _ in bench.writes()] == ["add_server"] + ["set_server" if quiesces else "delete_server"] * 2


async def test_brake_lets_everything_pass_but_the_removal_of_whom_it_concerns() -> None:
    bench = Bench()
    both = table(entry(service(WEB), ONE, TWO))
    await bench.adopt(both, copy(both))
    bench.reconciler.gate.brake({WEB: Braked({ONE.key}, {FALLBACK.key})})
    await bench.want(table(entry(service(WEB, "lc"), server("198.51.100.1", 5), THREE)))
    assert sorted(bench.writes()) == [
        ("add_server", str(THREE.key)),
        ("delete_server", str(TWO.key)),
        ("set_server", str(ONE.key)),
        ("set_service", str(WEB)),
    ]


async def test_service_in_shadow_mode_is_reported_once_and_never_written_beside_one_that_is_enforced() -> None:
    bench = Bench()
    bench.reconciler.gate.shadowed = frozenset({WEB})
    await bench.adopt(TWO_SERVICES, copy(TWO_SERVICES))
    wanted = table(entry(service(WEB), ONE, THREE), entry(service(OTHER), TWO))
    await bench.want(wanted)
    for _ in range(3):
        await bench.resync()
    assert bench.writes() == [("add_server", str(TWO.key)), ("delete_server", str(THREE.key))]
    told = [(event.operation, event.server, event.shadow) for event in bench.told(TableChanged)]  # type: ignore[attr-defined]
    assert sorted(told) == [
        ("add_server", str(TWO.key), False),
        ("add_server", str(THREE.key), True),
        ("delete_server", str(TWO.key), True),
        ("delete_server", str(THREE.key), False),
    ]
    assert bench.told(TableError) == []
    assert not bench.reconciler.in_sync(WEB)


async def test_difference_of_a_service_in_shadow_mode_that_was_gone_is_reported_again() -> None:
    bench = Bench()
    bench.reconciler.gate.shadowed = frozenset({WEB})
    await bench.adopt(BOTH, copy(BOTH))
    await bench.want(ALONE)
    bench.table.entries[WEB].destinations.pop(TWO.key)
    await bench.resync()
    bench.table.entries[WEB].destinations[TWO.key] = TWO
    await bench.resync()
    assert [event.operation for event in bench.told(TableChanged)] == ["delete_server"] * 2  # type: ignore[attr-defined]
    assert bench.told(TableDrift) == []
    assert bench.table.writes == []


async def test_service_in_shadow_mode_does_not_become_ours_and_stays_when_it_leaves_the_configuration() -> None:
    bench = Bench()
    bench.reconciler.gate.shadowed = frozenset({WEB})
    await bench.adopt(BOTH, copy(BOTH))
    bench.reconciler.gate.shadowed = frozenset()
    await bench.want({})
    assert WEB in bench.table.entries
    assert bench.table.writes == []


async def test_service_that_leaves_shadow_mode_is_written() -> None:
    bench = Bench()
    bench.reconciler.gate.shadowed = frozenset({WEB})
    await bench.adopt(BOTH, copy(BOTH))
    await bench.want(ALONE)
    bench.reconciler.gate.shadowed = frozenset()
    await bench.want(copy(ALONE))
    assert bench.writes() == [("delete_server", str(TWO.key))]
