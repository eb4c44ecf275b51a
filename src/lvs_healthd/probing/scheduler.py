"""Decides when each probe runs, so that starts are spread evenly and no probe runs twice at once.

A probe has one turn in each interval. Its phase, which is the offset of its turns within the interval, is a stable hash
of its key, counted on the monotonic clock. So a restart keeps the spread. Probes whose turns fall into the same tick
start together.

A probe that is still under way at its next turn is not started a second time. The turn counts as skipped, and the probe
gets an extra turn as soon as it has ended. So failures follow each other at the interval or the timeout, whichever is
longer.

A probe may have another pace than its interval for a while (`Scheduler.pace`). With a slower pace, it skips whole
turns. With a faster one it gets hurried turns between its regular ones, which it keeps (`probing.hurry` decides who).

The end of a connection that was kept may be an early warning. It starts a probe at once, outside the ticks, and further
ones follow as long as they confirm it (`early_warnings`).
"""

import asyncio
import hashlib
import heapq
import math
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, Protocol

from lvs_healthd.probing.deadlines import TICK_S
from lvs_healthd.probing.early_warnings import EarlyWarnings
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.groups import Groups
from lvs_healthd.probing.hurry import Hurry
from lvs_healthd.probing.job import Job, turns_of
from lvs_healthd.probing.probe import Key, Probe
from lvs_healthd.runtime.pace import LONG_SLICE_S, SLICE_S

JITTER_SHARE = 0.02
"""Each start is delayed by up to this share of the interval, so that several directors do not probe in lockstep."""

BEHIND_S = 2 * TICK_S
"""If a due probe has waited for more seconds than this, ticks take longer slices."""

FIRST_PROBES_PER_S = 2000
"""The maximum number of first turns per second. A new probe's first turn comes early, not after a whole interval."""

FIRST_SPREAD_S = 0.5
"""The minimum time over which the first turns of new probes are spread, seconds."""


class ScheduleObserver(Protocol):
    """Receives measurements of the schedule itself, for the metrics."""

    def lag(self, seconds: float) -> None:
        """Note how many seconds after its due time a probe started."""

    def loop_lag(self, seconds: float) -> None:
        """Note how many seconds late a tick came."""

    def skipped(self) -> None:
        """Note a turn that was skipped because the probe was still under way from the turn before."""

    def warned(self) -> None:
        """Note an early warning: a kept connection ended without a word, and a probe is started at once."""


