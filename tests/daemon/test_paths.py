"""Path probes run only with their mark services, each from a source and, over udp, a port of its own."""

import asyncio
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.check_model import AnyCheck, TcpCheck, UdpCheck
from lvs_healthd.config.check_ways import DataPath, PathWay
from lvs_healthd.config.model import Config, Ipvs, Mode
from lvs_healthd.config.model import Daemon as DaemonSettings
from lvs_healthd.config.path_rules import SOURCE_PORTS
from lvs_healthd.daemon.parts import Settings, Surroundings, build
from lvs_healthd.daemon.path_marks import REST_S
from lvs_healthd.daemon.paths import FIRST_WRITE_S, PathRuns
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.director.path_exits import Exit, Question
from lvs_healthd.events.kinds import Event, PathMarkTaken
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.records import Operation, ServiceEntry, ServiceKey, ServiceRecord, Verb
from lvs_healthd.ipvs.words import AF_INET
from lvs_healthd.log import configure
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason, unsure, up
from lvs_healthd.probes.targets import targets
from lvs_healthd.probing.probe import Probe
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.state.file import Saved
from tests.configs import config, server, service, tcp_check
from tests.decide.test_decisions import Counting
from tests.reconciling import Counts

VIP, VIP2 = "192.0.2.100", "192.0.2.101"
A, B = "198.51.100.11", "198.51.100.12"
SYSCTL = "net.ipv4.conf.eth0.accept_local"


def path_check(address: str, vip: str = VIP, protocol: Protocol = Protocol.TCP, name: str = "path") -> AnyCheck:
    path = DataPath(protocol=protocol, family=Family.IPV4, server=Endpoint(address, 0), forward="dr")
    keys = {"name": name, "address": vip, "port": 80, "way": PathWay(path=path)}
    if protocol is Protocol.UDP:
        return UdpCheck(**keys, send=b"?", expect=name.encode())  # type: ignore[arg-type]
    return TcpCheck(**keys)  # type: ignore[arg-type]


def over_tcp(*addresses: str) -> Config:
    return config(service(*(server(each, checks=(tcp_check(each, 80), path_check(each))) for each in addresses)))


def over_udp(*addresses: str) -> Config:
    checks = {each: (tcp_check(each, 80), path_check(each, protocol=Protocol.UDP)) for each in addresses}
    return config(service(*(server(each, checks=those) for each, those in checks.items())))


class FakeProber:
    """Remembers which probes run."""

    def __init__(self) -> None:
        self.running: dict[AnyCheck, Probe[AnyCheck]] = {}
        self.paces: dict[AnyCheck, float] = {}

    def pace(self, key: AnyCheck, pace_s: float) -> None:
        self.paces[key] = pace_s

    def update(self, probes: Iterable[Probe[AnyCheck]], dropped: Iterable[AnyCheck] = ()) -> None:
        for key in dropped:
            del self.running[key]
        for probe in probes:
            assert probe.key not in self.running
            self.running[probe.key] = probe


class Bench:
    """Path probes over a table in memory."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.table = MemoryTable()
        self.reconciler = Reconciler(
            self.table, self.events.append, clock=lambda: self.now, resync_s=10.0, observer=Counts()
        )
        self.decisions = Decisions(
            emit=self.events.append,
            changed=lambda: None,
            tally=lambda name, kind: Counting([], name, kind),
            clock=lambda: self.now,
            wall=lambda: self.now,
            table=self.reconciler,
        )
        self.prober = FakeProber()
        self.exit = Exit("198.51.100.2")
        self.asked: list[tuple[Collection[Question], Collection[str]]] = []
        self.runs = PathRuns(
            self.decisions,
            self.prober,  # type: ignore[arg-type]
            self.reconciler,
            self.events.append,
            clock=lambda: self.now,
            wall=lambda: self.now,
            find_exits=self._find_exits,
        )

    def _find_exits(self, questions: Collection[Question], services: Collection[str]) -> dict[Question, Exit]:
        self.asked.append((questions, services))
        return dict.fromkeys(questions, self.exit)

    async def configure(self, given: Config, *, runs: bool = True, writes: bool = True) -> None:
        """Put a configuration into force, and let everything settle."""
        actual = await self.reconciler.adopt()
        marked = self.runs.plan(given, actual, runs=runs)
        known = self.decisions.probes.copy()
        changes = self.decisions.configure(given, actual, {}, marked)
        ready = targets(given.services, known)
        plain, dropped = self.runs.configured(changes, ready)
        assert not any(probe.is_path for probe in plain)
        assert not any(isinstance(check.way, PathWay) for check in dropped)
        self.reconciler.want(self.decisions.wanted(actual), self.decisions.take_touched())
        if writes:
            await self.reconciler.turn()
        await self.settle()

    async def settle(self) -> None:
        await self.runs.find_exits()
        await self.runs.turn()

    def marks(self) -> dict[str, int]:
        """Return the mark of each server's mark service in the table."""
        return {
            destination.address: key.fwmark
            for key, entry in self.reconciler.actual.items()
            for destination in entry.destinations
            if key.fwmark
        }

    def ways(self) -> dict[str, PathWay]:
        """Return from where each server is probed."""
        found = [check.way for check in self.prober.running]
        return {way.path.server.address: way for way in found if isinstance(way, PathWay)}

    def last(self, address: str) -> Outcome | None:
        (found,) = (each for each in self.decisions.paths.probes.values() if each.path.server.address == address)
        return found.last

    async def delete(self, mark: int) -> None:
        """Delete a mark service, as somebody else would."""
        key = ServiceKey(AF_INET, fwmark=mark)
        (result,) = await self.table.apply([Operation(Verb.DELETE_SERVICE, ServiceRecord(key, "rr"))])
        assert result.ok


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_probe_has_the_mark_of_its_own_server(bench: Bench) -> None:
    await bench.configure(over_tcp(A, B))
    assert bench.marks() == {A: 65536, B: 65537}
    assert {each: way.mark for each, way in bench.ways().items()} == {A: 65536, B: 65537}
    assert {(way.source, way.source_port) for way in bench.ways().values()} == {("198.51.100.2", 0)}
    targets_of = [probe.target for probe in bench.prober.running.values()]
    assert all(
        target.way == probe.way and target.apart for target, probe in zip(targets_of, bench.prober.running, strict=True)
    )
    assert bench.asked[0][1] == {VIP}


