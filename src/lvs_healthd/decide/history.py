"""Keeps what a probe found before, for an operator who asks why: streaks of like outcomes, in a bounded space. Pure.

There may be tens of thousands of histories, and most of them are empty, because a healthy server has only one streak,
which is still under way. So a history is packed, and replaced when a streak ends.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from lvs_healthd.probes.outcome import Outcome, OutcomeKind

_TIMES = struct.Struct("<ddH")
"""When a streak began and ended, seconds on the monotonic clock, and how many outcomes it had."""

_MOST_COUNTED = 2**16 - 1


class Streak(NamedTuple):
    """Like outcomes in succession."""

    outcome: Outcome
    """The last of them."""
    began: float
    """When the first of them came, seconds on the monotonic clock."""
    ended: float
    """When the last of them came."""
    times: int
    """How many there were, counted up to a limit."""


class History(NamedTuple):
    """Streaks that are over, the oldest first."""

    outcomes: tuple[Outcome, ...] = ()
    times: bytes = b""

    def streaks(self) -> Iterator[Streak]:
        """Yield the streaks, the oldest first."""
        for outcome, times in zip(self.outcomes, _TIMES.iter_unpack(self.times), strict=True):
            yield Streak(outcome, *times)


NO_HISTORY = History()


def is_like(one: Outcome, other: Outcome) -> bool:
    """Return whether two outcomes belong to the same streak: passes in any words, or failures in the same words."""
    if one is other:
        return True
    return one.kind is other.kind and (
        one.kind is OutcomeKind.UP or (one.reason is other.reason and one.detail == other.detail)
    )


def extended(history: History, streak: Streak, most: int) -> History:
    """Return the history with one more streak.

    Failures for the same reason, each in words of its own, make a streak each time. Of these, the first is kept, and
    the later ones are counted with the last. When there are too many streaks, the oldest passes are left out first, as
    long as they are more than a quarter; then the oldest failures.

    most: how many streaks to keep.
    """
    last_two = history.outcomes[-2:]
    is_more_of_the_same = len(last_two) == 2 and all(_is_alike(each, streak.outcome) for each in last_two)
    if not is_more_of_the_same and len(history.outcomes) < most:
        # The usual case. Ten thousand servers may fail at once, so the streaks before are not unpacked for it.
        added = _TIMES.pack(streak.began, streak.ended, min(streak.times, _MOST_COUNTED))
        return History((*history.outcomes, streak.outcome), history.times + added)
    streaks = [*history.streaks(), streak._replace(times=min(streak.times, _MOST_COUNTED))]
    if is_more_of_the_same:
        middle = streaks.pop(-2)
        times = min(middle.times + streak.times, _MOST_COUNTED)
        streaks[-1] = Streak(streak.outcome, middle.began, streak.ended, times)
    while len(streaks) > most:
        del streaks[_least(streaks, most)]
    return History(
        tuple([each.outcome for each in streaks]),
        b"".join([_TIMES.pack(each.began, each.ended, each.times) for each in streaks]),
    )


def _is_alike(one: Outcome, other: Outcome) -> bool:
    return one.kind is other.kind and one.reason is other.reason


def _least(streaks: list[Streak], most: int) -> int:
    """Return the place of the streak that is worth least. It is never the newest one."""
    is_pass = [each.outcome.kind is OutcomeKind.UP for each in streaks]
    goes_first = 4 * is_pass.count(True) > most
    return next((place for place, each in enumerate(is_pass[:-1]) if each is goes_first), 0)
