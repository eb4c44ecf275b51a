"""When a server ends idle connections, learnt from their ages."""

import pytest

from lvs_healthd.probing.habits import FORGET_S, Habit, is_about, is_short


def learnt(*ages_s: float, now: float = 0.0) -> float | None:
    habit = Habit()
    for age_s in ages_s:
        habit.ended(age_s)
        habit.limit_s(now)
    return habit.limit_s(now)


@pytest.mark.parametrize(
    ("ages_s", "limit_s"),
    [
        ((), None),
        ((5.0,), None),
        ((5.0, 5.0), 5.0),
        ((5.9, 5.04), 5.0),
        ((5.0, 6.3), None),
        ((5.0, 1.0, 5.0), None),
        ((1.0, 5.0, 5.3), 5.0),
        ((5.0, 5.0, 9.0), 5.0),
        ((5.0, 5.0, 9.0, 9.2), 9.0),
        ((0.1, 0.2, 0.2, 0.8), None),
        ((1.0, 0.9), 0.9),
    ],
)
def test_two_ends_one_after_the_other_at_the_same_age_are_a_limit(
    ages_s: tuple[float, ...], limit_s: float | None
) -> None:
    assert learnt(*ages_s) == limit_s


def test_end_of_a_server_that_failed_teaches_nothing() -> None:
    habit = Habit()
    for _ in range(3):
        habit.ended(5.0)
        habit.failed()
        assert habit.limit_s(0.0) is None


def test_two_ends_without_a_new_connection_between_them_are_one() -> None:
    habit = Habit()
    habit.ended(5.0)
    habit.ended(5.0)
    assert habit.limit_s(0.0) is None


def test_connection_that_was_idle_for_longer_refutes_what_was_learnt() -> None:
    habit = Habit()
    habit.ended(1.3)
    assert habit.limit_s(0.0) is None
    habit.outlived(2.0)
    habit.ended(1.3)
    assert habit.limit_s(0.0) is None
    for _ in range(2):
        habit.outlived(1.3)
    habit.ended(1.3)
    assert habit.limit_s(0.0) is None
    habit.outlived(1.3)
    habit.ended(1.4)
    assert habit.limit_s(0.0) == 1.3
    assert habit.is_usual(1.5)
    habit.outlived(2.3)  # a second late, as Node is
    assert habit.limit_s(0.0) == 1.3
    habit.outlived(2.5)
    assert habit.limit_s(0.0) is None
    assert not habit.is_usual(1.5)


def test_limit_that_is_too_short_is_forgotten_after_a_while() -> None:
    habit = Habit()
    for _ in range(2):
        habit.ended(5.0)
        assert habit.limit_s(0.0) in {None, 5.0}
    habit.found_short(100.0)
    habit.found_short(200.0)
    assert habit.limit_s(99.0 + FORGET_S) == 5.0
    assert habit.limit_s(100.0 + FORGET_S) is None
    assert habit.limit_s(100.0 + FORGET_S) is None


def test_ages_are_compared_with_a_limit_as_timers_work() -> None:
    assert [is_about(age_s, 5.0) for age_s in (3.8, 3.95, 5.0, 6.05, 6.2)] == [False, True, True, True, False]
    assert [is_short(limit_s, 2.0) for limit_s in (1.0, 2.0, 2.05, 2.2)] == [True, True, True, False]