async def test_no_probe_runs_before_its_mark_service_is_there(bench: Bench) -> None:
    await bench.configure(over_tcp(A, B), writes=False)
    assert bench.prober.running == {}
    assert bench.last(A) is None
    bench.now += FIRST_WRITE_S + 1.0
    await bench.runs.turn()
    last = bench.last(A)
    assert last is not None
    assert last.reason is Reason.MARK
    await bench.reconciler.turn()
    await bench.runs.turn()
    assert bench.ways().keys() == {A, B}


async def test_nothing_is_wanted_or_run_where_nothing_is_written(bench: Bench) -> None:
    await bench.configure(over_tcp(A, B), runs=False)
    assert (bench.marks(), bench.ways()) == ({}, {})
    last = bench.last(A)
    assert last is not None
    assert last.reason is Reason.NOT_RUN


async def test_reload_may_begin_and_cease_to_run_them(bench: Bench) -> None:
    given = over_tcp(A, B)
    await bench.configure(given, runs=False)
    await bench.configure(given)
    assert bench.ways().keys() == {A, B}
    before = bench.marks()
    await bench.configure(given, runs=False)
    assert bench.prober.running == {}
    assert bench.marks() == {}
    await bench.configure(given)
    assert bench.marks() == before


async def test_server_that_leaves_takes_its_mark_service_along(bench: Bench) -> None:
    await bench.configure(over_tcp(A, B))
    await bench.configure(over_tcp(B))
    assert bench.marks() == {B: 65537}
    assert bench.ways().keys() == {B}


async def test_mark_of_a_server_that_left_rests(bench: Bench) -> None:
    await bench.configure(over_tcp(A, B))
    narrow = msgspec.structs.replace(over_tcp(B, "198.51.100.13"), ipvs=Ipvs(path_marks=(65536, 65537)))
    await bench.configure(narrow)
    assert bench.marks() == {B: 65537}
    last = bench.last("198.51.100.13")
    assert last is not None
    assert last.kind is OutcomeKind.UNSURE
    assert "make path_marks in [ipvs] larger" in last.detail
    bench.now += REST_S + 1.0
    await bench.configure(narrow)
    assert bench.marks() == {B: 65537, "198.51.100.13": 65536}


async def test_marks_survive_a_restart(bench: Bench) -> None:
    await bench.configure(over_tcp(A, B))
    marks, ports = bench.runs.saved()
    again = Bench()
    again.runs.restore(Saved(path_marks=marks, path_ports=ports))
    await again.configure(over_tcp(B, A))
    assert again.marks() == {A: 65536, B: 65537}


async def test_mark_services_are_ours_again_though_the_state_file_was_lost(bench: Bench) -> None:
    await bench.configure(over_tcp(A, B))
    again = Bench()
    again.table = bench.table
    again.reconciler = Reconciler(
        bench.table, again.events.append, clock=lambda: again.now, resync_s=10.0, observer=Counts()
    )
    found = await again.reconciler.adopt()
    assert again.runs.plan(over_tcp(B, A), found, runs=True).keys() == {
        ServiceKey(AF_INET, fwmark=65536),
        ServiceKey(AF_INET, fwmark=65537),
    }
    assert [each for each in again.events if isinstance(each, PathMarkTaken)] == []


