"""Who runs the probes: this process itself, or worker processes. The one place that knows of both."""

import random
from collections.abc import Callable, Iterable
from typing import Protocol

from lvs_healthd.config.model import AnyCheck
from lvs_healthd.events.kinds import Event
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.scheduler import Probe, ScheduleObserver, Scheduler
from lvs_healthd.probing.workers.pool import Pool


class Prober(Protocol):
    """Runs probes and hands each outcome to the probe's sink."""

    max_in_flight: int
    """Bounds the sockets open at once; a new value holds from the next `update` on at the latest."""

    @property
    def next_wake(self) -> float:
        """When it does something next, on the clock; in the past when the loop stands still."""

    @property
    def in_flight(self) -> int:
        """Probes with an open socket."""

    @property
    def waiting(self) -> int:
        """Probes that wait for one of `max_in_flight` places."""

    @property
    def workers(self) -> int:
        """How many processes run probes at present."""

    async def run(self) -> None:
        """Run until cancelled. Raises what must end the daemon: a fault of this program."""

    def close(self) -> None:
        """Start no more probes and drop those under way. May be called twice."""

    def update(self, probes: Iterable[Probe[AnyCheck]], dropped: Iterable[AnyCheck] = ()) -> None:
        """Take these up and drop those; all others go on. A probe known by its key keeps its turn."""

    def take_worst_lag(self) -> float:
        """Return the longest lag of a start since the last call, seconds."""


def prober(
    workers: int,
    *,
    clock: Callable[[], float],
    observer: ScheduleObserver,
    emit: Callable[[Event], None],
    max_in_flight: int,
) -> Prober:
    """Return what runs the probes in so many processes; a single one is the caller's own.

    `clock` is `time.monotonic`, which the loop's own is too.
    """
    if workers == 1:
        engine = Engine(clock=clock, max_in_flight=max_in_flight)
        return Scheduler(engine, clock=clock, random=random.random, observer=observer)
    return Pool(workers, clock=clock, observer=observer, emit=emit, max_in_flight=max_in_flight)
