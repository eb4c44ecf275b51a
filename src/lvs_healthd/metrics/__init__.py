"""Metrics for Prometheus: what is counted as it happens (`recorder`) and what is read at each scrape (`sampled`).

Every metric is described in docs/metrics.md.
"""

from lvs_healthd.metrics.recorder import Metrics

__all__ = ["Metrics"]