async def test_somebody_elses_service_keeps_its_mark_and_is_told(bench: Bench) -> None:
    other = ServiceKey(AF_INET, fwmark=65536)
    theirs = ServiceRecord(other, "wlc")
    await bench.table.apply([Operation(Verb.ADD_SERVICE, theirs)])
    await bench.configure(over_tcp(A, B))
    assert bench.marks() == {A: 65537, B: 65538}
    assert bench.reconciler.actual[other] == ServiceEntry(theirs, {})
    assert [each for each in bench.events if isinstance(each, PathMarkTaken)] == [PathMarkTaken(service="fwmark 65536")]
    await bench.configure(over_tcp(A))
    assert bench.reconciler.actual[other] == ServiceEntry(theirs, {})
    assert len([each for each in bench.events if isinstance(each, PathMarkTaken)]) == 1


async def test_deleted_mark_service_stops_its_probe_until_it_is_there_again(bench: Bench) -> None:
    await bench.configure(over_tcp(A, B))
    await bench.delete(65536)
    bench.now += 10.0
    bench.reconciler.shadow = True  # so that it is not written again at once
    await bench.reconciler.turn()
    await bench.runs.turn()
    assert bench.ways().keys() == {B}
    last = bench.last(A)
    assert last is not None
    assert (last.kind, last.reason) == (OutcomeKind.UNSURE, Reason.MARK)
    bench.reconciler.shadow = False
    bench.now += 10.0
    await bench.reconciler.turn()
    await bench.runs.turn()
    assert bench.ways().keys() == {A, B}


async def test_repair_within_one_turn_is_told_to_the_check(bench: Bench) -> None:
    await bench.configure(over_tcp(A, B))
    await bench.delete(65536)
    bench.now += 10.0
    await bench.reconciler.turn()
    await bench.runs.turn()
    last = bench.last(A)
    assert last is not None
    assert (last.kind, last.reason) == (OutcomeKind.UNSURE, Reason.MARK)
    assert bench.ways().keys() == {A, B}


async def test_each_server_has_a_udp_port_of_its_own_that_it_keeps(bench: Bench) -> None:
    await bench.configure(over_udp(A, B))
    ports = {each: way.source_port for each, way in bench.ways().items()}
    assert len({*ports.values()}) == 2
    assert all(port in SOURCE_PORTS for port in ports.values())
    await bench.configure(over_udp(B, A, "198.51.100.13"))
    assert {each: bench.ways()[each].source_port for each in (A, B)} == ports


async def test_two_udp_checks_of_one_server_have_two_ports(bench: Bench) -> None:
    checks = [path_check(A, protocol=Protocol.UDP, name=name) for name in ("one", "two")]
    await bench.configure(config(service(server(A, checks=(tcp_check(A, 80), *checks)))))
    found = [check.way.source_port for check in bench.prober.running if isinstance(check.way, PathWay)]
    assert len({*found}) == 2
    assert {check.way.mark for check in bench.prober.running if isinstance(check.way, PathWay)} == {65536}


async def test_udp_port_is_another_one_after_its_mark_service_was_missing(bench: Bench) -> None:
    """Meanwhile IPVS may have chosen another server for the port, and would go on sending its datagrams there."""
    await bench.configure(over_udp(A, B))
    before = {each: way.source_port for each, way in bench.ways().items()}
    await bench.delete(65536)
    bench.now += 10.0
    await bench.reconciler.turn()
    await bench.runs.turn()
    after = {each: way.source_port for each, way in bench.ways().items()}
    assert after[B] == before[B]
    assert after[A] not in {*before.values()}


async def test_udp_port_is_another_one_if_its_mark_service_stays_away_for_a_while(bench: Bench) -> None:
    await bench.configure(over_udp(A))
    before = bench.ways()[A].source_port
    await bench.delete(65536)
    bench.reconciler.shadow = True
    bench.now += 10.0
    await bench.reconciler.turn()
    await bench.runs.turn()
    await bench.runs.turn()
    bench.reconciler.shadow = False
    bench.now += 10.0
    await bench.reconciler.turn()
    await bench.runs.turn()
    assert bench.ways()[A].source_port not in {0, before}


async def test_udp_port_of_another_program_is_given_up(bench: Bench) -> None:
    await bench.configure(over_udp(A))
    before = bench.ways()[A].source_port
    (probe,) = bench.prober.running.values()
    taken = f"cannot probe from port {before} of 198.51.100.2, which another program may have: Address already in use"
    probe.sink.outcome(unsure(Reason.LOCAL_NETWORK, taken), Course(0.0))
    await bench.runs.turn()
    assert bench.ways()[A].source_port not in {0, before}


