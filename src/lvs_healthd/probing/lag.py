"""Reports probes that start late, at most once a minute so as not to flood the log."""

import math
from collections.abc import Callable

from lvs_healthd.events.kinds import Event, SchedulerLag
from lvs_healthd.probing.prober import Prober

LAG_S = 0.5
"""How late a probe must start to be worth a log line, seconds."""
REPORT_S = 60.0
"""The minimum time between two log lines about late starts, seconds."""


class LagReporter:
    """Emits `SchedulerLag` when `prober` starts probes late."""

    def __init__(self, prober: Prober, emit: Callable[[Event], None]) -> None:
        self._prober = prober
        self._emit = emit
        self._reported = -math.inf

    def turn(self, now: float) -> None:
        """Emit an event if a start since the last call was too late, unless one was emitted recently.

        now: monotonic time, seconds.
        """
        worst_s = self._prober.take_worst_lag()
        if worst_s > LAG_S and now - self._reported >= REPORT_S:
            self._reported = now
            self._emit(
                SchedulerLag(lag_s=round(worst_s, 3), waiting=self._prober.waiting, in_flight=self._prober.in_flight)
            )
