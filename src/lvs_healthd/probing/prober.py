"""Chooses who runs the probes: this process itself or worker processes. Only this file knows of both."""

import random
from collections.abc import Callable, Iterable
from typing import Protocol

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.events.kinds import Event
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.probe import Probe
from lvs_healthd.probing.scheduler import ScheduleObserver, Scheduler
from lvs_healthd.probing.workers.pool import Pool


class Prober(Protocol):
    """Runs probes and hands each outcome to the probe's sink."""

    max_in_flight: int
    """The maximum number of sockets open at once. A new value takes effect with the next `update` at the latest."""

    @property
    def next_wake(self) -> float:
        """When the prober is due to act next, on the clock. A time in the past means that the event loop is blocked."""

    @property
    def in_flight(self) -> int:
        """How many probes have an open socket."""

    @property
    def waiting(self) -> int:
        """How many probes wait because `max_in_flight` sockets are open already."""

    @property
    def kept(self) -> int:
        """How many connections stay open from one probe to the next."""

    @property
    def workers(self) -> int:
        """How many processes run probes now."""

    async def run(self) -> None:
        """Run until cancelled. Raises any fault of this program, which must end the daemon."""

    def close(self) -> None:
        """Start no more probes and drop those under way. May be called twice."""

    def update(self, probes: Iterable[Probe[AnyCheck]], dropped: Iterable[AnyCheck] = ()) -> None:
        """Add or replace `probes`, and drop those with the keys in `dropped`. All other probes continue unchanged.

        A probe whose key is already known keeps its place in the schedule.
        """

    def pace(self, key: AnyCheck, pace_s: float) -> None:
        """Run a probe every `pace_s` seconds from now on. A probe that is not known is ignored."""

    def take_worst_lag(self) -> float:
        """Return how many seconds late, at worst, a probe has started since the last call."""


def prober(
    workers: int,
    *,
    clock: Callable[[], float],
    observer: ScheduleObserver,
    emit: Callable[[Event], None],
    max_in_flight: int,
) -> Prober:
    """Return a prober for the configured number of processes.

    workers: how many processes run probes. With 1, this process runs them itself.
    clock: `time.monotonic`, which is also the event loop's clock.
    observer: receives measurements of the schedule.
    emit: receives the events.
    max_in_flight: the maximum number of sockets open at once, in all processes together.
    """
    if workers == 1:
        engine = Engine(clock=clock, max_in_flight=max_in_flight)
        return Scheduler(engine, clock=clock, random=random.random, observer=observer)
    return Pool(workers, clock=clock, observer=observer, emit=emit, max_in_flight=max_in_flight)
