"""What probes through the service prove: whose fault a failure is, and when an outcome counts at all."""

import pytest

from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.check_model import TcpCheck
from lvs_healthd.config.check_ways import DataPath, PathWay
from lvs_healthd.config.model import Config
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ServerState
from lvs_healthd.decide.path_words import diagnosis
from lvs_healthd.decide.paths import NOT_RUN, PathProbeState
from lvs_healthd.events.kinds import CheckFailing, CheckUnsure, Event, RealServerDown, RealServerUp
from lvs_healthd.health.machine import Verdict
from lvs_healthd.ipvs.records import ServiceKey, Table
from lvs_healthd.plan.mark_services import mark_service
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason, down, unsure, up
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.state.file import SavedVerdict
from tests.configs import config, server, service, tcp_check
from tests.decide.test_blame import Faults
from tests.decide.test_decisions import Counting, table_of

VIP = "192.0.2.100"
A, B = "198.51.100.11", "198.51.100.12"
PASS = up("connected")
TIMEOUT = down(Reason.TIMEOUT, "no answer in 1s")
REFUSED = down(Reason.REFUSED, "connection refused")
DEAD = down(Reason.REFUSED, "connection refused")


def path_check(address: str, **keys: str) -> TcpCheck:
    path = DataPath(protocol=Protocol.TCP, family=Family.IPV4, server=Endpoint(address, 0), forward="dr")
    return tcp_check(VIP, 80, name="path", way=PathWay(path=path, **keys))  # type: ignore[arg-type]


def both(address: str) -> tuple[TcpCheck, TcpCheck]:
    return tcp_check(address, 80), path_check(address)


PAIR = config(service(server(A, checks=both(A)), server(B, checks=both(B))))
ALONE = config(service(server(A, checks=both(A))))


class KnownTable:
    """The kernel's table as far as it is known, and what was asked to be read again."""

    def __init__(self) -> None:
        self.actual: Table = {}
        self.changed: dict[ServiceKey, float] = {}
        self.asked: list[ServiceKey] = []

    def changed_at(self, key: ServiceKey) -> float:
        return self.changed.get(key, 0.0)

    def read_again(self, keys: tuple[ServiceKey, ...]) -> None:
        self.asked += keys


