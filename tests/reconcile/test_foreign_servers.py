"""Servers that somebody else has added to a service of ours are left alone if the service is shared."""

import errno
from collections.abc import Sequence

from lvs_healthd.events.kinds import TableChanged, TableDrift
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, Verb, Wanted, Why
from lvs_healthd.ipvs.words import AF_INET
from lvs_healthd.state.file import Ours, Saved, SharedService
from tests.ipvs.tables import WEB, entry, server, service, table
from tests.reconciling import BOTH, ONE, TWO, Bench

THEIRS = server("198.51.100.77", 5)


class Shared(Bench):
    """A service with our servers ONE and TWO, and any that somebody else adds."""

    async def want_shared(
        self, *serving: DestinationRecord, configured: Sequence[DestinationRecord] = (ONE, TWO)
    ) -> None:
        keys = frozenset(record.key for record in configured)
        reasons = {(WEB, key): Why("all checks pass") for key in keys}
        self.reconciler.want(Wanted(table(entry(service(WEB), *serving)), {WEB: "web"}, reasons, {WEB: keys}))
        await self.reconciler.turn()

    def add(self, record: DestinationRecord) -> None:
        self.table.entries[WEB].destinations[record.key] = record

    def present(self) -> set[DestinationRecord]:
        return set(self.table.entries[WEB].destinations.values())


async def test_their_server_is_left_alone_and_is_no_drift() -> None:
    bench = Shared()
    await bench.adopt(BOTH)
    await bench.want_shared(ONE, TWO)
    bench.add(THEIRS)
    await bench.resync()
    bench.add(server("198.51.100.77", 9))
    await bench.resync()
    assert bench.present() == {ONE, TWO, server("198.51.100.77", 9)}
    assert bench.told(TableDrift) == bench.told(TableChanged) == []
    assert bench.reconciler.in_sync(WEB)
    assert bench.table.writes == []


async def test_ours_is_repaired_beside_theirs() -> None:
    bench = Shared()
    await bench.adopt(BOTH)
    await bench.want_shared(ONE, TWO)
    bench.add(THEIRS)
    bench.add(server("198.51.100.1", 9))
    del bench.table.entries[WEB].destinations[TWO.key]
    await bench.resync()
    assert bench.present() == {ONE, TWO, THEIRS}
    assert len(bench.told(TableDrift)) == 2


async def test_our_server_that_is_down_is_taken_out_even_when_somebody_puts_it_back() -> None:
    bench = Shared()
    await bench.adopt(table(entry(service(WEB), ONE, TWO, THEIRS)))
    await bench.want_shared(TWO)
    assert bench.present() == {TWO, THEIRS}
    bench.add(ONE)
    await bench.resync()
    assert bench.present() == {TWO, THEIRS}


async def test_server_that_leaves_the_configuration_is_removed_and_is_theirs_if_it_reappears() -> None:
    bench = Shared()
    await bench.adopt(table(entry(service(WEB), ONE, TWO, THEIRS)))
    await bench.want_shared(ONE, TWO)
    await bench.want_shared(ONE, configured=[ONE])
    assert bench.present() == {ONE, THEIRS}
    bench.add(TWO)
    await bench.resync()
    assert bench.present() == {ONE, TWO, THEIRS}


async def test_what_is_ours_is_remembered_over_a_restart() -> None:
    bench = Shared()
    await bench.adopt(table(entry(service(WEB), ONE, TWO, THEIRS)))
    await bench.want_shared(ONE, TWO)
    ours = bench.reconciler.ownership.saved()
    assert ours == Ours(frozenset({WEB}), (SharedService(WEB, (ONE.key, TWO.key)),))
    after = Shared()
    await after.adopt(table(entry(service(WEB), ONE, TWO, THEIRS)))
    after.reconciler.ownership.take_over(Saved(owned=tuple(ours.services), shared=ours.shared))
    await after.want_shared(ONE, configured=[ONE])
    assert after.present() == {ONE, THEIRS}


async def test_a_service_that_is_not_shared_any_more_is_cleared_of_theirs() -> None:
    bench = Shared()
    await bench.adopt(table(entry(service(WEB), ONE, TWO, THEIRS)))
    await bench.want_shared(ONE, TWO)
    await bench.want(BOTH)
    assert bench.present() == {ONE, TWO}


