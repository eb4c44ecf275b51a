"""When somebody else undoes our writes again and again, we name suspects and slow down, and never enter a hot loop."""

import os
from pathlib import Path

import msgspec

from lvs_healthd.events.kinds import TableError, TableFight, TableFightOver
from lvs_healthd.ipvs.records import DestinationRecord
from lvs_healthd.ipvs.words import ForwardingMethod
from lvs_healthd.reconcile.fights import TOLD_AGAIN_S
from lvs_healthd.reconcile.suspects import suspects
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.runtime.patience import MAX_HOLD_S, TIMES, hold_s
from tests.ipvs.tables import WEB, copy, entry, server, service, table
from tests.reconciling import BOTH, ONE, RESYNC_S, THREE, TWO, Bench

HEAVY = server("198.51.100.1", 7)
SUSPECT = "keepalived (pid 812)"


class Fight(Bench):
    """A bench where somebody sets the weight of ONE to 7, or takes everything out, whenever we have set it back."""

    def __init__(self) -> None:
        super().__init__()
        self.reconciler.fights._suspects = lambda: [SUSPECT]

    def meddle(self, record: DestinationRecord = HEAVY) -> None:
        self.table.entries[WEB].destinations[record.key] = record

    @property
    def is_ours(self) -> bool:
        return self.table.entries[WEB].destinations.get(ONE.key) == ONE

    async def decide(self, record: DestinationRecord) -> None:
        """Change one wanted line, as a verdict does."""
        wanted = self.reconciler.wanted
        assert wanted is not None
        wanted.table[WEB].destinations[record.key] = record
        self.reconciler.want(wanted, [(WEB, record.key)])
        await self.reconciler.turn()

    async def rounds(self, number: int) -> None:
        for _ in range(number):
            self.meddle()
            await self.resync()


async def test_undone_twice_is_mended_at_once_and_no_fight() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    await bench.rounds(TIMES - 1)
    assert bench.is_ours
    assert bench.told(TableFight) == []
    assert bench.reconciler.fights.count == 0


async def test_a_fight_is_told_with_suspects_and_the_line_held_back() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    await bench.rounds(TIMES)
    assert bench.told(TableFight) == [
        TableFight(service="web", server=str(ONE.key), times=TIMES, hold_s=2 * RESYNC_S, suspects=(SUSPECT,))
    ]
    assert bench.reconciler.fights.count == 1
    assert not bench.is_ours
    assert not bench.reconciler.in_sync(WEB)
    await bench.resync()
    assert not bench.is_ours
    await bench.resync()
    assert bench.is_ours


async def test_writes_grow_rare_while_the_fight_goes_on() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    await bench.rounds(600)  # 6000 seconds
    resyncs_a_write = 600 / len(bench.table.writes)
    assert MAX_HOLD_S / RESYNC_S - 1 < resyncs_a_write <= MAX_HOLD_S / RESYNC_S + 1
    assert len(bench.told(TableFight)) <= 6000 / TOLD_AGAIN_S + 1


def test_a_fight_may_last_for_years() -> None:
    assert hold_s(TIMES, 1.0) == 2.0
    assert [hold_s(TIMES + more, 1.0) for more in (5, 6, 100_000)] == [MAX_HOLD_S] * 3
    assert hold_s(TIMES, 3600.0) == MAX_HOLD_S


async def test_a_line_that_is_held_back_is_written_when_nothing_else_serves() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    for _ in range(TIMES):
        del bench.table.entries[WEB].destinations[ONE.key]
        await bench.resync()
    assert bench.reconciler.fights.count == 1
    assert not bench.is_ours
    wanted = bench.reconciler.wanted
    assert wanted is not None
    del wanted.table[WEB].destinations[TWO.key]
    bench.reconciler.want(wanted, [(WEB, TWO.key)])
    await bench.reconciler.turn()
    assert bench.table.entries == table(entry(service(WEB), ONE))
    assert bench.told(TableError) == []


async def test_other_lines_are_written_as_ever() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    await bench.rounds(TIMES)
    heavier = server("198.51.100.2", 5)
    await bench.decide(heavier)
    assert bench.table.entries[WEB].destinations[TWO.key] == heavier
    assert not bench.is_ours


async def test_a_reload_has_everything_written_at_once() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    await bench.rounds(TIMES)
    assert not bench.is_ours
    await bench.want(copy(BOTH))
    assert bench.is_ours


async def test_a_decision_of_ours_is_written_at_once() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    await bench.rounds(TIMES)
    await bench.decide(server("198.51.100.1", 3))
    assert bench.table.entries[WEB].destinations[ONE.key].weight == 3


async def test_a_server_that_is_down_is_taken_out_however_often_it_is_put_back() -> None:
    bench = Fight()
    await bench.adopt(BOTH, table(entry(service(WEB), TWO)))
    for _ in range(3 * TIMES):
        bench.meddle(ONE)
        await bench.resync()
        assert ONE.key not in bench.table.entries[WEB].destinations
    assert bench.told(TableFight) != []


