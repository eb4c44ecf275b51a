"""Metrics for Prometheus. `recorder` counts things as they happen; `sampled` reads the daemon's state at each scrape.

docs/metrics.md describes every metric.
"""

from lvs_healthd.metrics.recorder import Metrics

__all__ = ["Metrics"]
