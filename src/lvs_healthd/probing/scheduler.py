"""When each probe runs: spread evenly by hash, due at absolute times, started in ticks, never two of one at once.

Phases come from the monotonic clock and a stable hash, so that a restart keeps the spread. A probe that is still under
way when its next turn comes is not started a second time: the turn is counted as skipped and made up for as soon as the
probe has ended, so that failures follow each other at the interval or the timeout, whichever is longer.
"""

import asyncio
import hashlib
import heapq
import math
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.outcome import Outcome
from lvs_healthd.probing.engine import TICK_S, Engine
from lvs_healthd.runtime.pace import LONG_SLICE_S, SLICE_S

JITTER_SHARE = 0.02
"""Each start is moved by up to this share of the interval, so that several directors do not probe in lockstep."""

BEHIND_S = 2 * TICK_S
"""When due probes wait for longer than this, they get longer slices."""

FIRST_PROBES_PER_S = 2000
"""At start and after a reload new probes do not wait a whole interval for their first turn, up to this rate."""

FIRST_SPREAD_S = 0.5
"""The shortest time over which first probes are spread, seconds."""


Key = TypeVar("Key", bound=Hashable)


class Sink(Protocol):
    """Who is told what a probe found."""

    def outcome(self, outcome: Outcome, latency_s: float) -> None:
        """Take one outcome, and the time from the probe's first packet to it."""


class Probe(msgspec.Struct, Generic[Key], frozen=True):
    """What to run, how often, and for whom.

    `key` tells identical probes apart from others and keeps their turn over a reload.
    """

    key: Key
    target: Target
    interval_s: float
    sink: Sink


class ScheduleObserver(Protocol):
    """Who is told about the schedule itself: the metrics."""

    def lag(self, seconds: float) -> None:
        """Note how long after its due time a probe started."""

    def loop_lag(self, seconds: float) -> None:
        """Note how late a tick came."""

    def skipped(self) -> None:
        """Note a turn that was skipped because the probe's last one was still under way."""


class _Job:
    """One probe's place in the schedule."""

    __slots__ = (
        *("due", "extra", "interval_s", "is_first", "missed"),
        *("regular", "running", "scheduler", "sink", "target", "turn"),
    )

    def __init__(self, scheduler: "_Schedule", probe: Probe[Any], phase: float, due: float) -> None:
        self.scheduler = scheduler
        self.target = probe.target
        self.interval_s = probe.interval_s
        self.sink: Sink | None = probe.sink
        """None once it has been dropped."""
        self.regular = phase
        """Its phase plus a whole number of intervals: its last regular turn but for the jitter."""
        self.due = due
        """When its next regular turn is."""
        self.turn = due
        """When the turn under way was due."""
        self.is_first = True
        """Its next turn is its first, which comes early and has nothing to do with its phase."""
        self.running = False
        self.missed = False
        """A turn came while it was running."""
        self.extra = False
        """Is to make up for a missed turn, beside its regular ones."""

    def started(self, now: float) -> None:
        """Measure how late it is."""
        self.scheduler.note_lag(now - self.turn)

    def ended(self, outcome: Outcome, latency_s: float) -> None:
        """Hand on what the probe found, unless a reload has dropped it meanwhile."""
        self.running = False
        if self.sink is None:
            return
        if self.missed:
            self.missed, self.extra = False, True
            self.scheduler.make_up(self)
        self.sink.outcome(outcome, latency_s)


class _Schedule(Protocol):
    """What a job asks of its scheduler."""

    def note_lag(self, lag_s: float) -> None:
        """Measure a start that came so late."""

    def make_up(self, job: _Job) -> None:
        """Give a job a turn now."""


