"""A pool of real worker processes, and a record of what it reports."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, TcpCheck
from lvs_healthd.events.kinds import Event, WorkerFailed
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind
from lvs_healthd.probes.targets import target
from lvs_healthd.probing.probe import Probe
from lvs_healthd.probing.workers.link import COMMAND
from lvs_healthd.probing.workers.pool import Pool

PATIENCE_S = 60.0


class Sink:
    """Notes what one probe found."""

    def __init__(self, changed: asyncio.Event) -> None:
        self._changed = changed
        self.outcomes: list[Outcome] = []

    def outcome(self, outcome: Outcome, course: Course) -> None:
        self.outcomes.append(outcome)
        self._changed.set()

    @property
    def unsure(self) -> list[Outcome]:
        return [each for each in self.outcomes if each.kind is OutcomeKind.UNSURE]


class Bench:
    """Runs a pool, observes it and records its events."""

    def __init__(self, workers: int, command: tuple[str, ...]) -> None:
        self.changed = asyncio.Event()
        self.events: list[Event] = []
        self.lags: list[float] = []
        self.loop_lags: list[float] = []
        self.warnings = 0
        self.sinks: dict[AnyCheck, Sink] = {}
        self.pool = Pool(
            workers,
            clock=asyncio.get_running_loop().time,
            observer=self,
            emit=self._emit,
            max_in_flight=100,
            command=command,
        )
        self.lag = self.lags.append
        self.loop_lag = self.loop_lags.append

    def skipped(self) -> None:
        pass

    def warned(self) -> None:
        self.warnings += 1

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self.changed.set()

    @property
    def failures(self) -> list[WorkerFailed]:
        return [event for event in self.events if isinstance(event, WorkerFailed)]

    @property
    def pids(self) -> list[int]:
        """The ids of the current processes, in the order of their places."""
        return [place._link.pid if place._link is not None else 0 for place in self.pool._places]

    def sink(self, check: AnyCheck) -> Sink:
        return self.sinks.setdefault(check, Sink(self.changed))

    def update(self, checks: Iterable[AnyCheck], dropped: Iterable[AnyCheck] = ()) -> None:
        self.pool.update([Probe(each, target(each), each.interval, self.sink(each)) for each in checks], dropped)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until an outcome or an event makes the condition true."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def until_all(self, status: OutcomeKind) -> None:
        """Wait until the newest outcome of every probe is of this kind."""
        await self.until(
            lambda: all(sink.outcomes and sink.outcomes[-1].kind is status for sink in self.sinks.values())
        )


@contextlib.asynccontextmanager
async def running(
    checks: Iterable[AnyCheck] = (), *, workers: int = 1, command: tuple[str, ...] = COMMAND
) -> AsyncIterator[Bench]:
    """Run a pool with these probes, and raise what it raises."""
    bench = Bench(workers, command)
    bench.update(checks)
    run = asyncio.create_task(bench.pool.run())
    try:
        yield bench
    finally:
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run


def tcp(port: int, *, interval_s: float = 0.1) -> TcpCheck:
    return TcpCheck(
        name="", rise=0, fall=0, interval=Seconds(interval_s), timeout=Seconds(5.0), address="127.0.0.1", port=port
    )


def closed_ports(count: int, *, interval_s: float = 0.1) -> list[TcpCheck]:
    """Return checks of reserved ports, on which nothing listens."""
    return [tcp(port, interval_s=interval_s) for port in range(1, count + 1)]
