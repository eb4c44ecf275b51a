"""The rise/fall machine, stepped by hand, and compared with a plain restatement of its rules on random outcomes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.health.machine import Health, Verdict, combined, step
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, unsure, up

PASS = up("status 200")
FAIL = down(Reason.REFUSED, "connection refused")
UNSURE = unsure(Reason.LOCAL_LIMIT, "our file descriptors are used up")


def after(
    health: Health, *outcomes: Outcome, rise: int = 2, fall: int = 3, begin: float = 100.0, latency_s: float = 0.0
) -> Health:
    for turn, outcome in enumerate(outcomes):
        health = step(health, outcome, rise=rise, fall=fall, now=begin + turn, latency_s=latency_s)
    return health


SERVING = Health(Verdict.UP, 0.0)
OUT = Health(Verdict.DOWN, 0.0)
NEW = Health(Verdict.UNKNOWN, 0.0)


def test_server_that_is_up_falls_at_the_last_of_fall_failures() -> None:
    assert after(SERVING, FAIL, FAIL).verdict is Verdict.UP
    fallen = after(SERVING, FAIL, FAIL, FAIL)
    assert (fallen.verdict, fallen.since, fallen.failures) == (Verdict.DOWN, 102.0, 3)


def test_one_pass_forgets_the_failures_before_it() -> None:
    """Only consecutive failures count: loxilb let sporadic misses add up."""
    assert after(SERVING, FAIL, FAIL, PASS, FAIL, FAIL).verdict is Verdict.UP
    assert after(SERVING, FAIL, FAIL, PASS).failures == 0


def test_server_that_is_down_rises_at_the_last_of_rise_passes() -> None:
    assert after(OUT, PASS).verdict is Verdict.DOWN
    risen = after(OUT, PASS, PASS)
    assert (risen.verdict, risen.since) == (Verdict.UP, 101.0)


def test_one_failure_forgets_the_passes_before_it() -> None:
    assert after(OUT, PASS, FAIL, PASS).verdict is Verdict.DOWN
    assert after(NEW, PASS, FAIL, PASS).verdict is Verdict.UNKNOWN


def test_unknown_server_must_earn_rise_passes() -> None:
    assert after(NEW, PASS).verdict is Verdict.UNKNOWN
    assert after(NEW, PASS, PASS).verdict is Verdict.UP


def test_unknown_server_is_down_only_after_fall_failures() -> None:
    assert after(NEW, FAIL, FAIL).verdict is Verdict.UNKNOWN
    assert after(NEW, FAIL, FAIL, FAIL).verdict is Verdict.DOWN


def test_unsure_neither_counts_nor_breaks_a_streak() -> None:
    assert after(SERVING, *[UNSURE] * 50) is SERVING
    assert after(SERVING, FAIL, UNSURE, FAIL, UNSURE, FAIL).verdict is Verdict.DOWN
    assert after(OUT, PASS, UNSURE, PASS).verdict is Verdict.UP
    assert after(NEW, *[UNSURE] * 50) is NEW


def test_rise_and_fall_of_one_act_at_once() -> None:
    assert after(SERVING, FAIL, fall=1).verdict is Verdict.DOWN
    assert after(OUT, PASS, rise=1).verdict is Verdict.UP


def test_detection_begins_with_the_first_packet_of_the_first_failed_probe() -> None:
    slow = down(Reason.TIMEOUT, "no answer in 1s")
    assert after(SERVING, FAIL, PASS, slow, slow, slow, latency_s=1.0).first_failure == 102.0 - 1.0
    assert after(SERVING, slow, slow, slow, PASS, latency_s=1.0).first_failure == 99.0
    assert after(SERVING, slow, slow, slow, PASS, PASS, latency_s=1.0).first_failure is None


def test_steady_state_makes_no_new_value() -> None:
    healthy = after(SERVING, PASS)
    assert after(healthy, PASS) is healthy
    dead = after(SERVING, FAIL, FAIL, FAIL)
    assert after(dead, FAIL, FAIL) is dead


def test_reason_of_a_dead_server_follows_what_is_found_now() -> None:
    dead = after(SERVING, FAIL, FAIL, FAIL, down(Reason.TIMEOUT, "no answer in 1s"))
    assert (dead.verdict, dead.detail, dead.since) == (Verdict.DOWN, "no answer in 1s", 102.0)


@pytest.mark.parametrize(
    ("verdicts", "worst"),
    [
        ((Verdict.UP, Verdict.UP), Verdict.UP),
        ((Verdict.UP, Verdict.UNKNOWN), Verdict.UNKNOWN),
        ((Verdict.DOWN, Verdict.UNKNOWN), Verdict.DOWN),
        ((Verdict.UP, Verdict.DOWN), Verdict.DOWN),
    ],
)
def test_server_is_as_good_as_its_worst_check(verdicts: tuple[Verdict, ...], worst: Verdict) -> None:
    healths = [Health(verdict, float(at)) for at, verdict in enumerate(verdicts)]
    assert combined(healths).verdict is worst
    assert combined(reversed(healths)).verdict is worst


def test_latest_of_equal_checks_gives_the_time() -> None:
    assert combined([Health(Verdict.UP, 5.0), Health(Verdict.UP, 9.0)]).since == 9.0


@given(
    st.sampled_from(Verdict),
    st.lists(st.sampled_from([PASS, FAIL, UNSURE]), max_size=60),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_machine_follows_the_rules_restated(start: Verdict, outcomes: list[Outcome], rise: int, fall: int) -> None:
    health, verdict = Health(start, 0.0), start
    counted: list[OutcomeKind] = []
    for turn, outcome in enumerate(outcomes):
        before = health
        health = step(health, outcome, rise=rise, fall=fall, now=float(turn))
        if health is before:
            assert step(health, outcome, rise=rise, fall=fall, now=turn + 0.5) is before
        if outcome.kind is not OutcomeKind.UNSURE:
            counted.append(outcome.kind)
        # Restated: the last `rise` counted outcomes since the last change all passed, or the last `fall` all failed.
        if verdict is not Verdict.UP and len(counted) >= rise and set(counted[-rise:]) == {OutcomeKind.UP}:
            verdict, counted = Verdict.UP, []
        elif verdict is not Verdict.DOWN and len(counted) >= fall and set(counted[-fall:]) == {OutcomeKind.DOWN}:
            verdict, counted = Verdict.DOWN, []
        assert health.verdict is verdict