class Scheduler(Generic[Key]):
    """Starts probes on an engine, and hands each outcome to the probe's sink.

    clock: `time.monotonic`, which is also the event loop's clock.
    random: returns floats in [0, 1), for the jitter.
    observer: receives measurements of the schedule.
    """

    workers = 1
    """How many processes run probes: only this one."""

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
        self._groups = Groups()
        self._jobs: dict[Key, Job] = {}
        self._turns: dict[int, list[Job]] = {}
        self._turn_ticks: list[int] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._failure: asyncio.Future[None] | None = None
        self._hurry: Hurry[Job] = Hurry(clock)
        warnings = EarlyWarnings(clock, random, warned=observer.warned, owe=self._owe, begin=self._begin)
        self.signalled, self.confirm = warnings.signalled, warnings.confirm
        self._armed_for = math.inf
        self._late_s = 0.0
        """How many seconds late the next tick already is."""
        engine.wake = self._arm_earlier
        self._worst_lag_s = 0.0

    @property
    def max_in_flight(self) -> int:
        """The maximum number of sockets open at once."""
        return self._engine.max_in_flight

    @max_in_flight.setter
    def max_in_flight(self, most: int) -> None:
        self._engine.max_in_flight = most

    @property
    def in_flight(self) -> int:
        """How many probes have an open socket."""
        return self._engine.in_flight

    @property
    def kept(self) -> int:
        """How many connections stay open from one probe to the next."""
        return self._engine.kept

    @property
    def waiting(self) -> int:
        """How many probes wait because `max_in_flight` sockets are open already."""
        return self._engine.waiting

    @property
    def next_wake(self) -> float:
        """When the next tick is due, on the clock; infinity if none is. If that is past, the event loop is blocked."""
        return self._armed_for

    async def run(self) -> None:
        """Run until cancelled.

        Raises every exception that escapes a probe or a tick. It is a fault of this program, never of a server.
        """
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
        """Add or replace `probes`, and drop those with the keys in `dropped`. All other probes continue unchanged.

        A probe whose key is already known keeps its place in the schedule. A new one gets an early first turn.
        """
        scheduled, unscheduled = self._groups.replaced(probes, dropped)
        for key in unscheduled:
            gone = self._jobs.pop(key)
            gone.sink = None
            self._engine.forget(gone)
            self._hurry_on(self._hurry.leave(gone))
        new = []
        for probe in scheduled:
            job = self._jobs.get(probe.key)
            if job is not None:
                job.sink, job.target = probe.sink, probe.target
                self._set_pace(job, probe.pace_s or probe.interval_s)
            else:
                new.append(probe)
        spread_s = max(FIRST_SPREAD_S, len(new) / FIRST_PROBES_PER_S)
        now = self._clock()
        for probe in new:
            share = stable_share(probe.key)
            due = now + share * min(probe.interval_s, spread_s)
            self._jobs[probe.key] = job = Job(self, probe, share * probe.interval_s, due)
            self._enqueue(job, due)
            if job.pace_s < job.interval_s:
                self._set_pace(job, job.pace_s)
        self._arm()

    def pace(self, key: Key, pace_s: float) -> None:
        """Run a probe every `pace_s` seconds from now on. A probe that is not known is ignored.

        A pace above the interval is rounded up to whole intervals.
        """
        found = self._groups.paced(key, pace_s)
        if found is not None and (job := self._jobs.get(found.key)) is not None:
            self._set_pace(job, found.pace_s)
            self._arm_earlier()

    def _set_pace(self, job: Job, pace_s: float) -> None:
        before, job.pace_s = turns_of(job), pace_s
        turns = turns_of(job)
        if turns != before and not job.is_first:
            now = self._clock()
            first = next_due(now, job.interval_s, job.regular)
            self._put_regular(job, first + (turns - 1) * job.interval_s)
        if pace_s < job.interval_s:
            self._hurry_on(self._hurry.enter(job, pace_s), job)
            return
        if not job.owed:
            job.extra = math.inf
        self._hurry_on(self._hurry.leave(job))

    def _hurry_on(self, jobs: Iterable[Job], just_found: Job | None = None) -> None:
        """Let jobs hurry that may do so from now on.

        just_found: the job whose outcome has just come; None if there is none.
        """
        for job in jobs:
            if job is just_found and not job.running:
                self.hurry(job)
            elif not job.running and not job.is_first and not job.owed:
                # Hundreds may be admitted at the same moment, so each gets its own place in the pace.
                due = job.turn + job.pace_s
                now = self._clock()
                self._put_hurried(job, due if due > now else next_due(now, job.pace_s, job.regular))

    def take_worst_lag(self) -> float:
        """Return how many seconds late, at worst, a probe has started since the last call."""
        worst_s, self._worst_lag_s = self._worst_lag_s, 0.0
        return worst_s

    def note_lag(self, lag_s: float) -> None:
        """Measure a start that came `lag_s` seconds late. A start before its due time counts as on time."""
        if lag_s < 0.0:
            lag_s = 0.0
        elif lag_s > self._worst_lag_s:
            self._worst_lag_s = lag_s
        self._observe_lag(lag_s)

    def make_up(self, job: Job) -> None:
        """Give a job an extra turn now, to make up for a skipped one."""
        self._owe(job, self._clock())

    def hurry(self, job: Job) -> None:
        """Give a job a hurried turn as soon as its pace allows, if it may hurry and has no extra turn yet."""
        if job in self._hurry and not job.is_first and not job.owed:
            self._put_hurried(job, max(self._clock(), job.turn + job.pace_s))
            self._arm_earlier()

    def _owe(self, job: Job, due: float) -> None:
        job.owed, job.extra = True, due
        self._enqueue(job, due)
        self._arm_earlier()

    def _put_hurried(self, job: Job, due: float) -> None:
        if due < job.extra:
            job.extra = due
            self._enqueue(job, due)

    def tick(self) -> None:
        """End overdue probes and start due ones, for a slice of a few milliseconds. The next tick does what is left.

        The event loop calls this; tests call it by hand.
        """
        now = self._clock()
        self._note_late(now)
        self._armed_for = -math.inf  # until the end, the engine's `wake` must not set the timer
        late_s, self._late_s = self._late_s, 0.0
        self._observer.loop_lag(late_s)
        self._engine.tick(late_s)
        is_behind = bool(self._turn_ticks) and self._turn_ticks[0] * TICK_S < now - BEHIND_S
        end = self._clock() + (LONG_SLICE_S if is_behind else SLICE_S)
        is_over = False
        while not is_over and self._turn_ticks and self._turn_ticks[0] * TICK_S <= now:
            tick = self._turn_ticks[0]
            turns = self._turns[tick]
            while turns and not is_over:
                job = turns.pop()
                if job.sink is not None:
                    # Most turns are regular ones. Others mean nothing if the job was given another one meanwhile.
                    if math.ceil(job.due / TICK_S) == tick:
                        self._take_regular(job, now)
                    elif job.extra != math.inf and math.ceil(job.extra / TICK_S) == tick:
                        self._take_extra(job, now)
                is_over = self._clock() >= end
            if not turns:
                del self._turns[heapq.heappop(self._turn_ticks)]
        self._hurry_on(self._hurry.turn(now))
        self._arm()

    def _take_extra(self, job: Job, now: float) -> None:
        due, job.extra = job.extra, math.inf
        if job.owed:
            self._begin(job, now, 0.0)
        elif job in self._hurry and not job.running:
            if now > due + BEHIND_S:
                self._put_hurried(job, now + job.pace_s)  # regular turns are late, and they go first
            else:
                self._begin(job, due, job.pace_s)

    def _take_regular(self, job: Job, now: float) -> None:
        due, interval_s = job.due, job.interval_s
        regular = job.regular + (interval_s if job.pace_s <= interval_s else turns_of(job) * interval_s)
        if job.is_first or regular <= now:
            # The second turn comes at least half an interval after the early first one, because two probes within
            # the same hiccup prove no more than one.
            regular = next_due(now + interval_s / 2 if job.is_first else now, interval_s, regular)
            job.is_first = False
        # This is `_put_regular`, inlined to save two calls a probe.
        job.regular = regular
        due_next = job.due = regular + self._random() * JITTER_SHARE * interval_s
        turns = self._turns.get(math.ceil(due_next / TICK_S))
        if turns is None:
            self._enqueue(job, due_next)
        else:
            turns.append(job)
        if now < job.turn + job.gap_s:
            return  # a hurried turn was there a moment ago
        if job.running:
            job.missed = True
            self._observer.skipped()
            return
        # And this is `_begin`.
        job.running, job.owed, job.extra, job.turn, job.gap_s = True, False, math.inf, due, 0.0
        self._engine.start(job)

    def _put_regular(self, job: Job, regular: float) -> None:
        """Queue a job's next regular turn. `regular` is its time without jitter."""
        job.regular = regular
        job.due = regular + self._random() * JITTER_SHARE * job.interval_s
        self._enqueue(job, job.due)

    def _begin(self, job: Job, due: float, gap_s: float) -> None:
        job.running, job.owed, job.extra = True, False, math.inf
        job.turn, job.gap_s = due, gap_s
        self._engine.start(job)

    def _enqueue(self, job: Job, due: float) -> None:
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
        """Note how late the tick is for which the timer is set. Setting it again would make that tick seem on time."""
        if math.isfinite(self._armed_for):
            self._late_s = max(self._late_s, now - self._armed_for)

    def _arm(self) -> None:
        """Set the timer, so that the loop calls `tick` at the next turn or deadline, whichever comes first."""
        now = self._clock()
        self._note_late(now)
        # A tick that is already due runs right after the loop has served the sockets. It is late only after that.
        due = self._armed_for = max(self._next_wake(), now)
        if self._loop is None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due != math.inf:
            self._timer = self._loop.call_at(due, self._tick_of_loop)


def stable_share(key: Hashable) -> float:
    """Return a share in [0, 1) that depends on the key alone. Unlike `hash`, it is the same in every process."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def next_due(now: float, interval_s: float, phase: float) -> float:
    """Return the first time after `now` that is `phase` plus a whole number of intervals."""
    turns = math.floor((now - phase) / interval_s) + 1
    return phase + turns * interval_s