async def test_server_that_left_the_configuration_while_out_of_the_table_is_theirs_if_it_reappears() -> None:
    bench = Shared()
    await bench.adopt(table(entry(service(WEB), ONE, TWO, THEIRS)))
    await bench.want_shared(ONE)
    await bench.want_shared(ONE, configured=[ONE])
    assert bench.reconciler.ownership.saved().shared == (SharedService(WEB, (ONE.key,)),)
    bench.add(TWO)
    await bench.resync()
    assert bench.present() == {ONE, TWO, THEIRS}
    assert bench.told(TableDrift) == []


async def test_theirs_that_serve_until_ours_are_proven_are_not_written() -> None:
    bench = Shared()
    await bench.adopt(table(entry(service(WEB), THEIRS)))
    await bench.want_shared(THEIRS)
    assert bench.reconciler.in_sync(WEB)
    bench.add(server("198.51.100.77", 0))
    await bench.resync()
    assert bench.present() == {server("198.51.100.77", 0)}
    bench.table.entries[WEB].destinations.clear()
    await bench.resync()
    assert bench.present() == set()
    assert bench.reconciler.in_sync(WEB)
    assert bench.told(TableChanged) == bench.told(TableDrift) == []


async def drop(bench: Shared) -> None:
    bench.reconciler.want(Wanted({}, {}, {}))
    await bench.reconciler.turn()


async def test_a_service_that_leaves_the_configuration_stays_with_theirs_and_is_not_ours_any_more() -> None:
    bench = Shared()
    await bench.adopt(table(entry(service(WEB), ONE, TWO, THEIRS)))
    await bench.want_shared(ONE)
    await drop(bench)
    assert bench.present() == {THEIRS}
    assert bench.reconciler.ownership.saved() == Ours()
    bench.add(ONE)
    await bench.resync()
    assert bench.present() == {THEIRS, ONE}


async def test_a_service_that_leaves_the_configuration_without_any_of_theirs_goes() -> None:
    bench = Shared()
    await bench.adopt(table(entry(service(WEB), ONE, TWO)))
    await bench.want_shared(ONE, TWO)
    await drop(bench)
    assert bench.table.entries == {}
    assert bench.reconciler.ownership.saved() == Ours()


async def test_what_could_not_be_taken_out_of_a_dropped_service_is_tried_again_and_remembered() -> None:
    bench = Shared()
    await bench.adopt(table(entry(service(WEB), ONE, TWO, THEIRS)))
    await bench.want_shared(ONE, TWO)
    bench.table.fail_next(Verb.DELETE_SERVER, errno.EPERM)
    await drop(bench)
    assert bench.present() == {ONE, THEIRS}
    assert bench.reconciler.ownership.saved() == Ours(frozenset({WEB}), (SharedService(WEB, (ONE.key,)),))
    after = Shared()
    await after.adopt(table(entry(service(WEB), ONE, THEIRS)))
    after.reconciler.ownership.take_over(Saved(owned=(WEB,), shared=(SharedService(WEB, (ONE.key,)),)))
    await drop(after)
    assert after.present() == {THEIRS}


async def test_in_sync_looks_at_ours_only() -> None:
    bench = Shared()
    await bench.adopt(table(entry(service(WEB), THEIRS)))
    bench.reconciler.want(Wanted(BOTH, {}, {}, {WEB: frozenset({ONE.key, TWO.key})}))
    assert not bench.reconciler.in_sync(WEB)
    await bench.reconciler.turn()
    assert bench.reconciler.in_sync(WEB)
    assert bench.reconciler.actual[WEB] == ServiceEntry(service(WEB), {each.key: each for each in (THEIRS, ONE, TWO)})
    assert DestinationKey(AF_INET, "198.51.100.77", 80) in bench.reconciler.actual[WEB].destinations


async def test_in_shadow_mode_theirs_is_no_difference_either() -> None:
    bench = Shared(shadow=True)
    await bench.adopt(table(entry(service(WEB), ONE, TWO, THEIRS)))
    await bench.want_shared(ONE, TWO)
    assert bench.told(TableChanged) == []
    await bench.want_shared(ONE)
    (told,) = bench.told(TableChanged)
    assert isinstance(told, TableChanged)
    assert (told.operation, told.server, told.shadow) == ("delete_server", str(TWO.key), True)
    assert bench.reconciler.ownership.services == set()
