"""Gathers what happens within a time, to be told in one message of bounded size."""

from collections import Counter

import msgspec

from lvs_healthd.hooks.facts import Told

MOST_NAMED = 1000
"""How many events one message names. The others are counted: whoever is told of a thousand looks for himself."""


class Gathered(msgspec.Struct, frozen=True):
    """What has happened within a time."""

    events: tuple[Told, ...]
    """The first events, at most `MOST_NAMED`."""
    counts: dict[str, int]
    """How many events there were, by name."""

    @property
    def total(self) -> int:
        """How many events there were."""
        return sum(self.counts.values())


class Digest:
    """What has happened since the last message."""

    def __init__(self) -> None:
        self._events: list[Told] = []
        self._counts: Counter[str] = Counter()
        self.since: float | None = None
        """When the first of them came, seconds on the monotonic clock; None if there are none."""

    def add(self, told: Told, now: float) -> None:
        """Add an event."""
        if self.since is None:
            self.since = now
        self._counts[told.event.name] += 1
        if len(self._events) < MOST_NAMED:
            self._events.append(told)

    def take(self) -> Gathered:
        """Return what there is, and begin again."""
        gathered = Gathered(tuple(self._events), dict(self._counts.most_common()))
        self._events, self._counts, self.since = [], Counter(), None
        return gathered
