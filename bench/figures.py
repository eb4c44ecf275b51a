"""Statistics of repeated runs: medians with their spread, ratios of paired runs, and slopes. Pure."""

import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Figure(NamedTuple):
    """The values of repeated runs, in the order of the runs."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The value to quote."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)

    def scaled(self, factor: float) -> "Figure":
        """Return the same figure in another unit."""
        return Figure(tuple(value * factor for value in self.values))

    def over(self, other: "Figure") -> "Figure":
        """Return the ratios of paired runs. The machine was equally fast for both sides of a pair.

        Raises `ValueError` when the numbers of runs differ.
        """
        return Figure(tuple(mine / theirs for mine, theirs in zip(self.values, other.values, strict=True)))

    def text(self, unit: str = "") -> str:
        """Write the median, and the spread if there is more than one value: `68 µs (64-71)`."""
        quoted = f"{number(self.median)} {unit}".rstrip()
        if len(self.values) == 1:
            return quoted
        return f"{quoted} ({number(self.low)}-{number(self.high)})"


class Line(NamedTuple):
    """A straight line through points, by least squares."""

    slope: float
    intercept: float
    worst_share: float
    """The largest distance of a point from the line, as a share of the largest value: 0 means perfectly straight."""


def number(value: float) -> str:
    """Write a number with three significant digits and no exponent."""
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def figure(*values: float) -> Figure:
    """Make a figure from these values."""
    return Figure(values)


def quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the values (0 to 1) does not exceed (nearest rank).

    Raises `ValueError` when there are no values.
    """
    if not values:
        raise ValueError("no values, no quantile")
    ordered = sorted(values)
    rank = max(1, -int(-share * len(ordered) // 1))
    return ordered[rank - 1]


def straight_line(points: Sequence[tuple[float, float]]) -> Line:
    """Fit a line through (x, y) points. Raises `statistics.StatisticsError` for fewer than two different x."""
    xs, ys = zip(*points, strict=True)
    slope, intercept = statistics.linear_regression(xs, ys)
    worst = max(abs(y - (slope * x + intercept)) for x, y in points)
    largest = max(abs(y) for y in ys)
    return Line(slope, intercept, worst / largest if largest else 0.0)
