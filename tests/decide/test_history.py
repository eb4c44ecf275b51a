"""What is remembered of a probe: streaks of like outcomes, failures for longer than passes, in a bounded space."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.decide.held import LONGEST_STREAK
from lvs_healthd.decide.history import NO_HISTORY, History, Streak, extended, is_like
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason, down, unsure, up
from lvs_healthd.probes.targets import probe_key
from tests.configs import config, server, service, tcp_check
from tests.decide.test_decisions import FAIL, PASS, Bench

A = "198.51.100.11"
CHECK = tcp_check(A, 80)
OTHER_PASS = up("connected at last")
UNSURE = unsure(Reason.LOCAL_LIMIT, "our file descriptors are used up")


def streak(outcome: Outcome, at: float, times: int = 1) -> Streak:
    return Streak(outcome, at, at + times - 1, times)


def history(*streaks: Streak, most: int = 20) -> History:
    made = NO_HISTORY
    for each in streaks:
        made = extended(made, each, most)
    return made


def test_streaks_come_back_as_they_were() -> None:
    streaks = (streak(PASS, 1000.125, 7), streak(FAIL, 1010.5), streak(UNSURE, 1011.0, 3))
    assert tuple(history(*streaks).streaks()) == streaks


def test_passes_in_any_words_are_alike_and_failures_only_in_the_same_words() -> None:
    assert is_like(PASS, OTHER_PASS)
    assert is_like(FAIL, down(Reason.REFUSED, "connection refused"))
    assert not is_like(FAIL, down(Reason.REFUSED, "connection refused by a firewall"))
    assert not is_like(FAIL, down(Reason.RESET, "connection refused"))
    assert not is_like(PASS, FAIL)


def test_oldest_passes_go_first_and_a_quarter_of_them_stays() -> None:
    turns = [streak(PASS if number % 2 else FAIL, 10.0 * number, 2) for number in range(40)]
    kept = list(history(*turns, most=8).streaks())
    assert [each.outcome.kind for each in kept].count(OutcomeKind.UP) == 2
    failures = [each for each in kept if each.outcome.kind is OutcomeKind.DOWN]
    assert failures == [each for each in turns if each.outcome.kind is OutcomeKind.DOWN][-6:]
    assert kept == sorted(kept, key=lambda each: each.began)


def test_failures_in_ever_new_words_take_three_places_at_most() -> None:
    changing = [streak(down(Reason.BAD_ANSWER, f"unexpected answer {number}"), float(number)) for number in range(100)]
    first, last = history(streak(PASS, -5.0), *changing, most=8).streaks().__iter__(), None
    kept = list(first)
    assert [each.outcome.detail for each in kept] == ["connected", "unexpected answer 0", "unexpected answer 99"]
    last = kept[-1]
    assert (last.began, last.ended, last.times) == (1.0, 99.0, 99)


OUTCOMES = st.sampled_from([PASS, OTHER_PASS, FAIL, UNSURE, down(Reason.TIMEOUT, "no answer in 1s")])


@given(st.lists(st.tuples(OUTCOMES, st.integers(1, 2**17)), max_size=60), st.integers(1, 12))
def test_history_is_bounded_in_order_and_keeps_the_newest(found: list[tuple[Outcome, int]], most: int) -> None:
    made, at = NO_HISTORY, 0.0
    for outcome, times in found:
        made = extended(made, streak(outcome, at, times), most)
        at += times
        kept = list(made.streaks())
        assert 1 <= len(kept) <= most
        assert all(one.ended <= other.began for one, other in itertools.pairwise(kept))
        if most > 1 or outcome.kind is not OutcomeKind.UP:
            assert kept[-1].ended == at - 1


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.configure(config(service(server(A))))
    return made


def told(bench: Bench) -> list[tuple[str, float, float, int]]:
    probe = bench.decisions.probes[probe_key(CHECK)]
    return [(each.outcome.kind, each.began, each.ended, each.times) for each in probe.streaks()]


def test_every_outcome_of_a_probe_is_counted_in_a_streak(bench: Bench) -> None:
    bench.feed(CHECK, PASS, PASS, OTHER_PASS, FAIL, FAIL, UNSURE, FAIL, PASS)
    assert told(bench) == [
        ("up", 1001.0, 1003.0, 3),
        ("down", 1004.0, 1005.0, 2),
        ("unsure", 1006.0, 1006.0, 1),
        ("down", 1007.0, 1007.0, 1),
        ("up", 1008.0, 1008.0, 1),
    ]


def test_long_streak_is_counted_up_to_a_limit(bench: Bench) -> None:
    bench.feed(CHECK, *[PASS] * (LONGEST_STREAK + 50), FAIL)
    assert told(bench)[0][1:] == (1001.0, 1000.0 + LONGEST_STREAK + 50, LONGEST_STREAK)


def test_course_of_the_last_failure_is_kept_while_probes_pass(bench: Bench) -> None:
    probe = bench.decisions.probes[probe_key(CHECK)]
    probe.outcome(FAIL, Course(0.25, heard='"no"'))
    probe.outcome(PASS, Course(0.5))
    probe.outcome(PASS, Course(0.75))
    assert (probe.course, probe.failed) == (Course(0.75), Course(0.25, heard='"no"'))


def test_edited_check_keeps_what_was_found_before(bench: Bench) -> None:
    bench.feed(CHECK, PASS, FAIL)
    edited = tcp_check(A, 80, send=b"PING")
    bench.configure(config(service(server(A, checks=(edited,)))))
    bench.feed(edited, PASS)
    probe = bench.decisions.probes[probe_key(edited)]
    assert [each.outcome.kind for each in probe.streaks()] == ["up", "down", "up"]


def test_no_history_is_kept_when_none_is_wanted() -> None:
    bench = Bench()
    given_config = config(service(server(A)))
    daemon = msgspec.structs.replace(given_config.daemon, history=0)
    bench.configure(msgspec.structs.replace(given_config, daemon=daemon))
    bench.feed(CHECK, PASS, FAIL, PASS)
    assert told(bench) == [("up", 1003.0, 1003.0, 1)]
