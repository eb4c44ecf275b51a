"""Whose fault it is that a server cannot be reached: its own while others are reached, else the director's."""

import errno
from collections.abc import Callable, Sequence

import pytest

from lvs_healthd.config.check_model import AnyCheck, UdpCheck
from lvs_healthd.config.check_ways import Way
from lvs_healthd.decide import blame
from lvs_healthd.decide.held import ProbeState
from lvs_healthd.events.kinds import CheckUnsure, RealServerDown
from lvs_healthd.health.machine import Verdict
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason, down, unsure, up
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.probing.errnos import at_connect
from tests.configs import config, server, service, tcp_check
from tests.decide.test_decisions import Bench, table_of

PASS = up("connected")
TIMEOUT = down(Reason.TIMEOUT, "no answer in 1s")
A, B, C, D = "198.51.100.11", "198.51.100.12", "198.51.100.13", "198.51.100.14"
A6, B6 = "2001:db8:2::11", "2001:db8:2::12"
NO_ROUTE_ERRNOS = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL)


class Rounds(Bench):
    """A bench on which all targets are probed in turn, one round a second: interval 2 s and timeout 1 s by default."""

    def __init__(self) -> None:
        self.own = Faults()
        super().__init__(own=self.own)

    def serve(self, *addresses: str, checks: Sequence[AnyCheck] = ()) -> None:
        """Configure a service with these servers, and extra checks of the first one; all are up."""
        first, *others = addresses
        extra = (tcp_check(first, 80), *checks)
        given = config(service(server(first, checks=extra), *map(server, others)))
        self.configure(given, table_of(given))

    def round(self, found: dict[str, Outcome], times: int = 1) -> None:
        """Let every target that is named answer as told, `times` times."""
        for _ in range(times):
            self.now += 1.0
            for number, (address, outcome) in enumerate(found.items()):
                self.now += 0.2
                key = probe_key(tcp_check(address, 80))
                # A new object each time, as from an engine.
                self.decisions.probes[key].outcome(
                    Outcome(outcome.kind, outcome.reason, outcome.detail), Course(0.001 * number)
                )

    def last(self, address: str) -> Outcome:
        last = self.decisions.probes[probe_key(tcp_check(address, 80))].last
        assert last is not None
        return last


@pytest.fixture
def bench() -> Rounds:
    return Rounds()


class Faults:
    """Faults of the director's own network, made up by a test."""

    def __init__(self) -> None:
        self.full = ""
        self.broken: str | None = ""
        self.ours = ""
        self.interfaces: list[str] = []
        """The interfaces that checks named, in the order of the questions."""
        self.asked: list[tuple[str, Callable[[], None]]] = []

    def is_ours(self, address: str) -> bool:
        return address == self.ours

    def table(self, address: str, began: float, now: float) -> str:
        del address
        return self.full if began <= now else ""

    def link(self, address: str, began: float, interface: str = "") -> str | None:
        del address, began
        self.interfaces.append(interface)
        return self.broken

    def ask(self, address: str, then: Callable[[], None]) -> None:
        self.asked.append((address, then))


def no_route(address: str, number: int = errno.EHOSTUNREACH) -> Outcome:
    return at_connect(number, address)


@pytest.mark.parametrize("number", NO_ROUTE_ERRNOS)
def test_server_without_route_is_down_while_others_are_reached(bench: Rounds, number: int) -> None:
    bench.serve(A, B)
    bench.round({A: no_route(A, number), B: PASS}, times=4)
    assert bench.verdict(A) is Verdict.DOWN
    (told,) = bench.of(RealServerDown)
    assert told.reason.startswith("no route from here: ")  # type: ignore[attr-defined]
    assert f"ip route get {A}" in told.reason  # type: ignore[attr-defined]
    assert bench.last(A).reason is Reason.NO_ROUTE


def test_refusal_of_another_host_shows_that_it_is_reached(bench: Rounds) -> None:
    bench.serve(A, B)
    bench.round({A: no_route(A), B: down(Reason.REFUSED, "connection refused")}, times=4)
    assert bench.verdict(A) is Verdict.DOWN


def test_director_that_reaches_nobody_blames_nobody(bench: Rounds) -> None:
    bench.serve(A, B, C)
    bench.round({A: PASS, B: PASS, C: PASS}, times=3)
    bench.round({A: no_route(A), B: no_route(B), C: no_route(C)}, times=50)
    assert bench.of(RealServerDown) == []
    assert {bench.last(each).kind for each in (A, B, C)} == {OutcomeKind.UNSURE}
    assert bench.decisions.unsure_probes()[0] == 3
    assert len(bench.of(CheckUnsure)) == 3


@pytest.mark.parametrize(
    "other", [TIMEOUT, down(Reason.UNREACHABLE, "host unreachable"), unsure(Reason.STALLED, "late")]
)
def test_target_that_did_not_answer_shows_nothing(bench: Rounds, other: Outcome) -> None:
    bench.serve(A, B)
    bench.round({A: no_route(A), B: other}, times=20)
    assert bench.verdict(A) is Verdict.UP


