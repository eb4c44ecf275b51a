"""What every probe is counted with. `metrics` has the counter."""

from typing import Protocol

from lvs_healthd.probes.outcome import Outcome


class Tally(Protocol):
    """Counts the probes of one service and check type, for the metrics."""

    def add(self, outcome: Outcome, latency_s: float, times: int = 1) -> None:
        """Count one probe, once for each of the `times` checks that share it."""
