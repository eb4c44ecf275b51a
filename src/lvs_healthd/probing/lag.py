"""Tells when probes start late, seldom enough for a log."""

import math
from collections.abc import Callable

from lvs_healthd.events.kinds import Event, SchedulerLag
from lvs_healthd.probing.prober import Prober

LAG_S = 0.5
"""A start later than this is worth a log line, at most one in `REPORT_S`."""
REPORT_S = 60.0


class LagReporter:
    """Looks at how late `prober` was since the last look."""

    def __init__(self, prober: Prober, emit: Callable[[Event], None]) -> None:
        self._prober = prober
        self._emit = emit
        self._reported = -math.inf

    def turn(self, now: float) -> None:
        """Look, and tell if there is need; `now` is monotonic, seconds."""
        worst_s = self._prober.take_worst_lag()
        if worst_s > LAG_S and now - self._reported >= REPORT_S:
            self._reported = now
            self._emit(
                SchedulerLag(lag_s=round(worst_s, 3), waiting=self._prober.waiting, in_flight=self._prober.in_flight)
            )