def test_what_answered_before_the_route_was_lost_shows_nothing(bench: Rounds) -> None:
    """All is lost at once. The other target has a long interval, so its last answer seems fresh for long."""
    slow = tcp_check(B, 80, interval=60.0)
    given = config(service(server(A), server(B, checks=(slow,))))
    bench.configure(given, table_of(given))
    bench.decisions.probes[probe_key(slow)].outcome(PASS, Course(0.0))
    bench.round({A: no_route(A)}, times=40)
    assert bench.verdict(A) is Verdict.UP


def test_old_answer_shows_nothing(bench: Rounds) -> None:
    bench.serve(A, B)
    bench.round({A: no_route(A), B: PASS}, times=2)
    bench.now += 10.0
    bench.round({A: no_route(A)}, times=10)
    assert bench.verdict(A) is Verdict.UP


def test_single_target_is_never_blamed(bench: Rounds) -> None:
    bench.serve(A)
    bench.round({A: no_route(A)}, times=20)
    assert bench.verdict(A) is Verdict.UP


def test_other_port_of_the_same_host_shows_nothing(bench: Rounds) -> None:
    other = tcp_check(A, 22, name="ssh")
    bench.serve(A, checks=[other])
    for _ in range(20):
        bench.round({A: no_route(A)})
        bench.decisions.probes[probe_key(other)].outcome(PASS, Course(0.0))
    assert bench.verdict(A) is Verdict.UP


def test_loopback_target_shows_nothing(bench: Rounds) -> None:
    bench.serve(A, "127.0.0.1")
    bench.round({A: no_route(A), "127.0.0.1": PASS}, times=20)
    assert bench.verdict(A) is Verdict.UP


@pytest.mark.parametrize(("failing", "reached", "verdict"), [(A6, B, Verdict.UP), (A6, B6, Verdict.DOWN)])
def test_address_families_are_judged_apart(bench: Rounds, failing: str, reached: str, verdict: Verdict) -> None:
    given = config(service(server(failing)), service(server(reached), name="other", port=81))
    bench.configure(given, table_of(given))
    bench.round({failing: no_route(failing), reached: PASS}, times=10)
    assert bench.verdict(failing) is verdict


def test_silence_that_a_udp_check_takes_for_a_pass_shows_nothing(bench: Rounds) -> None:
    silent = UdpCheck(name="udp", address=B, port=53)
    given = config(service(server(A), server(B, checks=(silent,))))
    bench.configure(given, table_of(given))
    for _ in range(10):
        bench.round({A: no_route(A)})
        bench.decisions.probes[probe_key(silent)].outcome(up("no ICMP error in 4s"), Course(0.0))
    assert bench.verdict(A) is Verdict.UP


def test_server_without_route_comes_back_with_its_route(bench: Rounds) -> None:
    bench.serve(A, B)
    bench.round({A: no_route(A), B: PASS}, times=5)
    bench.round({A: PASS, B: PASS}, times=3)
    assert bench.verdict(A) is Verdict.UP


def test_search_for_a_host_that_is_reached_takes_turns_but_finds_it(
    bench: Rounds, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blame, "SEARCHED", 2)
    many = [f"198.51.100.{number}" for number in range(20, 29)]
    bench.serve(A, *many, B)
    bench.round({A: no_route(A), **dict.fromkeys(many, TIMEOUT), B: PASS}, times=20)
    assert bench.verdict(A) is Verdict.DOWN


def test_probe_that_a_reload_has_dropped_shows_nothing(bench: Rounds) -> None:
    bench.serve(A, B)
    bench.round({A: no_route(A), B: PASS}, times=2)
    bench.configure(config(service(server(A))))
    bench.round({A: no_route(A)}, times=5)
    assert bench.verdict(A) is Verdict.UP


def test_probes_that_ran_once_together_are_judged_by_each_other() -> None:
    a, b, a6 = tcp_check(A, 80), tcp_check(B, 80), tcp_check(A6, 80)
    found = blame.blamed_together({a: no_route(A), b: PASS, a6: no_route(A6)})
    assert [found[each].kind for each in (a, b, a6)] == [OutcomeKind.DOWN, OutcomeKind.UP, OutcomeKind.UNSURE]
    assert blame.blamed_together({a: no_route(A)})[a].kind is OutcomeKind.UNSURE


UNREACHABLE = down(Reason.UNREACHABLE, "host unreachable (no ARP answer or ICMP)")
NO_CARRIER, FULL = "our interface eth1 has no carrier", "the director's ARP table is full"


