"""Every vote of up to three other directors, before and after every time: properties that leave nothing open."""

import itertools
from collections.abc import Iterator

import pytest

from lvs_healthd.decide.agreeing import LONGEST_S, Opinion, Sight, Veto, Vote, vetoed, voted

LEASE_S = 10.0
SINCE = 1_000.0
TIMES = (SINCE, SINCE + 1.0, SINCE + LONGEST_S - 0.001, SINCE + LONGEST_S, SINCE + 10 * LONGEST_S)
SAYS = [None, *((sight, age_s) for sight in (*Sight, None) for age_s in (0.0, LEASE_S, LEASE_S + 0.001, -1.0))]
"""What a director says: nothing, or how it sees the server, and how old that is."""


def opinions() -> Iterator[tuple[Opinion, ...]]:
    for says in itertools.combinations_with_replacement(SAYS, 3):
        yield tuple(Opinion(name, *said) for name, said in zip("bcd", says, strict=True) if said is not None)


def counted(said: tuple[Opinion, ...]) -> tuple[int, int]:
    """Return how many see it down, and how many can tell."""
    fresh = [each.sight for each in said if each.age_s in (0.0, LEASE_S)]
    return fresh.count(Sight.DOWN), fresh.count(Sight.DOWN) + fresh.count(Sight.UP)


@pytest.mark.parametrize("needed", [1, 2, 3, 4])
def test_server_is_held_if_and_only_if_too_few_agree_though_enough_can_tell(needed: int) -> None:
    for said in opinions():
        found, (downs, tell) = voted(said, needed, LEASE_S), counted(said)
        assert found.holds is (tell >= needed - 1 and 1 + downs < needed), said
        assert (len(found.down), len(found.down) + len(found.up)) == (downs, tell)
        assert len(found.down) + len(found.up) + len(found.mute) == len(said)


@pytest.mark.parametrize("needed", [1, 2, 3])
def test_veto_ends_in_time_and_what_is_over_stays_over(needed: int) -> None:
    votes: dict[Vote, None] = dict.fromkeys(voted(said, needed, LEASE_S) for said in opinions())
    for first, later, now in itertools.product(votes, votes, TIMES):
        begun = vetoed(None, first, SINCE)
        assert begun.holds is first.holds
        after: Veto = vetoed(begun, later, now)
        what = (first, later, now, after)
        assert after.since == SINCE, what
        assert after.holds is (first.holds and later.holds and now < SINCE + LONGEST_S), what
        assert bool(after.over) is not after.holds, what
        if not begun.holds:
            assert after is begun, what
