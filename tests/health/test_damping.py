"""When a server counts as flapping, and for how long it stays out: by hand, and over every short course of events."""

import itertools
import math
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.model import Damping
from lvs_healthd.health.damping import (
    BAD_SHARE,
    LEAST_PROBES,
    Flaps,
    Rate,
    failed_again,
    fell,
    held_out,
    hold_s,
    later,
    unsteady,
)

RULE = Damping()
FIRST = 60.0
"""The first hold with the usual values, seconds."""


def after_falls(*times: float, damps: bool = True, rule: Damping = RULE) -> Flaps:
    flaps: Flaps | None = None
    for now in times:
        if flaps is not None:
            flaps = later(flaps, rule, damps=damps, now=now)
        flaps = fell(flaps, rule, damps=damps, now=now)
    assert flaps is not None
    return flaps


def test_fourth_fall_within_the_window_is_flapping() -> None:
    three = after_falls(0.0, 100.0, 200.0)
    assert (three.since, three.until) == (None, None)
    four = after_falls(0.0, 100.0, 200.0, 599.0)
    assert (four.since, four.until, four.holds) == (599.0, 599.0 + FIRST, 1)


def test_falls_far_apart_are_not() -> None:
    flaps = after_falls(*(200.0 * n for n in range(50)))
    assert flaps.since is None
    assert len(flaps.falls) == 3


def test_without_damping_it_is_told_and_nothing_held() -> None:
    flaps = after_falls(0.0, 1.0, 2.0, 3.0, 4.0, damps=False)
    assert (flaps.since, flaps.last, flaps.until, flaps.holds) == (3.0, 4.0, None, 0)
    assert held_out(flaps, None) == ""


def test_each_hold_is_twice_the_one_before_up_to_the_longest() -> None:
    assert [float(hold_s(n, RULE)) for n in range(1, 9)] == [60.0, 120.0, 240.0, 480.0, 960.0, 1800.0, 1800.0, 1800.0]
    assert float(hold_s(10**9, RULE)) == 1800.0
    short = Damping(longest=Seconds(5.0))
    assert {hold_s(n, short) for n in range(1, 9)} == {5.0}


def test_server_that_falls_again_when_it_serves_is_held_for_longer() -> None:
    flaps: Flaps | None = after_falls(0.0, 1.0, 2.0, 3.0)
    now, holds = 3.0, []
    for _ in range(8):
        assert flaps is not None
        assert flaps.until is not None
        holds.append(flaps.until - now)
        now = flaps.until
        flaps = later(flaps, RULE, damps=True, now=now)
        assert flaps is not None
        assert flaps.until is None
        now += 10.0
        flaps = fell(flaps, RULE, damps=True, now=now)
    assert holds == [60, 120, 240, 480, 960, 1800, 1800, 1800]


def test_fall_while_it_is_held_begins_the_time_again() -> None:
    flaps = after_falls(0.0, 1.0, 2.0, 3.0, 50.0)
    assert (flaps.until, flaps.holds) == (110.0, 1)
    assert held_out(flaps, RULE) == "damped because it flaps, until it has been steady for 1m"


def test_episode_is_over_after_a_window_without_a_sign() -> None:
    flaps: Flaps | None = after_falls(0.0, 1.0, 2.0, 3.0)
    assert flaps is not None
    flaps = later(flaps, RULE, damps=True, now=63.0)
    assert flaps is not None
    assert (flaps.since, flaps.last) == (3.0, 63.0)
    flaps = later(flaps, RULE, damps=True, now=662.9)
    assert flaps is not None
    assert flaps.since == 3.0
    assert later(flaps, RULE, damps=True, now=663.0) is None


def test_server_is_let_go_when_damping_is_turned_off() -> None:
    flaps = later(after_falls(0.0, 1.0, 2.0, 3.0), RULE, damps=False, now=4.0)
    assert flaps is not None
    assert flaps.until is None


SIGNS = ("fall", "unsteady", "wait")
PAUSES = (1.0, 59.0, 61.0, 200.0, 601.0, 2000.0)


@pytest.mark.parametrize("damps", [True, False])
@pytest.mark.parametrize("longest", [30.0, 1800.0])
def test_every_short_course_of_events_keeps_the_rules(damps: bool, longest: float) -> None:
    rule = Damping(falls=2, longest=Seconds(longest))
    for course in itertools.product(itertools.product(SIGNS, PAUSES), repeat=4):
        keep_the_rules(course, rule, damps=damps)