@pytest.mark.parametrize("failure", [TIMEOUT, UNREACHABLE, no_route(A)], ids=["timeout", "unreachable", "no route"])
def test_broken_interface_of_ours_removes_nobody(bench: Rounds, failure: Outcome) -> None:
    bench.serve(A, B)
    bench.own.broken = NO_CARRIER
    bench.round({A: failure, B: PASS}, times=20)
    assert bench.verdict(A) is Verdict.UP
    assert bench.last(A) == unsure(Reason.LOCAL_NETWORK, NO_CARRIER)
    assert ("web", "tcp", OutcomeKind.DOWN) not in bench.observed
    bench.own.broken = ""
    bench.round({A: failure, B: PASS}, times=4)
    assert bench.verdict(A) is Verdict.DOWN


def test_full_table_excuses_who_did_not_answer_and_nobody_else(bench: Rounds) -> None:
    bench.serve(A, B, C)
    bench.own.full = FULL
    refused = down(Reason.REFUSED, "connection refused")
    bench.round({A: TIMEOUT, B: UNREACHABLE, C: refused}, times=5)
    assert [bench.verdict(each) for each in (A, B, C)] == [Verdict.UP, Verdict.DOWN, Verdict.DOWN]
    assert bench.last(A) == unsure(Reason.LOCAL_NETWORK, FULL)


@pytest.mark.parametrize(("found", "kind"), [("", OutcomeKind.DOWN), (NO_CARRIER, OutcomeKind.UNSURE)])
def test_outcome_waits_until_the_route_is_known(bench: Rounds, found: str, kind: OutcomeKind) -> None:
    bench.serve(A, B)
    bench.round({A: PASS})
    bench.own.broken = None
    bench.observed.clear()
    bench.round({A: TIMEOUT})
    ((address, then),) = bench.own.asked
    assert (address, bench.observed) == (A, [])
    bench.own.broken = found
    then()
    assert {each[2] for each in bench.observed} == {kind}
    assert bench.last(A).kind is kind


def test_address_of_the_director_itself_shows_nothing(bench: Rounds) -> None:
    bench.serve(A, B)
    bench.own.ours = B
    bench.round({A: no_route(A), B: PASS}, times=10)
    assert bench.verdict(A) is Verdict.UP


def test_outcome_that_waits_for_its_route_shows_no_host_to_be_reached(bench: Rounds) -> None:
    """The last outcome that is judged is a pass, but the failure that waits is newer."""
    bench.serve(A, B)
    bench.round({A: PASS, B: PASS})
    bench.round({A: no_route(A)})
    bench.own.broken = None
    bench.round({B: TIMEOUT})
    bench.own.broken = ""
    bench.round({A: no_route(A)})
    assert bench.last(A).kind is OutcomeKind.UNSURE


def test_outcome_that_waited_for_its_route_is_dropped_when_a_newer_one_has_come(bench: Rounds) -> None:
    bench.serve(A, B)
    bench.round({A: PASS})
    bench.own.broken = None
    bench.round({A: TIMEOUT})
    ((_, then),) = bench.own.asked
    bench.own.broken = ""
    bench.round({A: PASS})
    bench.observed.clear()
    then()
    assert bench.observed == []
    assert bench.last(A) == PASS


VRF = Way(interface="vrf1")


def test_hosts_that_are_reached_another_way_say_nothing_about_this_one(bench: Rounds) -> None:
    behind = [tcp_check(each, 80, way=VRF) for each in (C, D)]
    bench.serve(A, B, checks=behind)
    first, second = (bench.decisions.probes[probe_key(each)] for each in behind)
    for _ in range(6):
        bench.round({A: PASS, B: PASS})
        first.outcome(no_route(C), Course(0.0))
        bench.now += 0.5
    assert last_kind(first) is OutcomeKind.UNSURE
    for _ in range(6):
        bench.round({A: PASS, B: PASS})
        second.outcome(Outcome(PASS.kind, PASS.reason, PASS.detail), Course(0.0))
        bench.now += 0.5
        first.outcome(no_route(C), Course(0.0))
    assert last_kind(first) is OutcomeKind.DOWN


def last_kind(probe: ProbeState) -> OutcomeKind | None:
    return None if probe.last is None else probe.last.kind


def test_hosts_that_are_probed_once_vouch_only_for_those_that_are_reached_in_the_same_way() -> None:
    failing, plain, behind = tcp_check(A, 80, way=VRF), tcp_check(B, 80), tcp_check(C, 80, way=VRF)
    assert blame.blamed_together({failing: no_route(A), plain: PASS})[failing].kind is OutcomeKind.UNSURE
    # The same host may be reached in both ways.
    again = tcp_check(C, 80)
    found = blame.blamed_together({failing: no_route(A), behind: PASS, again: PASS})
    assert found[failing].kind is OutcomeKind.DOWN


def test_interface_that_a_check_names_is_the_one_that_may_be_broken(bench: Rounds) -> None:
    check = tcp_check(C, 80, way=VRF)
    bench.serve(A, B, checks=(check,))
    probe = bench.decisions.probes[probe_key(check)]
    probe.outcome(TIMEOUT, Course(0.0))
    assert bench.own.interfaces == ["vrf1"]
    bench.round({A: TIMEOUT, B: PASS})
    assert bench.own.interfaces == ["vrf1", ""]
