"""Decides which probes may run more often than their interval, so that a mass failure becomes no storm of probes. Pure.

All together they have a rate of `HURRIED_PER_S`. A probe that begins to hurry gets its share if it fits; if not, it
waits, and whoever has waited longest is next. Meanwhile it runs at its interval. A verdict in doubt is found within a
few probes, so shares come free soon. A probe that hurries for longer than `TURN_S`, such as that of a server which is
down and has a short `down_interval`, has to wait again as soon as others do.

So ten thousand servers that fail at once are probed hardly more often than before. Five hundred at a time get
their verdict early, and all others get it no later than without any hurry.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, NamedTuple, TypeVar

HURRIED_PER_S = 1000.0
"""The rate that all probes in a hurry share, probes per second, in each process that runs probes. It costs a tenth
of a core at most, and is enough for five hundred servers in doubt at the default pace."""

TURN_S = 10.0
"""How long a probe may hurry while others wait, seconds. With the defaults, a verdict takes a second or two."""

_Job = TypeVar("_Job", bound=Hashable)
_Value = TypeVar("_Value")


class Budget:
    """Bounds how often something happens.

    most: how often at once.
    per_s: how often in the long run, per second.
    """

    __slots__ = ("_at", "_left", "_most", "_per_s")

    def __init__(self, most: int, per_s: float) -> None:
        self._most = most
        self._per_s = per_s
        self._left = float(most)
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Return whether it may happen now, which counts.

        now: monotonic time, seconds.
        """
        self._left = min(self._most, self._left + (now - self._at) * self._per_s)
        self._at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


class _Share(NamedTuple):
    since: float
    per_s: float


class Hurry(Generic[_Job]):
    """Knows who hurries and who waits.

    Its methods return the jobs that may hurry from now on.

    clock: monotonic time, seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # Ordinary dictionaries take ever longer to find their first item while many are removed from their front.
        self._shares: OrderedDict[_Job, _Share] = OrderedDict()
        """Who hurries, in the order in which they began."""
        self._waiting: OrderedDict[_Job, float] = OrderedDict()
        """The rate of everybody who waits, probes per second, in the order in which they came."""
        self._per_s = 0.0
        """The rate of all who hurry, probes per second."""

    def __contains__(self, job: _Job) -> bool:
        return job in self._shares

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def enter(self, job: _Job, pace_s: float) -> Iterator[_Job]:
        """Let a job hurry, at once or when it is its turn. One that hurries already keeps its share if the new fits.

        pace_s: how often it is to run, seconds.
        """
        since = self._give_back(job)
        if since is not None and self._fits(1.0 / pace_s):
            self._take(job, _Share(since, 1.0 / pace_s))
            yield job
        else:
            self._waiting[job] = 1.0 / pace_s
        yield from self._admitted()

    def leave(self, job: _Job) -> Iterator[_Job]:
        """Note that a job does not hurry any more."""
        if not self._shares:
            return
        _remove(self._waiting, job)
        self._give_back(job)
        yield from self._admitted()

    def turn(self, now: float) -> Iterator[_Job]:
        """Take their share from those who have hurried for long, if others wait.

        now: monotonic time, seconds.
        """
        for _ in range(min(len(self._waiting), len(self._shares))):
            job, share = next(iter(self._shares.items()))
            if now < share.since + TURN_S:
                return
            self._give_back(job)
            yield from self._admitted()
            self._waiting[job] = share.per_s

    def _admitted(self) -> Iterator[_Job]:
        while self._waiting:
            job, per_s = next(iter(self._waiting.items()))
            if not self._fits(per_s):
                return
            _remove(self._waiting, job)
            self._take(job, _Share(self._clock(), per_s))
            yield job

    def _fits(self, per_s: float) -> bool:
        return not self._shares or self._per_s + per_s <= HURRIED_PER_S

    def _take(self, job: _Job, share: _Share) -> None:
        self._shares[job] = share
        self._per_s += share.per_s

    def _give_back(self, job: _Job) -> float | None:
        """Take a job's share from it. Return since when it has had it; None if it had none."""
        share = _remove(self._shares, job)
        if share is None:
            return None
        self._per_s = self._per_s - share.per_s if self._shares else 0.0
        return share.since


def _remove(jobs: OrderedDict[_Job, _Value], job: _Job) -> _Value | None:
    """Remove a job, and return its value; None if it is not there.

    A dictionary keeps the memory of the most items that it has ever had, which at a start are all, until it is cleared.
    """
    value = jobs.pop(job, None)
    if value is not None and not jobs:
        jobs.clear()
    return value
