"""Decides how long a probe may take, and which probes have passed their deadline.

A probe may take its timeout, plus the time for which the event loop stood still meanwhile, because nobody could read an
answer during that time. In all, a probe may take at most twice its timeout. So a director that always lags still finds
dead servers.

There is one exception, which protects servers that answer. While the loop stands still, the peer may be waiting for us
to send something, so its silence is our fault. So if the loop has stood still for longer than the timeout in all, the
peer gets one more timeout, counted from the moment when it was last heard. This happens up to `MOST_REPRIEVES` times.

Deadlines are grouped into ticks. All times are passed in; they are seconds on one clock.
"""

import heapq
from typing import Generic, Protocol, TypeVar

TICK_S = 0.05
"""The granularity of starts and deadlines, seconds. Probes start in groups, so that one wake-up serves many."""

STALL_WATCH_S = 0.1
"""The longest time between two ticks while probes are under way, seconds. Pauses that are shorter may go unnoticed."""

MOST_REPRIEVES = 4
"""How often a peer gets one more timeout because the loop lags. This is how often a healthy server sends at most after
the connection is established: twice in a TLS 1.2 handshake, then the headers and the body of its answer."""


class Timed(Protocol):
    """Something under way that has a deadline."""

    started: float
    """When it began, seconds on the clock."""
    timeout_s: float
    stalls_s: float
    """The value of `Deadlines.stalls_s` when it began, seconds."""
    heard: float
    """When the peer was last heard, seconds on the clock; `started` before the first time."""
    reprieves: int
    """How often it may still get one more timeout. Begins with `MOST_REPRIEVES`."""


_T = TypeVar("_T", bound=Timed)


class Deadlines(Generic[_T]):
    """The deadlines of everything under way, in ticks."""

    def __init__(self) -> None:
        self.stalls_s = 0.0
        """The sum of all pauses of the event loop so far, seconds."""
        self._due: dict[int, list[_T]] = {}
        self._ticks: list[int] = []

    @property
    def next_due(self) -> float | None:
        """When the next deadline is, seconds on the clock; None when there is none."""
        return self._ticks[0] * TICK_S if self._ticks else None

    def is_overdue(self, now: float) -> bool:
        """Return whether a deadline has passed at `now`."""
        return bool(self._ticks) and self._ticks[0] * TICK_S <= now

    def add(self, item: _T) -> bool:
        """Begin to watch the deadline of `item`. Return whether `next_due` has become earlier or is new."""
        return self._add(item, item.started + item.timeout_s)

    def _add(self, item: _T, due: float) -> bool:
        # Use the first tick after the deadline: a probe may get up to one tick too much time, but never too little.
        tick = int(due / TICK_S) + 1
        items = self._due.get(tick)
        if items is not None:
            items.append(item)
            return False
        self._due[tick] = [item]
        heapq.heappush(self._ticks, tick)
        return self._ticks[0] == tick

    def pop(self, now: float) -> _T | None:
        """Return an item whose deadline has passed at `now`, and stop watching it. None if there is no such item."""
        if not self.is_overdue(now):
            return None
        items = self._due[self._ticks[0]]
        item = items.pop()
        if not items:
            del self._due[heapq.heappop(self._ticks)]
        return item

    def stalled(self, late_s: float) -> None:
        """Note a tick that came `late_s` seconds late. This counts as a pause if it is more than `TICK_S`."""
        if late_s > TICK_S:
            self.stalls_s += late_s

    def stalled_s(self, item: _T) -> float:
        """Return the sum of all pauses of the event loop since `item` began, seconds."""
        return self.stalls_s - item.stalls_s

    def put_off(self, item: _T, now: float) -> bool:
        """Give `item` a later deadline if the loop's pauses entitle it to one. Return whether it got one.

        item: an item that `pop` has returned.
        now: seconds on the clock. Everything that had arrived by then must have been read.
        """
        stalled_s = self.stalled_s(item)
        due = item.started + item.timeout_s + min(stalled_s, item.timeout_s)
        if due <= now and stalled_s > item.timeout_s and item.reprieves:
            item.reprieves -= 1
            due = item.heard + item.timeout_s
        if due <= now:
            return False
        self._add(item, due)
        return True

    def clear(self) -> None:
        """Watch nothing any more."""
        self._due.clear()
        self._ticks.clear()
