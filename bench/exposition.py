"""Reads Prometheus's text format: samples, sums, and what a histogram shows about a quantile. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


class Sample(NamedTuple):
    """One line of a scrape."""

    name: str
    labels: dict[str, str]
    value: float


class Buckets(NamedTuple):
    """A histogram: cumulative counts by upper bound, ascending; the last bound is infinity."""

    counts: dict[float, float]

    def since(self, before: "Buckets") -> "Buckets":
        """Return the observations since an earlier scrape."""
        return Buckets({bound: count - before.counts.get(bound, 0.0) for bound, count in self.counts.items()})

    @property
    def total(self) -> float:
        """How many observations there were."""
        return self.counts[math.inf]

    def bound(self, share: float) -> float:
        """Return the smallest bound that at least this share of the observations (0 to 1) did not exceed.

        A histogram shows no more about a quantile. Raises `ValueError` when the histogram is empty.
        """
        if not self.total:
            raise ValueError("an empty histogram has no quantiles")
        # The rounding is needed: as floats, 0.999 * 1000 is more than 999.
        needed = math.ceil(round(share * self.total, 6))
        return next(bound for bound, count in self.counts.items() if count >= needed)


class Scrape(NamedTuple):
    """All samples of one scrape."""

    samples: list[Sample]

    @classmethod
    def parse(cls, text: str) -> "Scrape":
        """Parse the text of a scrape. Raises `ValueError` for a line that is not a sample."""
        return cls(list(_samples(text)))

    def sum(self, name: str, **labels: str) -> float:
        """Add up the samples of a name that carry these labels."""
        return sum(sample.value for sample in self._of(name, labels))

    def values(self, name: str, **labels: str) -> list[float]:
        """Return the samples of a name that carry these labels."""
        return [sample.value for sample in self._of(name, labels)]

    def buckets(self, name: str) -> Buckets:
        """Return a histogram, summed over all its labels."""
        counts: dict[float, float] = {}
        for sample in self._of(f"{name}_bucket", {}):
            bound = float(sample.labels["le"])
            counts[bound] = counts.get(bound, 0.0) + sample.value
        return Buckets(dict(sorted(counts.items())))

    def _of(self, name: str, labels: dict[str, str]) -> Iterator[Sample]:
        for sample in self.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                yield sample


def _samples(text: str) -> Iterator[Sample]:
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        match = _SAMPLE.match(line)
        if match is None:
            raise ValueError(f"not a sample: {line!r}")
        name, labels, value = match.groups()
        yield Sample(name, dict(_LABEL.findall(labels or "")), float(value))
