"""Reports probes that start late, at most once a minute so as not to flood the log."""

import math
from collections.abc import Callable

from lvs_healthd.events.kinds import Event, SchedulerLag
from lvs_healthd.probing.prober import Prober

LAG_S = 0.5
"""How late a probe must start to be worth a log line, seconds."""
STANDS_S = 3.0
"""For how long after a late start this daemon counts as lagging, seconds."""
REPORT_S = 60.0
"""The minimum time between two log lines about late starts, seconds."""


class LagReporter:
    """Emits `SchedulerLag` when `prober` starts probes late."""

    def __init__(self, prober: Prober, emit: Callable[[Event], None]) -> None:
        self._prober = prober
        self._emit = emit
        self._reported = -math.inf
        self._late_at = -math.inf
        self._late_s = 0.0

    def standing(self, now: float) -> tuple[str, ...]:
        """Return in words that this daemon lags now; () if it does not.

        now: monotonic time, seconds.
        """
        if now - self._late_at > STANDS_S:
            return ()
        return (f"this daemon starts its probes {self._late_s:.1f}s late (see scheduler.lag in the log)",)

    def turn(self, now: float) -> None:
        """Emit an event if a start since the last call was too late, unless one was emitted recently.

        now: monotonic time, seconds.
        """
        worst_s = self._prober.take_worst_lag()
        if worst_s > LAG_S:
            self._late_at, self._late_s = now, worst_s
        if worst_s > LAG_S and now - self._reported >= REPORT_S:
            self._reported = now
            self._emit(
                SchedulerLag(lag_s=round(worst_s, 3), waiting=self._prober.waiting, in_flight=self._prober.in_flight)
            )
