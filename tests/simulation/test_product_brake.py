"""Every stage of the brake with every look at every time: properties that leave nothing open."""

import itertools
from collections.abc import Iterator

import pytest

from lvs_healthd.decide.brake import Brake, Look, Recovering, Rule, Stage, answered, fell_silent, looked, may_recover

RULES = [Rule(share, 10.0, least, 60.0) for share in (0.5, 0.8, 1.0) for least in (2, 3)]
TIMES_S = (0.0, 5.0, 10.0 - 1e-6, 10.0, 59.0, 60.0, 1000.0)
"""How long a stage has lasted."""
BEGAN, NOW = 3.0, 5000.0


def looks() -> Iterator[Look]:
    for silent, others in itertools.product(range(5), range(4)):
        for has_answer, symptom, proof in itertools.product((False, True), ("", "no carrier"), ("", "ARP")):
            yield Look(silent, others, has_answer=has_answer, symptom=symptom, proof=proof)


LOOKS = list(looks())


def brakes() -> Iterator[tuple[Brake, float]]:
    for stage, lasted_s in itertools.product(Stage, TIMES_S):
        yield Brake(stage, BEGAN, NOW - lasted_s, "told" if stage is Stage.RELEASED else ""), lasted_s


@pytest.mark.parametrize("rule", RULES)
def test_brake_holds_if_and_only_if_it_may(rule: Rule) -> None:
    for (brake, lasted_s), look in itertools.product(brakes(), LOOKS):
        after = looked(brake, look, rule, NOW)
        what = (brake, look, after)
        is_together = look.silent >= rule.min_targets and look.silent >= rule.share * (look.silent + look.others)
        is_cleared_up = bool(look.proof) and not look.symptom
        is_doubtful = look.silent and not look.has_answer and look.silent + look.others >= rule.min_targets
        if brake.stage is Stage.CLEAR:
            assert after is brake, what
        elif look.has_answer or not look.silent:
            assert after.stage is Stage.CLEAR, what
        elif brake.stage is Stage.RELEASED:
            assert after is brake, what
        elif brake.stage is Stage.BRAKED:
            assert after.holds is (lasted_s < rule.longest_s and not is_cleared_up), what
        else:
            brakes_now = is_together or (lasted_s >= rule.within_s and bool(look.symptom))
            may_hold = is_doubtful and not is_cleared_up
            assert (after.stage is Stage.BRAKED) is bool(may_hold and brakes_now), what
            assert (after.stage is Stage.DOUBT) is bool(may_hold and not brakes_now and lasted_s < rule.within_s), what


@pytest.mark.parametrize("rule", RULES)
def test_brake_says_since_when_and_why(rule: Rule) -> None:
    for (brake, _), look in itertools.product(brakes(), LOOKS):
        after = looked(brake, look, rule, NOW)
        if after is brake:
            continue
        assert (after.since, after.entered) == (BEGAN, NOW)
        assert after.stage is not brake.stage
        assert bool(after.why) is (not after.holds)


@pytest.mark.parametrize("rule", RULES)
def test_more_silence_or_a_fault_of_our_own_never_lets_go(rule: Rule) -> None:
    for (brake, _), look in itertools.product(brakes(), LOOKS):
        if not looked(brake, look, rule, NOW).holds:
            continue
        assert looked(brake, look._replace(silent=look.silent + 1), rule, NOW).holds
        assert looked(brake, look._replace(symptom="a table is full"), rule, NOW).holds


def test_answer_clears_every_stage_and_silence_begins_only_where_all_was_clear() -> None:
    for brake, _ in brakes():
        assert answered(brake, NOW).stage is Stage.CLEAR
        silent = fell_silent(brake, 7.0, NOW)
        if brake.stage is Stage.CLEAR:
            assert silent == Brake(Stage.DOUBT, 7.0, NOW)
        else:
            assert silent is brake


EVENTS: dict[str, Look | None] = {
    "falls silent": None,
    "some silent": Look(1, 3, has_answer=False),
    "all silent": Look(4, 0, has_answer=False),
    "all silent by our fault": Look(4, 0, has_answer=False, symptom="no carrier", proof="ARP"),
    "proved": Look(4, 0, has_answer=False, proof="ARP"),
    "answer": Look(4, 0, has_answer=True),
}


@pytest.mark.parametrize("pause_s", [4.0, 11.0, 61.0])
def test_no_sequence_holds_for_longer_than_allowed_without_an_answer(pause_s: float) -> None:
    """A stage ends at the first look after its time."""
    rule = Rule(0.8, 10.0, 2, 60.0)
    for events in itertools.product(EVENTS.items(), repeat=6):
        brake, now = Brake(), 0.0
        held_s = 0.0
        """For how long it had been held at the last look, without an answer since."""
        for _, look in events:
            now += pause_s
            if look is None:
                brake = fell_silent(brake, now, now)
                continue
            was_held, brake = brake.holds, looked(brake, look, rule, now)
            held_s = held_s + pause_s if was_held and brake.holds else 0.0
            assert held_s < rule.within_s + rule.longest_s
            if look.has_answer:
                assert brake.stage is Stage.CLEAR


def test_server_that_recovers_is_left_alone_only_for_its_own_next_probes() -> None:
    given = itertools.product((-3.0, 0.0, 2.0), (False, True), (1, 2, 4), (1.0, 5.0), (0.5, 2.0))
    for probed, passes, rise, interval_s, timeout_s in given:
        server = Recovering(100.0, 100.0 + probed, passes, rise, interval_s, timeout_s)
        for after_s in (0.0, 1.0, 5.0, 20.0, 100.0):
            has_time = after_s < (rise + 1) * (interval_s + timeout_s)
            has_failed_since = probed > 0 and not passes
            assert may_recover(server, 100.0 + after_s) is (has_time and not has_failed_since)