async def test_a_service_that_is_deleted_again_and_again_is_told_and_comes_back_at_once() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    for _ in range(3 * TIMES):
        bench.table.entries.clear()
        await bench.resync()
        assert bench.table.entries == BOTH
        assert bench.reconciler.in_sync(WEB)
    assert bench.told(TableFight) == [
        TableFight(service="web", server="", times=TIMES, hold_s=0.0, suspects=(SUSPECT,))
    ]
    assert bench.reconciler.fights.count == 1


async def test_servers_that_are_fought_over_come_back_at_once_with_a_service_that_is_flushed() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    for _ in range(TIMES):
        del bench.table.entries[WEB].destinations[ONE.key]
        await bench.resync()
    assert not bench.is_ours
    bench.table.entries.clear()
    await bench.resync()
    assert bench.table.entries == BOTH


async def test_a_server_drained_by_hand_again_and_again_is_raised_at_once_when_nobody_else_serves() -> None:
    bench = Fight()
    alone = table(entry(service(WEB), ONE))
    await bench.adopt(alone, copy(alone))
    for _ in range(2 * TIMES):
        bench.meddle(server("198.51.100.1", 0))
        await bench.resync()
        assert bench.is_ours


async def test_a_method_that_is_changed_again_and_again_is_set_back_at_once_when_nobody_else_serves() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    for _ in range(2 * TIMES):
        for one in (ONE, TWO):
            bench.meddle(msgspec.structs.replace(one, forward=ForwardingMethod.DROUTE))
        await bench.resync()
        assert bench.reconciler.in_sync(WEB)
    bench.meddle(msgspec.structs.replace(ONE, forward=ForwardingMethod.DROUTE))
    await bench.resync()
    assert not bench.is_ours


async def test_a_scheduler_that_is_changed_again_and_again_holds_nothing_else_back() -> None:
    """Neither the servers that are added while the scheduler waits, nor the service itself when it is deleted."""
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    for _ in range(TIMES):
        bench.table.entries[WEB].service = service(WEB, "sh")
        await bench.resync()
    assert bench.table.entries[WEB].service.scheduler == "sh"
    await bench.decide(THREE)
    assert bench.table.entries[WEB].destinations[THREE.key] == THREE
    bench.table.entries.clear()
    await bench.resync()
    assert bench.reconciler.in_sync(WEB)


async def test_the_end_of_a_fight_is_told_and_counting_starts_over() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    await bench.rounds(TIMES)
    for _ in range(20):
        await bench.resync()
    assert bench.is_ours
    assert bench.told(TableFightOver) == [TableFightOver(service="web", server=str(ONE.key))]
    assert bench.reconciler.fights.count == 0
    await bench.rounds(1)
    assert bench.is_ours


async def test_accidents_far_apart_are_no_fight() -> None:
    bench = Fight()
    await bench.adopt(BOTH, copy(BOTH))
    for _ in range(5):
        await bench.rounds(1)
        bench.now += 20 * RESYNC_S
        await bench.resync()
    assert bench.told(TableFight) == []


async def test_in_shadow_mode_the_table_is_theirs() -> None:
    bench = Bench(shadow=True)
    await bench.adopt(copy(BOTH), BOTH)
    for weight in range(2, 9):
        bench.table.entries[WEB].destinations[ONE.key] = server("198.51.100.1", weight)
        await bench.resync()
    assert bench.told(TableFight) == []


def process(proc: Path, pid: int, name: str, *, parent: int = 1, state: str = "S") -> Path:
    folder = proc / str(pid)
    (folder / "ns").mkdir(parents=True)
    (folder / "ns" / "net").symlink_to("/proc/self/ns/net")
    (folder / "stat").write_text(f"{pid} ({name}) {state} {parent} 1 1")
    return folder


def test_suspects_are_the_known_managers_in_this_namespace_except_ourselves(tmp_path: Path) -> None:
    process(tmp_path, 812, "keepalived")
    process(tmp_path, 7, "ldirectord")
    process(tmp_path, 8, "mon", state="Z")  # has ended, and its parent has not asked about it
    process(tmp_path, 9, "nginx")
    process(tmp_path, 100, "lvs-healthd")
    process(tmp_path, 101, "lvs-healthd", parent=100)  # a probe worker of ours
    process(tmp_path, 200, "lvs-healthd")
    elsewhere = process(tmp_path, 300, "kube-proxy")
    (elsewhere / "ns" / "net").unlink()
    (elsewhere / "ns" / "net").touch()
    (tmp_path / "self").mkdir()
    (tmp_path / "999").mkdir()  # has just ended
    assert suspects(Netns(), 100, proc=tmp_path) == [
        "keepalived (pid 812)",
        "ldirectord (pid 7)",
        "lvs-healthd (pid 200)",
    ]


def test_looking_at_this_machine_does_not_fail() -> None:
    assert all("(pid " in each for each in suspects(Netns(), os.getpid()))
