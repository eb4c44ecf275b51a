"""A scheduler that is driven by hand, for tests."""

import socket
from collections.abc import Callable, Hashable

from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.outcome import Course, Outcome, up
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.flight import Run
from lvs_healthd.probing.probe import Probe
from lvs_healthd.probing.scheduler import Scheduler


class FakeEngine(Engine):
    """Notes what is started and lets the test end it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock=clock)
        self.under_way: list[Run] = []
        self.answers_at_once = True

    def start(self, run: Run) -> None:
        run.started(self._clock())
        if self.answers_at_once:
            run.ended(up("ok"), Course(0.0))
        else:
            self.under_way.append(run)


class Listening:
    """Notes when a probe's outcomes come."""

    def __init__(self, key: Hashable, note: Callable[[Hashable], None]) -> None:
        self._key = key
        self._note = note

    def outcome(self, outcome: Outcome, course: Course) -> None:
        self._note(self._key)


class Bench:
    def __init__(self, *, jitter: float = 0.0) -> None:
        self.now = 5000.0
        self.engine = FakeEngine(lambda: self.now)
        self.starts: list[tuple[float, Hashable]] = []
        self.lags: list[float] = []
        self.late: list[float] = []
        """How late each tick was."""
        self.skips = 0
        self.warnings = 0
        self.keys: tuple[str, ...] = ()
        self.cost_s = 0.0
        """How long a start takes."""
        self.came: Callable[[Hashable], None] = lambda _: None
        """Called with the key of each probe whose outcome comes."""
        bench = self

        class Watching:
            def loop_lag(self, seconds: float) -> None:
                bench.late.append(seconds)

            def lag(self, seconds: float) -> None:
                bench.lags.append(seconds)

            def skipped(self) -> None:
                bench.skips += 1

            def warned(self) -> None:
                bench.warnings += 1

        self.scheduler: Scheduler[str] = Scheduler(
            self.engine, clock=lambda: self.now, random=lambda: jitter, observer=Watching()
        )

    def _note(self, key: Hashable) -> None:
        self.starts.append((self.now, key))
        self.now += self.cost_s
        self.came(key)

    def probes(self, *keys: str, interval_s: float = 1.0) -> None:
        target = Target(socket.SOCK_STREAM, socket.AF_INET, ("127.0.0.1", 1), 1.0, begin=lambda: None)  # type: ignore[arg-type,return-value]
        dropped = [key for key in self.keys if key not in keys]
        self.keys = keys
        self.scheduler.update([Probe(key, target, interval_s, Listening(key, self._note)) for key in keys], dropped)

    def run(self, seconds: float) -> None:
        """Let the loop call as it would, exactly on time."""
        end = self.now + seconds
        while self.scheduler.next_wake <= end:
            self.now = max(self.now, self.scheduler.next_wake)
            self.scheduler.tick()
        self.now = end

    def times(self, key: str) -> list[float]:
        return [at for at, each in self.starts if each == key]
