"""The state between outcomes: adoption, shared probes, reload, events, and the wanted table that follows."""

import asyncio
from typing import Any

import msgspec
import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, HttpCheck
from lvs_healthd.config.model import Config, RealServer
from lvs_healthd.decide.blame import OwnFaults
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ProbeState, Watch
from lvs_healthd.decide.verdicts import MOST_UNFINISHED
from lvs_healthd.events.kinds import (
    CheckFailing,
    CheckUnsure,
    Event,
    RealServerDown,
    RealServerUp,
    ServiceFallback,
    ServiceServing,
)
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, Table
from lvs_healthd.ipvs.words import AF_INET
from lvs_healthd.plan.planner import Planner
from lvs_healthd.plan.records import prepare
from lvs_healthd.probes.outcome import Course, Outcome, Reason, down, unsure, up
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.state.file import SavedVerdict
from tests.configs import config, server, service, tcp_check
from tests.ipvs.tables import WEB
from tests.pacing import READINGS_PER_SLICE

PASS = up("connected")
FAIL = down(Reason.REFUSED, "connection refused")
UNSURE = unsure(Reason.LOCAL_LIMIT, "our file descriptors are used up")

A, B = "198.51.100.11", "198.51.100.12"


class Counting:
    def __init__(self, observed: list[tuple[str, str, str]], *labels: str) -> None:
        self._observed = observed
        self._labels = labels

    def add(self, outcome: Outcome, latency_s: float, times: int = 1) -> None:
        name, kind = self._labels
        self._observed.extend([(name, kind, outcome.kind)] * times)


