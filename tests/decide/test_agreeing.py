"""The veto: who can hold back the removal of a server, and for how long, whatever other directors say."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.decide.agreeing import LONGEST_S, Opinion, Sight, Veto, Vote, vetoed, voted

LEASE_S = 10.0
UP, DOWN, UNSURE = Sight.UP, Sight.DOWN, Sight.UNSURE


def vote(needed: int, **seen: Sight | None) -> Vote:
    return voted([Opinion(name, sight, 1.0) for name, sight in seen.items()], needed, LEASE_S)


@pytest.mark.parametrize(
    ("found", "holds", "words"),
    [
        (vote(1, b=UP), False, "no other director is asked"),
        (vote(2, b=UP), True, "seen up by b: 1 of 2 needed see it down"),
        (vote(2, b=DOWN), False, "seen down by b: 2 of 2 needed see it down"),
        (vote(2, b=UP, c=DOWN), False, "seen up by b, down by c: 2 of 2 needed see it down"),
        (vote(3, c=UP, b=DOWN), True, "seen up by c, down by b: 2 of 3 needed see it down"),
        (vote(2), False, "decided alone: 0 of 1 other directors needed can tell"),
        (vote(2, b=UNSURE, c=None), False, "decided alone: 0 of 1 other directors needed can tell"),
        (vote(3, b=UP, c=UNSURE), False, "decided alone: 1 of 2 other directors needed can tell"),
        (vote(2, b=UP, c=UP, d=UP, e=UP, f=UP), True, "seen up by b, c, d and 2 more: 1 of 2 needed see it down"),
    ],
    ids=str,
)
def test_vote(found: Vote, holds: bool, words: str) -> None:
    assert (found.holds, str(found)) == (holds, words)


@pytest.mark.parametrize("age_s", [LEASE_S + 0.01, -1.0, float("nan"), float("inf")])
def test_who_has_not_said_anything_lately_does_not_count(age_s: float) -> None:
    assert not voted([Opinion("b", UP, age_s)], 2, LEASE_S).can_agree
    assert voted([Opinion("b", UP, LEASE_S)], 2, LEASE_S).holds


def test_director_that_is_named_twice_counts_once() -> None:
    assert voted([Opinion("b", DOWN, 1.0), Opinion("b", DOWN, 1.0)], 3, LEASE_S).down == ("b",)
    assert voted([Opinion("b", UP, 1.0), Opinion("b", DOWN, 1.0)], 2, LEASE_S).holds


def test_it_ends_when_enough_agree_when_too_few_can_tell_or_after_five_minutes_and_does_not_begin_again() -> None:
    held = vetoed(None, vote(2, b=UP), 100.0)
    assert (held.holds, held.since) == (True, 100.0)
    assert vetoed(held, vote(2, b=UP), 101.0) is held
    assert vetoed(held, vote(2, b=UP, c=UP), 399.9).holds
    for over, why in (
        (vetoed(held, vote(2, b=DOWN), 101.0), "seen down by b: 2 of 2 needed see it down"),
        (vetoed(held, vote(2), 101.0), "decided alone: 0 of 1 other directors needed can tell"),
        (vetoed(held, vote(2, b=UP), 400.0), "others have held it for 5 minutes, the longest allowed"),
    ):
        assert (over.holds, over.over) == (False, why)
        assert vetoed(over, vote(2, b=UP), 402.0) is over
    assert not vetoed(None, vote(2, b=DOWN), 1.0).holds


NAMES = st.sampled_from(["", "b", "c", "d", "ü\n", "x" * 200])
AGES = st.one_of(st.floats(), st.floats(min_value=0.0, max_value=2 * LEASE_S))
OPINIONS = st.lists(st.builds(Opinion, NAMES, st.sampled_from([*Sight, None]), AGES), max_size=8)


def may_go(opinions: Sequence[Opinion], needed: int, waited_s: float) -> bool:
    """Say whether a server that is down here may go, as docs/fleet.md has it, counted another way."""
    first = {name: (sight, age) for name, sight, age in reversed(opinions)}
    fresh = [sight for sight, age in first.values() if age >= 0 and age <= LEASE_S]
    downs, tells = fresh.count(DOWN), fresh.count(DOWN) + fresh.count(UP)
    return waited_s >= 300.0 or downs >= needed - 1 or tells < needed - 1


@given(
    st.lists(st.tuples(OPINIONS, st.floats(min_value=0.0, max_value=120.0)), min_size=1, max_size=12),
    st.integers(1, 5),
)
def test_nobody_holds_a_server_for_longer_than_five_minutes_and_what_is_over_stays_over(
    said: list[tuple[list[Opinion], float]], needed: int
) -> None:
    veto: Veto | None = None
    now = began = 1_000.0
    is_gone = False
    for opinions, wait_s in said:
        veto = vetoed(veto, voted(opinions, needed, LEASE_S), now)
        is_gone |= may_go(opinions, needed, now - began)
        assert veto.holds is not is_gone
        assert not veto.holds or now - began < LONGEST_S
        assert veto.since == began
        assert str(veto.vote)
        now += wait_s


@given(OPINIONS, st.integers(2, 5))
def test_another_director_that_sees_it_down_never_makes_it_stay(opinions: list[Opinion], needed: int) -> None:
    """More agreement lets it go sooner; one that begins to see it up instead may hold it."""
    if not voted(opinions, needed, LEASE_S).holds and voted(opinions, needed, LEASE_S).can_agree:
        assert not voted([*opinions, Opinion("new", DOWN, 0.0)], needed, LEASE_S).holds
