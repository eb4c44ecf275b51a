"""Draws the scenarios' plots. It needs matplotlib from requirements/bench.txt, which only `make bench` installs."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.ticker

mpl.use("Agg")  # before pyplot is imported, which would look for a screen

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from bench.outcome import Plot

_SIZE_INCHES = (8, 4.5)
_DPI = 110
_COLOURS = {
    "lvs-healthd, kept connections": "#2a9d5c",
    "lvs-healthd": "#1f5fa8",
    "measured": "#1f5fa8",
    "HAProxy": "#b5651d",
    "keepalived": "#b5651d",
    "bare loop": "#9a9a9a",
    "straight line": "#9a9a9a",
}
_GROUP_WIDTH = 0.75
_PLAIN = mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.10g}".replace(",", " "))
"""Writes 12 000 and 0.01 instead of 1.2e4 and powers of ten."""


def draw(plots: Sequence[Plot], folder: Path) -> list[Path]:
    """Draw each plot into a file of the folder, and return the files."""
    files = []
    for plot in plots:
        figure, axes = plt.subplots(figsize=_SIZE_INCHES, layout="constrained")
        (_draw_bars if plot.bars else _draw_lines)(axes, plot)
        axes.set_title(plot.title, fontsize=11)
        axes.set_xlabel(plot.x_label)
        axes.set_ylabel(plot.y_label)
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        if plot.limit is not None:
            axes.axhline(plot.limit, color="#c03030", linestyle=":", linewidth=1.5, label="target")
        if len(plot.series) > 1 or plot.limit is not None:
            axes.legend(frameon=False)
        file = folder / f"{plot.name}.png"
        # Without this, the date and the version would make the files of two runs differ.
        figure.savefig(file, dpi=_DPI, metadata={"Software": None})
        plt.close(figure)
        files.append(file)
    return files


def _draw_bars(axes: Axes, plot: Plot) -> None:
    groups = list(dict.fromkeys(str(x) for series in plot.series for x in series.x))
    width = _GROUP_WIDTH / len(plot.series)
    for index, series in enumerate(plot.series):
        places = [groups.index(str(x)) + (index - (len(plot.series) - 1) / 2) * width for x in series.x]
        below = [y - low for y, low in zip(series.y, series.low, strict=True)]
        above = [high - y for y, high in zip(series.y, series.high, strict=True)]
        bars = axes.bar(
            places, series.y, width * 0.94, label=series.label, color=_COLOURS.get(series.label),
            yerr=(below, above), error_kw={"elinewidth": 1, "ecolor": "#303030", "capsize": 2},
        )  # fmt: skip
        axes.bar_label(bars, fmt="%.0f", fontsize=8, padding=2)
    axes.set_xticks(range(len(groups)), groups)


def _draw_lines(axes: Axes, plot: Plot) -> None:
    for series in plot.series:
        is_reference = series.label == "straight line"
        axes.plot(
            [float(x) for x in series.x],
            series.y,
            label=series.label,
            color=_COLOURS.get(series.label),
            linestyle="--" if is_reference else "-",
            linewidth=1 if is_reference else 1.8,
            marker="o" if len(series.x) < 20 and not is_reference else "",
        )
    if plot.x_log:
        axes.set_xscale("log")
    if plot.y_log:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_PLAIN)
    else:
        axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(_PLAIN)