@given(st.lists(st.tuples(st.sampled_from(SIGNS), st.floats(0, 5000)), max_size=60), st.integers(2, 6))
def test_long_courses_keep_the_rules(course: list[tuple[str, float]], falls: int) -> None:
    keep_the_rules(tuple(course), Damping(falls=falls), damps=True)


def keep_the_rules(course: tuple[tuple[str, float], ...], rule: Damping, *, damps: bool) -> None:
    flaps: Flaps | None = None
    now = 0.0
    for sign, pause in course:
        before, now = flaps, now + pause
        flaps = None if flaps is None else later(flaps, rule, damps=damps, now=now)
        if sign == "fall":
            flaps = fell(flaps, rule, damps=damps, now=now)
        elif sign == "unsteady":
            flaps = unsteady(flaps, rule, damps=damps, now=now)
        if flaps is None:
            assert sign == "wait"
            continue
        assert len(flaps.falls) <= rule.falls
        assert damps or flaps.until is None
        if flaps.until is not None:
            assert flaps.since is not None
            assert 0.0 <= flaps.until - now <= hold_s(flaps.holds, rule) + 1e-6 <= rule.longest + 1e-6
        if before is not None and before.since is not None and flaps.since == before.since:
            assert flaps.holds >= before.holds
            if before.until is not None and flaps.until is not None:
                assert flaps.until >= before.until
        if sign == "unsteady":
            assert flaps.since is not None
            assert (flaps.until is not None) is damps


def rate_of(outcomes: str, *, every_s: float = 2.0, window: float = 600.0) -> Rate | None:
    """Return the rate after these outcomes, "." for a pass and "x" for a failure."""
    rate, now = None, 0.0
    for passed, failed in re.findall(r"(\.*)(x+)", outcomes):
        now += every_s * (len(passed) + len(failed))
        rate = failed_again(rate, len(failed), len(passed), (every_s, now), window)
    return rate


def exact(outcomes: str, *, every_s: float = 2.0, window: float = 600.0) -> float:
    """Return the share of failures by its definition, probe for probe."""
    last = outcomes.rindex("x")
    weights = [math.exp(-(last - n) * every_s / window) for n in range(last + 1)]
    failed = sum(weight for weight, outcome in zip(weights, outcomes, strict=False) if outcome == "x")
    return failed / sum(weights)


@pytest.mark.parametrize(
    "outcomes",
    ["x." * 50, "..x" * 50, "xx." * 30, "." * 100 + "x." * 40, "." * 200 + "x", ("x" * 5 + "." * 20) * 8],
)
def test_share_is_what_the_definition_says(outcomes: str) -> None:
    rate = rate_of(outcomes)
    assert rate is not None
    assert rate.failed / rate.probes == pytest.approx(exact(outcomes), rel=0.02)


def test_server_that_is_bad_every_other_second_is_unsteady_soon_and_a_healthy_one_never() -> None:
    rate = rate_of("x." * 10)
    assert rate is not None
    assert not rate.is_unsteady  # too few probes
    rate = rate_of("x." * 11)
    assert rate is not None
    assert rate.is_unsteady
    rare = rate_of(("." * 19 + "x") * 200)
    assert rare is not None
    assert rare.probes > LEAST_PROBES
    assert not rare.is_unsteady


def test_server_that_was_good_for_long_is_unsteady_within_the_window() -> None:
    good, bad = "." * 256, "x."
    needed = next(n for n in range(1, 1000) if (rate := rate_of(good + bad * n)) is not None and rate.is_unsteady)
    assert 2 * needed * 2.0 < RULE.window


def test_slow_probes_never_come_to_enough() -> None:
    rate = rate_of("x." * 500, every_s=60.0)
    assert rate is not None
    assert rate.probes < LEAST_PROBES
    assert rate.failed / rate.probes > BAD_SHARE
    assert not rate.is_unsteady


def test_values_are_immutable() -> None:
    flaps = Flaps()
    with pytest.raises(AttributeError):
        flaps.holds = 1  # type: ignore[misc]
    assert msgspec.structs.replace(flaps, holds=1) != flaps