class Bench:
    """Decisions about servers with a plain check and one through the service; all mark services are in the table."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.table = KnownTable()
        self.own = Faults()
        self.decisions = Decisions(
            emit=self.events.append,
            changed=lambda: None,
            tally=lambda name, kind: Counting([], name, kind),
            clock=lambda: self.now,
            wall=lambda: self.now + 1_000_000.0,
            own=self.own,
            table=self.table,
        )

    def configure(
        self, given: Config, *, serving: bool = True, runs: bool = True, saved: tuple[SavedVerdict, ...] = ()
    ) -> None:
        self.decisions.paths.runs = runs
        by_check = {(each.service, each.server, each.check): each for each in saved}
        self.decisions.configure(given, table_of(given) if serving else {}, by_check)
        for mark, probe in enumerate(self.decisions.paths.probes.values(), 65536):
            probe.entry = mark_service(probe.path, mark)
            self.table.actual[probe.entry.service.key] = probe.entry

    def path(self, address: str) -> PathProbeState:
        probe = self.decisions.probes[probe_key(path_check(address))]
        assert isinstance(probe, PathProbeState)
        return probe

    def found(self, address: str, *, plain: Outcome | None = None, path: Outcome | None = None) -> None:
        """Let a server's probes find something, one after the other. New objects, as from an engine."""
        for outcome, probe in (
            (plain, self.decisions.probes[probe_key(tcp_check(address, 80))]),
            (path, self.path(address)),
        ):
            self.now += 0.2
            if outcome is not None:
                probe.outcome(Outcome(outcome.kind, outcome.reason, outcome.detail), Course(0.001))
                self.read()

    def read(self) -> None:
        """Read the table."""
        self.now += 0.001
        for _ in self.decisions.paths.confirmed(self.now, None):
            pass

    def round(self, found: dict[str, tuple[Outcome, Outcome]], times: int = 1) -> None:
        """Let every server's plain and path probe find what is told, `times` times."""
        for _ in range(times):
            self.now += 1.0
            for address, (plain, path) in found.items():
                self.found(address, plain=plain, path=path)

    def server(self, address: str) -> ServerState:
        (found,) = (each for each in self.decisions.servers if each.key.address == address)
        return found

    def verdict(self, address: str) -> Verdict:
        return self.server(address).health.verdict

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if type(event) is kind]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_way_to_one_server_is_broken(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.round({A: (PASS, TIMEOUT), B: (PASS, PASS)}, times=4)
    assert bench.verdict(A) is Verdict.DOWN
    assert bench.verdict(B) is Verdict.UP
    (told,) = bench.of(RealServerDown)
    assert told.reason == f"answers on its own address, not by dr: {VIP} missing on the server? (no answer in 1s)"  # type: ignore[attr-defined]
    assert told.check == "path"  # type: ignore[attr-defined]


def test_icmp_error_says_more_than_the_silence_after_it(bench: Bench) -> None:
    bench.configure(PAIR)
    refusing = f"does the server's program listen on {VIP}? (connection refused)"
    for outcome in (TIMEOUT, REFUSED, TIMEOUT, TIMEOUT):
        bench.round({A: (PASS, outcome), B: (PASS, PASS)})
    assert bench.server(A).health.detail.endswith(refusing)
    bench.round({A: (PASS, PASS), B: (PASS, PASS)}, times=2)
    bench.round({A: (PASS, TIMEOUT), B: (PASS, PASS)}, times=4)
    assert "missing on the server" in bench.server(A).health.detail


def test_nobody_is_reached_by_the_method(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.round({A: (PASS, PASS), B: (PASS, PASS)}, times=2)
    bench.round({A: (PASS, TIMEOUT), B: (PASS, TIMEOUT)}, times=20)
    assert bench.of(RealServerDown) == []
    assert {bench.verdict(each) for each in (A, B)} == {Verdict.UP}
    last = bench.path(A).last
    assert last is not None
    assert last.kind is OutcomeKind.UNSURE
    assert "or this director is at fault, because no server passes by dr" in last.detail
    assert bench.decisions.unsure_probes()[0] == 2


def test_only_server_of_a_method_is_never_taken_out_but_its_reason_is_told(bench: Bench) -> None:
    bench.configure(ALONE)
    bench.round({A: (PASS, TIMEOUT)}, times=20)
    assert bench.of(RealServerDown) == []
    assert f"{VIP} missing on the server?" in bench.of(CheckUnsure)[-1].reason  # type: ignore[attr-defined]


def test_what_passed_before_the_failure_shows_nothing(bench: Bench) -> None:
    """All is lost at once, and the first probe that notices must not take out its server: `fall` may be 1."""
    bench.configure(PAIR)
    bench.round({A: (PASS, PASS), B: (PASS, PASS)})
    bench.found(A, plain=PASS, path=TIMEOUT)
    last = bench.path(A).last
    assert last is not None
    assert last.kind is OutcomeKind.UNSURE


def test_plain_check_that_passed_before_the_failure_shows_nothing(bench: Bench) -> None:
    """The server may have died since."""
    bench.configure(PAIR)
    bench.round({A: (PASS, PASS), B: (PASS, PASS)})
    for _ in range(10):
        bench.now += 1.0
        bench.found(A, path=TIMEOUT)
        bench.found(B, plain=PASS, path=PASS)
    last = bench.path(A).last
    assert last is not None
    assert (last.kind, last.reason) == (OutcomeKind.UNSURE, Reason.PATH)
    assert "waits to see whether the server answers on its own address" in last.detail
    bench.found(A, plain=PASS, path=TIMEOUT)
    assert bench.server(A).watches[1].health.failures == 1


def test_dead_server_is_down_without_a_word_about_its_way(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.round({A: (DEAD, TIMEOUT), B: (PASS, PASS)}, times=4)
    assert bench.verdict(A) is Verdict.DOWN
    assert not any("own address, not by" in event.reason for event in bench.of(CheckFailing))  # type: ignore[attr-defined]


def test_all_servers_are_dead(bench: Bench) -> None:
    """That nobody passes by the method excuses nobody whose plain check fails too."""
    bench.configure(PAIR)
    bench.round({A: (DEAD, TIMEOUT), B: (DEAD, TIMEOUT)}, times=4)
    assert {bench.verdict(each) for each in (A, B)} == {Verdict.DOWN}


def test_answer_through_the_service_that_is_wrong_counts_as_it_is(bench: Bench) -> None:
    bench.configure(ALONE)
    wrong = down(Reason.BAD_STATUS, "status 404, expected 200-299")
    bench.round({A: (PASS, wrong)}, times=3)
    assert bench.verdict(A) is Verdict.DOWN
    assert bench.of(RealServerDown)[0].reason == wrong.detail  # type: ignore[attr-defined]


def test_own_interface_is_at_fault(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.own.broken = "our interface eth0 has no carrier"
    bench.round({A: (PASS, TIMEOUT), B: (PASS, PASS)}, times=10)
    assert bench.of(RealServerDown) == []
    bench.own.broken, bench.own.full = "", "the director's connection tracking table is full"
    bench.round({A: (PASS, TIMEOUT), B: (PASS, PASS)}, times=10)
    assert bench.of(RealServerDown) == []


def test_probe_without_its_mark_service_proves_nothing(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.table.actual.clear()
    bench.round({A: (PASS, TIMEOUT), B: (PASS, PASS)}, times=20)
    assert bench.of(RealServerDown) == []
    last = bench.path(A).last
    assert last is not None
    assert (last.kind, last.reason) == (OutcomeKind.UNSURE, Reason.MARK)
    assert "fwmark 65536" in last.detail


@pytest.mark.parametrize("weight", [0, 2])
def test_mark_service_that_somebody_changed_proves_nothing(bench: Bench, weight: int) -> None:
    bench.configure(PAIR)
    entry = bench.path(A).entry
    assert entry is not None
    other = mark_service(bench.path(A).path, entry.service.key.fwmark)
    (record,) = other.destinations.values()
    other.destinations = {record.key: type(record)(record.key, record.forward, weight)}
    bench.table.actual[entry.service.key] = other
    bench.round({A: (PASS, TIMEOUT), B: (PASS, PASS)}, times=20)
    assert bench.of(RealServerDown) == []


def test_server_that_is_down_does_not_come_back_by_an_answer_without_its_mark_service(bench: Bench) -> None:
    """The mark service was deleted a moment ago, which the next reading shows."""
    bench.configure(PAIR)
    bench.round({A: (PASS, TIMEOUT), B: (PASS, PASS)}, times=4)
    entry = bench.path(A).entry
    assert entry is not None
    for _ in range(20):
        bench.now += 1.0
        bench.path(A).outcome(Outcome(PASS.kind, PASS.reason, PASS.detail), Course(0.001))
        assert bench.table.asked[-1] == entry.service.key
        del bench.table.actual[entry.service.key]
        bench.read()
        bench.table.actual[entry.service.key] = entry
    assert bench.verdict(A) is Verdict.DOWN
    assert bench.of(RealServerUp) == []


def test_outcome_waits_for_a_reading_that_began_after_the_probe(bench: Bench) -> None:
    bench.configure(PAIR, serving=False)
    began = bench.now
    bench.now += 1.0
    bench.path(A).outcome(PASS, Course(0.001))
    assert list(bench.decisions.paths.confirmed(began, None)) == []
    assert bench.path(A).last is None
    assert list(bench.decisions.paths.confirmed(bench.now, frozenset())) == []
    assert list(bench.decisions.paths.confirmed(bench.now, None)) == [bench.path(A)]
    assert bench.path(A).last is PASS


def test_mark_service_that_came_during_the_probe_proves_nothing(bench: Bench) -> None:
    bench.configure(PAIR, serving=False)
    entry = bench.path(A).entry
    assert entry is not None
    bench.now += 1.0
    bench.table.changed[entry.service.key] = bench.now - 0.5
    bench.path(A).outcome(PASS, Course(0.8))
    bench.read()
    last = bench.path(A).last
    assert last is not None
    assert last.reason is Reason.MARK


def test_passing_probe_of_a_server_that_is_up_reads_nothing_again(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.round({A: (PASS, PASS), B: (PASS, PASS)}, times=2)
    bench.table.asked.clear()
    bench.round({A: (PASS, PASS), B: (PASS, PASS)}, times=10)
    assert bench.table.asked == []


def test_new_server_must_pass_by_both_checks(bench: Bench) -> None:
    bench.configure(PAIR, serving=False)
    bench.round({A: (PASS, TIMEOUT), B: (PASS, PASS)}, times=1)
    for _ in range(3):
        bench.found(A, plain=PASS)
    assert bench.verdict(A) is Verdict.UNKNOWN
    bench.round({A: (PASS, PASS), B: (PASS, PASS)}, times=2)
    assert {bench.verdict(each) for each in (A, B)} == {Verdict.UP}


def test_new_server_is_judged_by_its_plain_check_while_the_director_cannot_probe_the_way(bench: Bench) -> None:
    bench.configure(PAIR, serving=False)
    cannot = unsure(Reason.SETTING, "net.ipv4.conf.eth0.accept_local is 0")
    bench.round({A: (PASS, cannot), B: (DEAD, cannot)}, times=3)
    assert (bench.verdict(A), bench.verdict(B)) == (Verdict.UP, Verdict.DOWN)
    bench.round({A: (PASS, TIMEOUT), B: (PASS, PASS)}, times=5)
    assert (bench.verdict(A), bench.verdict(B)) == (Verdict.DOWN, Verdict.UP)


def test_checks_that_are_not_run_alarm_nobody_and_decide_nothing(bench: Bench) -> None:
    saved = SavedVerdict(
        service="192.0.2.100:80/tcp", server=f"{A}:80", check="path", verdict="down", detail="", since=0.0
    )
    bench.configure(PAIR, serving=False, runs=False, saved=(saved,))
    for _ in range(2):
        bench.found(A, plain=PASS)
        bench.found(B, plain=DEAD)
    bench.found(B, plain=DEAD)
    assert (bench.verdict(A), bench.verdict(B)) == (Verdict.UP, Verdict.DOWN)
    assert bench.path(A).last is NOT_RUN
    assert bench.of(CheckUnsure) == []
    assert bench.decisions.unsure_probes() == (0, "")


def test_reload_that_ceases_to_run_them_restores_servers_that_they_took_out(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.round({A: (PASS, TIMEOUT), B: (PASS, PASS)}, times=4)
    assert bench.verdict(A) is Verdict.DOWN
    bench.configure(PAIR, runs=False)
    assert bench.verdict(A) is Verdict.UP
    bench.configure(PAIR, runs=True)
    assert bench.verdict(A) is Verdict.UP
    bench.round({A: (PASS, TIMEOUT), B: (PASS, PASS)}, times=4)
    assert bench.verdict(A) is Verdict.DOWN


def test_dropped_probe_is_forgotten(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.now += 1.0
    bench.path(A).outcome(PASS, Course(0.001))
    bench.configure(config(service(server(B, checks=both(B)))))
    assert [probe.path.server.address for probe in bench.decisions.paths.probes.values()] == [B]
    bench.read()


def test_interface_of_a_route_is_asked_for_the_next_failure(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.own.broken = None
    bench.found(A, plain=PASS, path=TIMEOUT)
    assert {address for address, _ in bench.own.asked} == {A}


def test_director_that_cannot_probe_the_ways_is_not_blind(bench: Bench) -> None:
    bench.configure(PAIR)
    cannot = unsure(Reason.SETTING, "net.ipv4.conf.eth0.accept_local is 0")
    bench.round({A: (PASS, cannot), B: (unsure(Reason.LOCAL_LIMIT, "no memory"), cannot)})
    assert bench.decisions.unsure_probes()[0] == 3
    assert bench.decisions.blindness == ""
    bench.round({A: (unsure(Reason.LOCAL_LIMIT, "no memory"), cannot)})
    assert bench.decisions.blindness == "2 of 2 cannot tell: no memory"


def test_other_source_vouches_for_nobody(bench: Bench) -> None:
    """A firewall may accept one source and drop the other's answers."""
    other = path_check(B, source="198.51.100.7")
    given = config(service(server(A, checks=both(A)), server(B, checks=(tcp_check(B, 80), other))))
    bench.configure(given)
    for _ in range(10):
        bench.now += 1.0
        bench.found(A, plain=PASS, path=TIMEOUT)
        bench.decisions.probes[probe_key(other)].outcome(PASS, Course(0.001))
        bench.read()
    assert bench.of(RealServerDown) == []


def way(forward: str, tun_type: str = "") -> DataPath:
    return DataPath(
        protocol=Protocol.TCP, family=Family.IPV4, server=Endpoint(A, 0), forward=forward, tun_type=tun_type
    )


@pytest.mark.parametrize(
    ("path", "outcome", "words"),
    [
        (way("dr"), TIMEOUT, f"not by dr: {VIP} missing on the server?"),
        (way("dr"), down(Reason.UNREACHABLE, "host unreachable"), "sends the packets back in a loop?"),
        (way("dr"), REFUSED, f"does the server's program listen on {VIP}?"),
        (way("tun", "ipip"), REFUSED, "not by ipip: tunnel not unwrapped"),
        (
            way("tun", "gre"),
            down(Reason.REFUSED, "protocol not available (ICMP)"),
            "the server's kernel lacks its module?",
        ),
        (way("tun", "gue"), TIMEOUT, f"{VIP} missing on the server, or rp_filter drops"),
        (way("nat"), TIMEOUT, "its way back does not lead through the director"),
    ],
)
def test_words(path: DataPath, outcome: Outcome, words: str) -> None:
    text = diagnosis(path, VIP, outcome)
    assert text.startswith("answers on its own address, not by ")
    assert words in text
    assert text.endswith(f"({outcome.detail})")
