"""Others may ask for services to be read again, and hear when they were."""

import math
from collections.abc import Collection

from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, ServiceKey, ServiceRecord, Table
from lvs_healthd.ipvs.words import AF_INET, ForwardingMethod
from tests.reconciling import Bench

MARK = ServiceKey(AF_INET, fwmark=65536)
PLAIN = ServiceKey(AF_INET, 6, "192.0.2.100", 80)
SERVER = DestinationKey(AF_INET, "198.51.100.11", 80)


def table(*keys: ServiceKey) -> Table:
    record = DestinationRecord(SERVER, ForwardingMethod.DROUTE, 1)
    return {key: ServiceEntry(ServiceRecord(key, "rr"), {SERVER: record}) for key in keys}


class Heard:
    """The readings that were told."""

    def __init__(self, bench: Bench) -> None:
        self.readings: list[tuple[float, Collection[ServiceKey] | None]] = []
        self.turns = 0
        bench.reconciler.was_read = lambda began, keys: self.readings.append((began, keys))
        bench.reconciler.has_turned = self._turned

    def _turned(self) -> None:
        self.turns += 1


async def in_sync() -> tuple[Bench, Heard]:
    bench = Bench()
    await bench.adopt(table(MARK, PLAIN), table(MARK, PLAIN))
    return bench, Heard(bench)


async def test_only_what_was_asked_for_is_read_at_once() -> None:
    bench, heard = await in_sync()
    bench.now += 0.1
    bench.reconciler.read_again([MARK])
    await bench.reconciler.turn()
    assert heard.readings == [(bench.now, [MARK])]
    assert bench.table.writes == []
    bench.now += 0.1
    await bench.reconciler.turn()
    assert len(heard.readings) == heard.turns == 1


async def test_resync_answers_every_question() -> None:
    bench, heard = await in_sync()
    bench.reconciler.read_again([MARK])
    await bench.resync()
    assert heard.readings == [(bench.now, None)]
    await bench.reconciler.turn()
    assert len(heard.readings) == 1


async def test_what_was_found_missing_is_written_in_the_same_turn() -> None:
    bench, _ = await in_sync()
    del bench.table.entries[MARK]
    bench.now += 0.1
    bench.reconciler.read_again([MARK])
    await bench.reconciler.turn()
    assert bench.table.entries == table(MARK, PLAIN)
    assert bench.reconciler.changed_at(MARK) == bench.now


async def test_change_of_a_service_by_mark_is_remembered_as_long_as_it_exists() -> None:
    bench, _ = await in_sync()
    assert bench.reconciler.changed_at(MARK) == -math.inf
    bench.table.entries[MARK].destinations.clear()
    await bench.resync()
    changed = bench.now
    assert bench.reconciler.changed_at(MARK) == changed
    await bench.resync()
    assert bench.reconciler.changed_at(MARK) == changed
    await bench.want(table(PLAIN))
    await bench.resync()
    assert bench.reconciler.changed_at(MARK) == -math.inf