class Bench:
    def __init__(self, own: OwnFaults | None = None) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.changes = 0
        self.observed: list[tuple[str, str, str]] = []
        self.decisions = Decisions(
            emit=self.events.append,
            changed=self._changed,
            tally=lambda name, kind: Counting(self.observed, name, kind),
            clock=lambda: self.now,
            wall=lambda: self.now + 1_000_000.0,
            own=own,
        )

    def _changed(self) -> None:
        self.changes += 1

    def configure(self, given: Config, actual: Table | None = None, saved: list[SavedVerdict] | None = None) -> None:
        by_check = {(each.service, each.server, each.check): each for each in saved or []}
        self.decisions.configure(given, actual or {}, by_check)

    def feed(self, check: AnyCheck, *outcomes: Outcome) -> None:
        for outcome in outcomes:
            self.now += 1.0
            self.decisions.probes[probe_key(check)].outcome(outcome, Course(0.0))

    def weights(self, index: int = 0) -> dict[str, int]:
        key = self.decisions.services[index].key
        return {
            destination.address: record.weight
            for destination, record in self.decisions.wanted({}).table[key].destinations.items()
        }

    def verdict(self, address: str) -> Verdict:
        return next(state.health.verdict for state in self.decisions.servers if state.key.address == address)

    def of(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


PAIR = config(service(server(A, weight=3), server(B)))
CHECK_A, CHECK_B = tcp_check(A, 80), tcp_check(B, 80)


def table_of(given: Config) -> Table:
    """The kernel's table with every server of this configuration in it."""
    full = Bench()
    full.configure(given)
    for probe in list(full.decisions.probes.values()):
        full.feed(probe.check, PASS, PASS)
    return full.decisions.wanted({}).table


def test_server_present_at_start_keeps_serving_until_fall(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    assert bench.weights() == {A: 3, B: 1}
    bench.feed(CHECK_A, FAIL, FAIL)
    assert bench.weights() == {A: 3, B: 1}
    bench.feed(CHECK_A, FAIL)
    assert bench.weights() == {B: 1}


def test_server_absent_at_start_must_earn_rise_passes(bench: Bench) -> None:
    bench.configure(PAIR)
    assert bench.weights() == {}
    bench.feed(CHECK_A, PASS)
    assert bench.weights() == {}
    bench.feed(CHECK_A, PASS)
    assert bench.weights() == {A: 3}


def test_quiesced_server_found_at_start_must_earn_rise_passes(bench: Bench) -> None:
    table = table_of(PAIR)
    entry = next(iter(table.values()))
    key = DestinationKey(AF_INET, A, 80)
    entry.destinations[key] = msgspec.structs.replace(entry.destinations[key], weight=0)
    bench.configure(PAIR, table)
    assert bench.verdict(A) is Verdict.UNKNOWN
    assert bench.verdict(B) is Verdict.UP


def test_server_configured_with_weight_zero_is_adopted_as_it_is(bench: Bench) -> None:
    drained = config(service(server(A, weight=0), server(B)))
    bench.configure(drained, table_of(drained))
    assert bench.verdict(A) is Verdict.UP


def test_saved_state_tells_why_an_absent_server_is_out(bench: Bench) -> None:
    memory = SavedVerdict(
        service="192.0.2.100:80/tcp",
        server=f"{A}:80",
        check="tcp",
        verdict="down",
        detail="connection refused",
        since=1_000_900.0,
    )
    bench.configure(PAIR, {}, [memory])
    state = next(state for state in bench.decisions.servers if state.key.address == A)
    assert (state.health.verdict, state.health.detail, state.health.since) == (
        Verdict.DOWN,
        "connection refused",
        900.0,
    )


def test_kernel_overrules_the_saved_state(bench: Bench) -> None:
    memory = SavedVerdict(
        service="192.0.2.100:80/tcp", server=f"{A}:80", check="tcp", verdict="down", detail="old", since=0.0
    )
    bench.configure(PAIR, table_of(PAIR), [memory])
    assert bench.verdict(A) is Verdict.UP
    saved_up = msgspec.structs.replace(memory, verdict="up")
    fresh = Bench()
    fresh.configure(PAIR, {}, [saved_up])
    assert fresh.verdict(A) is Verdict.UNKNOWN


def test_saved_verdicts_come_back_the_same(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, FAIL, FAIL, FAIL)
    saved = list(bench.decisions.saved_verdicts())
    after = Bench()
    after.now = bench.now + 50.0
    after.configure(PAIR, bench.decisions.wanted({}).table, saved)
    assert [each.verdict for each in after.decisions.saved_verdicts()] == ["down", "up"]
    assert next(after.decisions.saved_verdicts()).since == pytest.approx(saved[0].since)


def test_all_checks_of_a_server_must_pass(bench: Bench) -> None:
    web, admin = tcp_check(A, 80, name="web"), tcp_check(A, 8080, name="admin", fall=1)
    both = config(service(server(A, checks=(web, admin))))
    bench.configure(both, table_of(both))
    bench.feed(admin, FAIL)
    assert bench.weights() == {}
    bench.feed(web, PASS)
    bench.feed(admin, PASS)
    assert bench.weights() == {}
    bench.feed(admin, PASS)
    assert bench.weights() == {A: 1}


def test_identical_probes_of_two_services_are_one_and_reach_both(bench: Bench) -> None:
    slow_to_fall = tcp_check(A, 80, fall=5)
    shared = config(
        service(server(A), name="one"),
        service(server(A, checks=(slow_to_fall,)), name="two", address="192.0.2.101"),
    )
    bench.configure(shared, table_of(shared))
    assert len(bench.decisions.probes) == 1
    bench.feed(CHECK_A, FAIL, FAIL, FAIL)
    assert (bench.weights(0), bench.weights(1)) == ({}, {A: 1})
    bench.feed(CHECK_A, FAIL, FAIL)
    assert bench.weights(1) == {}
    assert bench.observed[:2] == [("one", "tcp", "down"), ("two", "tcp", "down")]


def test_certificate_stays_known_until_another_is_presented(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    first, second = (msgspec.structs.replace(PASS, certificate_end=end) for end in (5.0, 6.0))
    found = []
    for outcome in (PASS, first, first, FAIL, PASS, second):
        bench.feed(CHECK_A, outcome)
        found.append(bench.decisions.probes[probe_key(CHECK_A)].certificate_end)
    assert found == [None, 5.0, 5.0, 5.0, 5.0, 6.0]


def test_different_intervals_are_different_probes(bench: Bench) -> None:
    bench.configure(
        config(
            service(server(A), name="one"),
            service(server(A, checks=(tcp_check(A, 80, interval=Seconds(9.0)),)), name="two", address="192.0.2.101"),
        )
    )
    assert len(bench.decisions.probes) == 2


def test_down_and_up_events_say_who_why_and_how_often(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, FAIL, FAIL, FAIL, PASS, PASS)
    assert bench.of(RealServerDown) == [
        RealServerDown(
            service="web",
            server=f"{A}:80",
            check="tcp",
            reason="connection refused",
            failures=3,
            fall=3,
            was="up",
            after_s=3.0,
        )
    ]
    assert bench.of(RealServerUp) == [
        RealServerUp(
            service="web", server=f"{A}:80", check="tcp", reason="connected", passes=2, rise=2, was="down", after_s=2.0
        )
    ]


def test_first_failure_and_each_new_reason_are_told_once(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, FAIL, FAIL, FAIL, FAIL, FAIL)
    assert [event.reason for event in bench.of(CheckFailing)] == ["connection refused"]  # type: ignore[attr-defined]
    late = down(Reason.TIMEOUT, "no answer in 1s")
    bench.feed(CHECK_A, late, late)
    assert [event.reason for event in bench.of(CheckFailing)][1:] == ["no answer in 1s"]  # type: ignore[attr-defined]


def test_server_known_to_be_down_before_a_restart_is_not_announced_again(bench: Bench) -> None:
    memory = SavedVerdict(
        service="192.0.2.100:80/tcp", server=f"{A}:80", check="tcp", verdict="down", detail="old", since=0.0
    )
    bench.configure(PAIR, {}, [memory])
    bench.feed(CHECK_A, FAIL, FAIL, FAIL, FAIL)
    assert bench.of(CheckFailing) == []
    bench.feed(CHECK_A, down(Reason.TIMEOUT, "no answer in 1s"))
    (told,) = bench.of(CheckFailing)
    assert (told.verdict, told.reason) == ("down", "no answer in 1s")  # type: ignore[attr-defined]


def test_blindness_is_counted(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, UNSURE)
    assert bench.decisions.unsure_probes() == (1, "our file descriptors are used up")
    bench.feed(CHECK_A, PASS)
    assert bench.decisions.unsure_probes() == (0, "")


def test_good_probes_are_silent(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.decisions.wanted({})
    bench.feed(CHECK_A, *[PASS] * 100)
    assert bench.events == []
    assert bench.changes == 0


def test_unsure_is_told_once_and_removes_nothing(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, *[UNSURE] * 100)
    assert bench.weights() == {A: 3, B: 1}
    assert len(bench.of(CheckUnsure)) == 1
    assert bench.changes == 0


def test_service_tells_when_it_loses_its_last_server_and_gets_one_back(bench: Bench) -> None:
    given = config(service(server(A), server(B), fallback=("198.51.100.99",)))
    bench.configure(given, table_of(given))
    bench.feed(CHECK_A, FAIL, FAIL, FAIL)
    bench.decisions.wanted({})
    assert bench.of(ServiceFallback) == []
    bench.feed(CHECK_B, FAIL, FAIL, FAIL)
    assert bench.weights() == {"198.51.100.99": 1}
    assert bench.of(ServiceFallback) == [ServiceFallback(service="web", fallback=("198.51.100.99:80",))]
    bench.feed(CHECK_B, PASS, PASS)
    bench.decisions.wanted({})
    bench.decisions.wanted({})
    assert bench.of(ServiceServing) == [ServiceServing(service="web", servers=1)]


def test_cold_start_is_no_fallback_alarm_until_all_are_proven_down(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.decisions.wanted({})
    bench.feed(CHECK_A, FAIL, FAIL, FAIL)
    bench.decisions.wanted({})
    assert bench.of(ServiceFallback) == []
    bench.feed(CHECK_B, FAIL, FAIL, FAIL)
    bench.decisions.wanted({})
    bench.decisions.wanted({})
    assert len(bench.of(ServiceFallback)) == 1


def test_reload_with_the_same_configuration_changes_nothing(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, FAIL, FAIL)
    before = bench.decisions.wanted({})
    bench.configure(PAIR)
    assert bench.decisions.wanted({}) == before
    bench.feed(CHECK_A, FAIL)
    assert bench.weights() == {B: 1}


def test_edited_check_keeps_the_old_verdict_until_it_has_its_own(bench: Bench) -> None:
    """keepalived puts a dead server back into service when its timeout is edited."""
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, FAIL, FAIL, FAIL)
    edited = tcp_check(A, 80, timeout=Seconds(0.5))
    bench.configure(config(service(server(A, checks=(edited,)), server(B))))
    assert bench.weights() == {B: 1}
    bench.feed(edited, PASS)
    assert bench.weights() == {B: 1}
    bench.feed(edited, PASS)
    assert bench.weights() == {A: 1, B: 1}


def test_edited_check_goes_on_counting_so_that_edits_hide_no_failure(bench: Bench) -> None:
    """keepalived counts from zero after each reload, so with one every second it never finds out who is dead."""
    bench.configure(PAIR, table_of(PAIR))
    for number in range(3):
        assert bench.weights() == {A: 1 if number else 3, B: 1}
        check = tcp_check(A, 80, timeout=Seconds(0.5 + number / 10))
        bench.configure(config(service(server(A, checks=(check,)), server(B))))
        bench.feed(check, FAIL)
    assert bench.weights() == {B: 1}
    for number in range(2):
        assert bench.weights() == {B: 1}
        check = tcp_check(A, 80, timeout=Seconds(1.5 + number / 10))
        bench.configure(config(service(server(A, checks=(check,)), server(B))))
        bench.feed(check, PASS)
    assert bench.weights() == {A: 1, B: 1}


def test_edit_alone_changes_no_verdict(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, FAIL, FAIL)
    bench.configure(config(service(server(A, checks=(tcp_check(A, 80, fall=1),)), server(B))))
    assert bench.weights() == {A: 1, B: 1}
    assert bench.verdict(A) is Verdict.UP


@pytest.mark.parametrize("edited", [tcp_check(A, 81), HttpCheck(name="tcp", address=A, port=80)])
def test_check_of_another_target_or_type_counts_from_zero(bench: Bench, edited: AnyCheck) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, FAIL, FAIL)
    bench.configure(config(service(server(A, checks=(edited,)), server(B))))
    bench.feed(edited, FAIL, FAIL)
    assert bench.weights() == {A: 1, B: 1}
    bench.feed(edited, FAIL)
    assert bench.weights() == {B: 1}


def test_added_check_does_not_interrupt_a_serving_server(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    extra = tcp_check(A, 8080, name="admin")
    bench.configure(config(service(server(A, checks=(CHECK_A, extra)), server(B))))
    assert bench.weights() == {A: 1, B: 1}
    bench.feed(extra, FAIL, FAIL, FAIL)
    assert bench.weights() == {B: 1}


def test_verdict_that_changes_because_a_check_was_removed_is_told(bench: Bench) -> None:
    admin = tcp_check(A, 8080, name="admin")
    both = config(service(server(A, checks=(CHECK_A, admin)), server(B)))
    bench.configure(both, table_of(both))
    bench.feed(admin, FAIL, FAIL, FAIL)
    bench.configure(config(service(server(A), server(B))))
    told = bench.of(RealServerUp)[0]
    assert (told.server, told.was, told.reason) == (  # type: ignore[attr-defined]
        f"{A}:80",
        "down",
        "the check that decided was removed from the configuration",
    )


def test_reload_does_not_repeat_the_fallback_alarm(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, FAIL, FAIL, FAIL)
    bench.feed(CHECK_B, FAIL, FAIL, FAIL)
    bench.decisions.wanted({})
    bench.configure(PAIR)
    bench.decisions.wanted({})
    assert len(bench.of(ServiceFallback)) == 1


C, D, SPARE = "198.51.100.13", "198.51.100.14", "198.51.100.99"


def test_old_servers_that_serve_on_after_all_are_replaced_are_no_outage(bench: Bench) -> None:
    before = config(service(server(A), server(B), fallback=(SPARE,)))
    actual = table_of(before)
    bench.configure(before, actual)
    bench.decisions.wanted(actual)
    bench.configure(config(service(server(C), server(D), fallback=(SPARE,))), actual)
    assert {key.address for key in bench.decisions.wanted(actual).table[WEB].destinations} == {A, B}
    bench.feed(tcp_check(C, 80), FAIL, FAIL, FAIL)
    bench.decisions.wanted(actual)
    assert bench.decisions.services[0].serving
    assert bench.of(ServiceFallback) == []
    bench.feed(tcp_check(D, 80), FAIL, FAIL, FAIL)
    assert {key.address for key in bench.decisions.wanted(actual).table[WEB].destinations} == {SPARE}
    assert bench.of(ServiceFallback) == [ServiceFallback(service="web", fallback=(f"{SPARE}:80",))]


def test_new_servers_that_prove_themselves_before_the_old_ones_go_are_no_news_of_the_service(bench: Bench) -> None:
    before = config(service(server(A), server(B)))
    actual = table_of(before)
    bench.configure(before, actual)
    bench.configure(config(service(server(C), server(D))), actual)
    bench.decisions.wanted(actual)
    bench.feed(tcp_check(C, 80), PASS, PASS)
    assert {key.address for key in bench.decisions.wanted(actual).table[WEB].destinations} == {C}
    assert bench.of(ServiceFallback) == bench.of(ServiceServing) == []


def test_old_servers_that_somebody_takes_out_before_the_new_ones_are_proven_are_an_outage(bench: Bench) -> None:
    before = config(service(server(A), server(B)))
    actual = table_of(before)
    bench.configure(before, actual)
    bench.configure(config(service(server(C), server(D))), actual)
    bench.decisions.wanted(actual)
    gone = list(actual[WEB].destinations)
    actual[WEB].destinations.clear()
    bench.decisions.wanted(actual, [(WEB, key) for key in gone])
    assert bench.of(ServiceFallback) == [ServiceFallback(service="web", fallback=())]
    bench.feed(tcp_check(C, 80), PASS, PASS)
    bench.decisions.wanted(actual, [])
    assert bench.of(ServiceServing) == [ServiceServing(service="web", servers=1)]


def test_a_fallback_that_goes_on_serving_after_a_reload_has_dropped_it_is_still_an_outage(bench: Bench) -> None:
    before = config(service(server(A), fallback=(SPARE,)))
    bench.configure(before)
    bench.feed(CHECK_A, FAIL, FAIL, FAIL)
    actual = bench.decisions.wanted({}).table
    bench.configure(config(service(server(C))), actual)
    assert {key.address for key in bench.decisions.wanted(actual).table[WEB].destinations} == {SPARE}
    assert bench.decisions.services[0].serving is False
    assert len(bench.of(ServiceFallback)) == 1
    assert bench.of(ServiceServing) == []


def test_drained_server_does_not_hide_that_the_fallback_serves(bench: Bench) -> None:
    given = config(service(server(A), server(B, weight=0), fallback=("198.51.100.99",)))
    bench.configure(given)
    bench.feed(CHECK_B, PASS, PASS)
    bench.feed(CHECK_A, FAIL, FAIL, FAIL)
    bench.decisions.wanted({})
    assert len(bench.of(ServiceFallback)) == 1


def test_order_in_the_file_does_not_matter_to_a_reload(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, FAIL, FAIL, FAIL)
    bench.configure(config(service(server(B), server(A, weight=3), name="renamed")))
    assert bench.weights() == {B: 1}


def test_server_added_by_reload_must_earn_its_place_unless_the_kernel_has_it(bench: Bench) -> None:
    bench.configure(config(service(server(A))), table_of(PAIR))
    bench.configure(PAIR)
    assert bench.verdict(B) is Verdict.UNKNOWN
    other = Bench()
    other.configure(config(service(server(A))), table_of(PAIR))
    other.configure(PAIR, table_of(PAIR))
    assert other.verdict(B) is Verdict.UP


def test_outcome_of_a_probe_that_a_reload_dropped_is_ignored(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    under_way = bench.decisions.probes[probe_key(CHECK_A)]
    bench.configure(config(service(server(B))))
    for _ in range(3):
        under_way.outcome(FAIL, Course(0.0))
    assert bench.weights() == {B: 1}
    assert bench.observed == []
    assert bench.events == []
    under_way.outcome(UNSURE, Course(0.0))
    assert bench.decisions.unsure_probes() == (0, "")


# A probe that runs already

TWO_PASSES, NINE_PASSES = tcp_check(A, 80), tcp_check(A, 80, rise=9)


def with_second(*servers: RealServer) -> Config:
    """PAIR, and a second service with these servers."""
    return config(*PAIR.services, service(*servers, name="second", address="192.0.2.101"))


def second_health(bench: Bench) -> Health:
    return bench.decisions.services[1].servers[0].health


def test_new_service_on_a_target_that_is_probed_already_serves_at_once(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.feed(CHECK_A, PASS, PASS)
    bench.configure(with_second(server(A)))
    assert bench.weights(1) == {A: 1}
    assert (second_health(bench).verdict, second_health(bench).detail) == (Verdict.UP, "connected")
    assert bench.of(ServiceFallback) == []


def test_new_check_goes_on_where_the_probe_s_streak_is(bench: Bench) -> None:
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, FAIL, *[PASS] * 7)
    bench.configure(with_second(server(A, checks=(NINE_PASSES,))))
    assert bench.weights(1) == {}
    bench.feed(CHECK_A, PASS)
    assert bench.weights(1) == {}
    bench.feed(CHECK_A, PASS)
    assert bench.weights(1) == {A: 1}


def test_new_check_of_a_probe_that_fails_is_down_when_its_own_fall_is_met(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.feed(CHECK_A, FAIL, FAIL)
    bench.configure(with_second(server(A)))
    assert second_health(bench).verdict is Verdict.UNKNOWN
    bench.feed(CHECK_A, FAIL)
    assert second_health(bench).verdict is Verdict.DOWN
    bench.configure(PAIR)
    bench.configure(with_second(server(A)))
    assert (second_health(bench).verdict, second_health(bench).detail) == (Verdict.DOWN, "connection refused")
    assert len(bench.of(RealServerDown)) == 2


def test_check_that_is_added_to_a_known_server_begins_with_its_probe_s_health_too(bench: Bench) -> None:
    other = tcp_check(A, 81, name="other")
    lone = service(server(A, 81, checks=(other,)), name="second", address="192.0.2.101")
    bench.configure(config(service(server(A)), lone))
    bench.feed(other, PASS, PASS)
    bench.configure(config(service(server(A, checks=(CHECK_A, other))), lone))
    bench.feed(CHECK_A, PASS, PASS)
    assert bench.weights() == {A: 1}


@pytest.mark.parametrize("outcomes", [[UNSURE], [UNSURE, PASS], [FAIL, PASS]])
def test_what_is_unsure_or_has_just_begun_makes_no_new_check_up(bench: Bench, outcomes: list[Outcome]) -> None:
    bench.configure(PAIR)
    bench.feed(CHECK_A, *[PASS] * 9, *outcomes)
    bench.configure(with_second(server(A)))
    assert second_health(bench).verdict is Verdict.UNKNOWN
    assert bench.weights(1) == {}


def test_what_is_stale_makes_no_new_check_up(bench: Bench) -> None:
    bench.configure(PAIR)
    bench.feed(CHECK_A, PASS, PASS)
    bench.now += CHECK_A.interval + CHECK_A.timeout + 0.001
    bench.configure(with_second(server(A)))
    assert second_health(bench).verdict is Verdict.UNKNOWN


def test_server_found_in_the_kernel_s_table_serves_until_its_own_fall_whatever_the_probe_says(bench: Bench) -> None:
    both = with_second(server(A))
    actual = table_of(both)
    bench.configure(PAIR, actual)
    bench.feed(CHECK_A, FAIL, FAIL, FAIL)
    bench.configure(both, actual)
    assert bench.weights(1) == {A: 1}


# A probe that thousands share

MANY = 2000
SHARED = tcp_check("198.51.100.99", 7)


def sharing(weight: int = 1) -> Config:
    hosts = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(MANY)]
    return config(service(*(server(host, weight=weight, checks=(SHARED,)) for host in hosts)))


def test_a_shared_probe_is_counted_and_given_its_checks_in_one_go(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    use = ProbeState.use

    def counted(probe: ProbeState, watches: tuple[Watch, ...], *rest: Any) -> None:
        used.append(len(watches))
        use(probe, watches, *rest)

    monkeypatch.setattr(ProbeState, "use", counted)
    tally = Counting(bench.observed, "web", "tcp")
    bench.decisions._arrivals._tally = lambda _name, _kind: tally
    bench.configure(sharing())
    bench.configure(sharing(weight=2))
    bench.configure(PAIR)
    assert used == [MANY, MANY, 1, 1, 0]
    bench.configure(sharing())
    (probe,) = bench.decisions.probes.values()
    assert (probe.tallies, probe.times) == ((tally,), (MANY,))


@pytest.mark.usefixtures("counted_pace")
async def test_the_loop_turns_while_an_outcome_reaches_thousands_of_servers(bench: Bench) -> None:
    given = sharing()
    bench.configure(given, table_of_shared(given))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(bench.decisions.run()), asyncio.create_task(count())]
    bench.feed(SHARED, FAIL, FAIL, FAIL)
    assert bench.of(CheckFailing) == bench.of(RealServerDown) == []
    while bench.decisions.verdicts._unfinished:
        await asyncio.sleep(0)
    assert turns >= 3 * (MANY / READINGS_PER_SLICE - 1)
    assert len(bench.of(CheckFailing)) == len(bench.of(RealServerDown)) == MANY
    assert bench.weights() == {}
    bench.feed(SHARED, FAIL)
    while bench.decisions.verdicts._unfinished:
        await asyncio.sleep(0)
    (probe,) = bench.decisions.probes.values()
    assert probe._settled is FAIL  # from now on it costs nothing
    for task in tasks:
        task.cancel()


async def test_a_reload_while_an_outcome_is_applied_leaves_out_what_it_drops_and_counts_for_what_it_adds(
    bench: Bench,
) -> None:
    given = sharing()
    bench.configure(given, table_of_shared(given))
    bench.feed(SHARED, FAIL, FAIL, FAIL)
    bench.configure(sharing(weight=2), bench.decisions.wanted({}).table)
    assert bench.verdict("10.0.0.1") is Verdict.UP
    running = asyncio.create_task(bench.decisions.run())
    while bench.decisions.verdicts._unfinished:
        await asyncio.sleep(0)
    assert bench.of(RealServerDown) == []
    bench.feed(SHARED, FAIL, FAIL, FAIL)
    while bench.decisions.verdicts._unfinished:
        await asyncio.sleep(0)
    assert len(bench.of(RealServerDown)) == MANY
    running.cancel()


async def test_outcomes_that_come_faster_than_they_can_be_applied_are_left_out(bench: Bench) -> None:
    given = sharing()
    bench.configure(given, table_of_shared(given))
    bench.feed(SHARED, *[FAIL, PASS] * 100)
    assert len(bench.decisions.verdicts._backlog) == MOST_UNFINISHED


def table_of_shared(given: Config) -> Table:
    planner = Planner()
    services = prepare(given)
    healths = {(one.key, each.key): Health(Verdict.UP, 0.0) for one in services for each in one.servers}
    planner.configure(services, healths)
    planner.plan({})
    return planner.wanted.table
