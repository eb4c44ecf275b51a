"""The daemon's side of the probe workers: shares out the probes, passes on outcomes, and replaces failed workers.

A worker that ends, hangs or sends nonsense is a fault on our own side. Each of its probes is unsure until the worker
that replaces it reports, and no server is removed because of that. A hash of the check decides which worker runs a
probe, so a probe stays with its worker over a reload.
"""

import asyncio
import itertools
import math
import zlib
from array import array
from collections.abc import Callable, Iterable

from lvs_healthd.config.check_model import AnyCheck, ExecCheck
from lvs_healthd.events.kinds import Event
from lvs_healthd.probes.targets import run_of
from lvs_healthd.probing.probe import Probe
from lvs_healthd.probing.scheduler import ScheduleObserver
from lvs_healthd.probing.workers.link import COMMAND
from lvs_healthd.probing.workers.place import Place
from lvs_healthd.probing.workers.protocol import Assigned, Report, packed

WATCH_S = 0.5
"""How often the pool looks for silent workers, seconds."""


class Pool:
    """Runs probes in `count` worker processes. It is a `Prober`, like `Scheduler`.

    clock: `time.monotonic`, which is also the event loop's clock.
    observer: receives the measurements of all workers.
    emit: receives the events.
    command: starts a worker process.
    """

    def __init__(
        self,
        count: int,
        *,
        clock: Callable[[], float],
        observer: ScheduleObserver,
        emit: Callable[[Event], None],
        max_in_flight: int,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self.max_in_flight = max_in_flight
        """The maximum number of sockets open at once in all workers, which share it equally.

        A new value takes effect with `update`.
        """
        self._clock = clock
        self._observer = observer
        self._numbers = itertools.count()
        self._placed: dict[AnyCheck, tuple[Place, int]] = {}
        """Where each probe runs, and under which number."""
        self._worst_lag_s = 0.0
        self._next_watch = math.inf
        self._places = [Place(number + 1, self._noted, clock, emit, command) for number in range(count)]

    @property
    def next_wake(self) -> float:
        """When the pool next checks its workers, on the clock. If that is past, the daemon's event loop is blocked."""
        return self._next_watch

    @property
    def workers(self) -> int:
        """How many workers are alive."""
        return sum(place.alive for place in self._places)

    @property
    def in_flight(self) -> int:
        """How many probes have an open socket in all workers, as last reported."""
        return sum(place.in_flight for place in self._places)

    @property
    def waiting(self) -> int:
        """How many probes wait in all workers for a free socket, as last reported."""
        return sum(place.waiting for place in self._places)

    @property
    def kept(self) -> int:
        """How many connections all workers keep open, as last reported."""
        return sum(place.kept for place in self._places)

    async def run(self) -> None:
        """Run until cancelled, and leave no process behind.

        Raises any fault of this program. A worker that ends is not such a fault: it is replaced.
        """
        self._next_watch = self._clock() + WATCH_S
        async with asyncio.TaskGroup() as group:
            for place in self._places:
                group.create_task(place.keep(), name=f"probe worker {place.number}")
            group.create_task(self._watch(), name="watch over probe workers")

    def close(self) -> None:
        """Let all workers end, without waiting for them. May be called twice.

        Cancel `run` first, because `run` waits for the workers and kills those that do not end.
        """
        for place in self._places:
            place.close()

    def update(self, probes: Iterable[Probe[AnyCheck]], dropped: Iterable[AnyCheck] = ()) -> None:
        """Add or replace `probes`, and drop those with the keys in `dropped`. All other probes continue unchanged.

        A probe whose key is already known keeps its worker and its place in the schedule.
        """
        gone: dict[Place, list[int]] = {place: [] for place in self._places}
        new: dict[Place, list[Assigned]] = {place: [] for place in self._places}
        for key in dropped:
            place, number = self._placed.pop(key)
            place.drop(number)
            gone[place].append(number)
        for probe in probes:
            known = self._placed.get(probe.key)
            if known is None:
                number = next(self._numbers)
                place = self._places[zlib.crc32(packed(_placing(probe.key))) % len(self._places)]
                self._placed[probe.key] = place, number
                new[place].append(Assigned(number, probe.key))
            else:
                place, number = known
            place.add(number, probe)
        for place in self._places:
            place.max_in_flight = max(1, self.max_in_flight // len(self._places))
            place.send(new[place], gone[place])

    def pace(self, key: AnyCheck, pace_s: float) -> None:
        """Run a probe every `pace_s` seconds from now on. A probe that is not known is ignored."""
        placed = self._placed.get(key)
        if placed is not None:
            place, number = placed
            place.pace(number, pace_s)

    def take_worst_lag(self) -> float:
        """Return how many seconds late, at worst, a probe has started, as reported since the last call."""
        worst_s, self._worst_lag_s = self._worst_lag_s, 0.0
        return worst_s

    def _noted(self, report: Report) -> None:
        """Pass a worker's measurements to the observer."""
        observer = self._observer
        lags = array("f", report.lags)
        if lags:
            self._worst_lag_s = max(self._worst_lag_s, *lags)
        for lag_s in lags:
            observer.lag(lag_s)
        for lag_s in array("f", report.loop_lags):
            observer.loop_lag(lag_s)
        for _ in range(report.skipped):
            observer.skipped()
        for _ in range(report.warned):
            observer.warned()

    async def _watch(self) -> None:
        """Look for silent workers, and measure the lag of this process's event loop. Each worker measures its own."""
        while True:
            due = self._next_watch
            await asyncio.sleep(due - self._clock())
            late_s = max(0.0, self._clock() - due)
            self._observer.loop_lag(late_s)
            self._next_watch = self._clock() + WATCH_S
            for place in self._places:
                # If this process stood still, perhaps the whole machine did, so give the workers more time.
                place.watch(excused=late_s > WATCH_S)


def _placing(check: AnyCheck) -> AnyCheck:
    """Return what decides who runs a probe. Probes that share a run go to the same worker."""
    return (run_of(check) if isinstance(check, ExecCheck) else None) or check
