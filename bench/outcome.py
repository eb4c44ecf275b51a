"""What a scenario brings home: claims with their targets, tables, plots. Values; `report` and `plots` show them."""

from collections.abc import Sequence
from typing import NamedTuple


class MeasurementError(Exception):
    """What was to be measured did not happen, so there is no figure; the message says what happened instead."""


class Claim(NamedTuple):
    """One line of the summary: what was found, what stands beside it, and whether the target is met."""

    what: str
    measured: str
    beside: str
    """The peer's figure and the floor's, from the same run."""
    target: str
    holds: bool | None
    """None: a figure without a target."""


class Table(NamedTuple):
    """A table of the details."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


class Series(NamedTuple):
    """One line of a plot, or one group of bars: with `low` and `high` the spread is drawn as well."""

    label: str
    x: tuple[float | str, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()


class Plot(NamedTuple):
    """A picture. Plots of one name from several scenarios become one, series of one label are joined."""

    name: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    bars: bool = False
    x_log: bool = False
    y_log: bool = False
    limit: float | None = None
    """Where a target lies on the y axis."""


class Outcome(NamedTuple):
    """All that one scenario found."""

    claims: Sequence[Claim] = ()
    tables: Sequence[Table] = ()
    plots: Sequence[Plot] = ()
    notes: Sequence[str] = ()


def join_plots(plots: Sequence[Plot]) -> list[Plot]:
    """Make one plot of those with the same name."""
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