async def test_setting_that_is_in_the_way_makes_the_check_unsure_and_is_advised(bench: Bench) -> None:
    bench.exit = Exit(trouble=f"{SYSCTL} is 0, so answers are dropped: sysctl -w {SYSCTL}=1", sysctl=SYSCTL)
    await bench.configure(over_tcp(A, B))
    assert bench.prober.running == {}
    last = bench.last(A)
    assert last is not None
    assert (last.kind, last.reason) == (OutcomeKind.UNSURE, Reason.SETTING)
    (advice,) = bench.runs.advice
    assert (advice.name, advice.value, advice.service) == (SYSCTL, "0", "web")
    assert advice.text == f"answers are dropped: sysctl -w {SYSCTL}=1"
    bench.exit = Exit("198.51.100.2")
    await bench.settle()
    assert bench.ways().keys() == {A, B}
    assert bench.runs.advice == ()


async def test_unsure_outcome_of_a_probe_that_cannot_run_comes_once_an_interval(bench: Bench) -> None:
    bench.exit = Exit(trouble="no")
    await bench.configure(over_tcp(A))
    (probe,) = bench.decisions.paths.probes.values()
    first = probe.last_at
    bench.now += probe.check.interval / 2
    await bench.runs.turn()
    assert probe.last_at == first
    bench.now += probe.check.interval / 2
    await bench.runs.turn()
    assert probe.last_at == bench.now


async def test_network_that_cannot_be_asked_about_makes_the_checks_unsure(bench: Bench) -> None:
    def broken(*_: object) -> dict[Question, Exit]:
        raise OSError("no buffer space")

    bench.runs._find_exits = broken
    await bench.configure(over_tcp(A))
    last = bench.last(A)
    assert last is not None
    assert "cannot find out from where to probe: no buffer space" in last.detail


async def test_outcome_counts_when_the_table_has_been_read_after_it(bench: Bench) -> None:
    await bench.configure(over_tcp(A))
    (probe,) = bench.prober.running.values()
    bench.now += 1.0
    probe.sink.outcome(up("connected"), Course(0.001))
    assert bench.last(A) is None
    bench.now += 0.1
    await bench.reconciler.turn()
    await bench.runs.turn()
    assert bench.last(A) == up("connected")


@pytest.mark.parametrize(
    ("is_kernel", "shadow", "mode", "runs"),
    [
        (True, False, Mode.ENFORCE, True),
        (True, True, Mode.ENFORCE, False),
        (True, False, Mode.SHADOW, False),
        (False, False, Mode.ENFORCE, False),
    ],
)
async def test_they_run_only_where_the_kernels_table_is_written(
    tmp_path: Path, *, is_kernel: bool, shadow: bool, mode: Mode, runs: bool
) -> None:
    given = msgspec.structs.replace(over_tcp(A), daemon=DaemonSettings(mode=mode))
    around = Surroundings(table=MemoryTable(), log=configure(), netns=Netns(), aspects=(), exclusive=is_kernel)
    parts = build(Settings(config_file=tmp_path / "config.toml", shadow=shadow), given, around)
    try:
        assert parts.runs_paths(given) is runs
    finally:
        parts.prober.close()
        parts.log.close()


async def test_run_does_all_of_it(bench: Bench) -> None:
    running = asyncio.create_task(bench.runs.run())
    try:
        await bench.configure(over_tcp(A))
        (probe,) = bench.prober.running.values()
        bench.now += 1.0
        probe.sink.outcome(up("connected"), Course(0.001))
        bench.now += 0.1
        await bench.reconciler.turn()
        async with asyncio.timeout(5):
            while bench.last(A) is None:
                await asyncio.sleep(0.01)
    finally:
        running.cancel()


async def test_path_probe_hurries_as_others_do_and_after_it_was_started_again(bench: Bench) -> None:
    await bench.configure(over_tcp(A))
    (probe,) = bench.decisions.paths.probes.values()
    (running,) = (each for each in bench.prober.running if isinstance(each.way, PathWay))
    probe.pace_s = 0.5
    bench.decisions.verdicts.paced(probe)
    assert bench.prober.paces == {running: 0.5}
    bench.exit = Exit("198.51.100.3")
    await bench.settle()
    (again,) = (each for each in bench.prober.running.values() if isinstance(each.key.way, PathWay))
    assert again.key != running
    assert again.pace_s == 0.5
    plain = next(each for each in bench.decisions.probes.values() if not each.is_path)
    plain.pace_s = 0.7
    bench.decisions.verdicts.paced(plain)
    assert bench.prober.paces[plain.check] == 0.7
    bench.exit = Exit(trouble="no")
    await bench.settle()
    bench.decisions.verdicts.paced(probe)  # it does not run