class Scheduler(Generic[Key]):
    """Starts probes on an engine and hands each outcome to the probe's sink.

    `clock` is `time.monotonic`, which the loop's own is too; `random` gives floats in [0, 1).
    """

    workers = 1
    """How many processes run probes: this one."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        observer: ScheduleObserver,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._random = random
        self._observer = observer
        self._observe_lag = observer.lag
        self._jobs: dict[Key, _Job] = {}
        self._turns: dict[int, list[_Job]] = {}
        self._turn_ticks: list[int] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure: asyncio.Future[None] | None = None
        self._armed_for = math.inf
        self._late_s = 0.0
        """How late the next tick is already."""
        engine.wake = self._arm_earlier
        self._worst_lag_s = 0.0

    @property
    def max_in_flight(self) -> int:
        """How many sockets may be open at once."""
        return self._engine.max_in_flight

    @max_in_flight.setter
    def max_in_flight(self, most: int) -> None:
        self._engine.max_in_flight = most

    @property
    def in_flight(self) -> int:
        """Probes with an open socket."""
        return self._engine.in_flight

    @property
    def waiting(self) -> int:
        """Probes that wait for one of `max_in_flight` places."""
        return self._engine.waiting

    @property
    def next_wake(self) -> float:
        """When the next tick is due, on the clock; in the past when the loop stands still. Infinity: nothing to do."""
        return self._armed_for

    async def run(self) -> None:
        """Run until cancelled. Raises what escapes a probe or a tick: a fault of this program, never a server's."""
        self._loop = asyncio.get_running_loop()
        self._failure = self._loop.create_future()
        self._engine.open(self._loop, self._fail)
        self._arm()
        try:
            await self._failure
        finally:
            self.close()

    def _fail(self, error: Exception) -> None:
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)

    def _tick_of_loop(self) -> None:
        try:
            self.tick()
        except Exception as error:  # noqa: BLE001  # handed on to `run`
            self._fail(error)

    def close(self) -> None:
        """Start no more probes and drop those under way. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._loop = None
        self._jobs.clear()
        self._engine.close()

    def update(self, probes: Iterable[Probe[Key]], dropped: Iterable[Key] = ()) -> None:
        """Take these up and drop those; all others go on. A probe known by its key keeps its turn.

        A new one gets an early first turn.
        """
        for key in dropped:
            self._jobs.pop(key).sink = None
        new = []
        for probe in probes:
            job = self._jobs.get(probe.key)
            if job is not None:
                job.sink, job.target = probe.sink, probe.target
            else:
                new.append(probe)
        spread_s = max(FIRST_SPREAD_S, len(new) / FIRST_PROBES_PER_S)
        now = self._clock()
        for probe in new:
            share = stable_share(probe.key)
            due = now + share * min(probe.interval_s, spread_s)
            self._jobs[probe.key] = job = _Job(self, probe, share * probe.interval_s, due)
            self._enqueue(job, due)
        self._arm()

    def take_worst_lag(self) -> float:
        """Return the longest lag of a start since the last call, seconds."""
        worst_s, self._worst_lag_s = self._worst_lag_s, 0.0
        return worst_s

    def note_lag(self, lag_s: float) -> None:
        """Measure a start that came so late; one before its time (its tick begins earlier) is on time."""
        if lag_s < 0.0:
            lag_s = 0.0
        elif lag_s > self._worst_lag_s:
            self._worst_lag_s = lag_s
        self._observe_lag(lag_s)

    def make_up(self, job: _Job) -> None:
        """Give a job a turn now, for one that it missed."""
        self._enqueue(job, self._clock())
        self._arm_earlier()

    def tick(self) -> None:
        """End overdue probes and start due ones, as many as hold the loop up for some milliseconds; then again soon.

        Called by the loop; tests call it by hand.
        """
        now = self._clock()
        self._note_late(now)
        self._armed_for = -math.inf  # nobody is to arm before the end
        late_s, self._late_s = self._late_s, 0.0
        self._observer.loop_lag(late_s)
        self._engine.tick(late_s)
        is_behind = bool(self._turn_ticks) and self._turn_ticks[0] * TICK_S < now - BEHIND_S
        end = self._clock() + (LONG_SLICE_S if is_behind else SLICE_S)
        is_over = False
        while not is_over and self._turn_ticks and self._turn_ticks[0] * TICK_S <= now:
            turns = self._turns[self._turn_ticks[0]]
            while turns and not is_over:
                self._take_turn(turns.pop(), now)
                is_over = self._clock() >= end
            if not turns:
                del self._turns[heapq.heappop(self._turn_ticks)]
        self._arm()

    def _take_turn(self, job: _Job, now: float) -> None:
        if job.sink is None:
            return
        due = job.due
        if job.extra:
            # The one for the missed turn. It may be met in its regular place; the other of the two then stands in.
            job.extra = False
            due = now
        else:
            interval_s = job.interval_s
            regular = job.regular + interval_s
            if job.is_first or regular <= now:
                # Not less than half an interval after an early first turn: two answers in one hiccup are one.
                regular = next_due(now + interval_s / 2 if job.is_first else now, interval_s, regular)
                job.is_first = False
            job.regular = regular
            job.due = regular + self._random() * JITTER_SHARE * interval_s
            self._enqueue(job, job.due)
        if job.running:
            job.missed = True
            self._observer.skipped()
            return
        job.running = True
        job.turn = due
        self._engine.start(job)

    def _enqueue(self, job: _Job, due: float) -> None:
        tick = math.ceil(due / TICK_S)
        turns = self._turns.get(tick)
        if turns is None:
            self._turns[tick] = [job]
            heapq.heappush(self._turn_ticks, tick)
        else:
            turns.append(job)

    def _arm_earlier(self) -> None:
        if self._next_wake() < self._armed_for:
            self._arm()

    def _next_wake(self) -> float:
        due = self._turn_ticks[0] * TICK_S if self._turn_ticks else math.inf
        tick = self._engine.next_tick
        return due if tick is None else min(due, tick)

    def _note_late(self, now: float) -> None:
        """Remember how late the tick is that was asked for: asked for anew, it would seem to be in time."""
        if math.isfinite(self._armed_for):
            self._late_s = max(self._late_s, now - self._armed_for)

    def _arm(self) -> None:
        """Ask the loop to call `tick` at the next turn or deadline, whichever comes first."""
        now = self._clock()
        self._note_late(now)
        # What is due already has its place right after the sockets' turn; it is not late before then.
        due = self._armed_for = max(self._next_wake(), now)
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due != math.inf:
            self._timer = self._loop.call_at(due, self._tick_of_loop)


def stable_share(key: Hashable) -> float:
    """Return a share in [0, 1) that depends on the key alone, not on this process (unlike `hash`)."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def next_due(now: float, interval_s: float, phase: float) -> float:
    """Return the first time after `now` that is `phase` plus a whole number of intervals."""
    turns = math.floor((now - phase) / interval_s) + 1
    return phase + turns * interval_s
