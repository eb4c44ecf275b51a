"""The result of a scenario as values: claims with their targets, tables and plots. `report` and `plots` show them."""

from collections.abc import Sequence
from typing import NamedTuple


class MeasurementError(Exception):
    """Something could not be measured, so there is no figure. The message says what happened instead."""


class Claim(NamedTuple):
    """One line of the summary: what was found, what it is compared with, and whether the target is met."""

    what: str
    measured: str
    beside: str
    """The peer's figure and the floor's, from the same run."""
    target: str
    holds: bool | None
    """Whether the target is met; None for a figure without a target."""


class Table(NamedTuple):
    """A table with details."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Series(NamedTuple):
    """One line of a plot or one group of bars. With `low` and `high`, the spread is drawn as well."""

    label: str
    x: tuple[float | str, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Plot(NamedTuple):
    """A picture. Plots with the same name become one, and their series with the same label are joined."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    bars: bool = False
    x_log: bool = False
    y_log: bool = False
    limit: float | None = None
    """The position of a target on the y axis."""


class Outcome(NamedTuple):
    """Everything that one scenario found."""

    claims: Sequence[Claim] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    notes: Sequence[str] = ()


def join_plots(plots: Sequence[Plot]) -> list[Plot]:
    """Merge the plots that have the same name into one plot."""
    joined: dict[str, Plot] = {}
    for plot in plots:
        known = joined.get(plot.name)
        joined[plot.name] = plot if known is None else known._replace(series=_join(known.series + plot.series))
    return list(joined.values())


def _join(series: tuple[Series, ...]) -> tuple[Series, ...]:
    joined: dict[str, Series] = {}
    for one in series:
        known = joined.get(one.label)
        joined[one.label] = (
            one
            if known is None
            else Series(one.label, known.x + one.x, known.y + one.y, known.low + one.low, known.high + one.high)
        )
    return tuple(joined.values())
