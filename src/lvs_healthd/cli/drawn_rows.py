"""Draws rows of cells under each other on a terminal.

A table of rich takes two thirds of a millisecond for a row, and there may be ten thousand. So a row whose cells all fit
is drawn here, and rich draws only the others, which must be folded.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table as Grid
from rich.text import Text

_GAP = 1
"""How many blanks there are between two columns."""
_MARGIN = 2
"""How many blanks there are before the first column."""


class Column(NamedTuple):
    """How a column is drawn."""

    width: int | None
    """How many characters fit into it; None for as many as the others leave, which only the last column may have."""
    justify: Literal["left", "right"] = "left"
    is_cut: bool = False
    """Whether a cell that does not fit is cut. Otherwise it is folded."""


class Rows:
    """Rows of cells, drawn as rich would draw them in a table without lines and headings.

    rows: each has as many cells as there are columns.
    """

    def __init__(self, columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> None:
        self._columns = columns
        self._rows = rows

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        # Only a column without a width has one that depends on the rows.
        rows = self._rows if self._columns[-1].width is None else ()
        return Measurement.get(console, options, self._grid(rows))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self._widths(options.max_width)
        if widths is None:
            yield self._grid(self._rows)
            return
        for row in self._rows:
            if all(map(_fits, row, widths)):
                yield from self._drawn(console, row, widths)
            else:
                yield self._grid((row,))

    def _widths(self, most: int) -> list[int] | None:
        """Return the widths of the columns; None if the terminal is too narrow for them."""
        left = most - _MARGIN - sum(column.width or 0 for column in self._columns) - _GAP * (len(self._columns) - 1)
        if left < (self._columns[-1].width is None):
            return None
        return [left if column.width is None else column.width for column in self._columns]

    def _drawn(self, console: Console, row: Sequence[Text], widths: Sequence[int]) -> Iterator[Segment]:
        """Draw a row whose cells all fit, without blanks at its end."""
        plain = ""  # what has no style and is not drawn yet
        blanks = _MARGIN
        for column, cell, width in zip(self._columns, row, widths, strict=True):
            text = cell.plain
            if not text:
                blanks += width + _GAP
                continue
            rest = width - len(text)
            before, after = (rest, 0) if column.justify == "right" else (0, rest)
            plain += " " * (blanks + before)
            blanks = after + _GAP
            if not (cell.style or cell.spans):
                plain += text
                continue
            yield Segment(plain)
            plain = ""
            if cell.spans:
                yield from cell.render(console)
            else:
                yield Segment(text, console.get_style(cell.style))
        yield Segment(plain + "\n")

    def _grid(self, rows: Sequence[Sequence[Text]]) -> Grid:
        is_whole = self._columns[-1].width is None
        grid = Grid(box=None, pad_edge=False, show_header=False, expand=is_whole, padding=(0, _GAP, 0, 0))
        grid.add_column(width=_MARGIN - _GAP)
        for column in self._columns:
            grid.add_column(
                width=column.width,
                justify=column.justify,
                no_wrap=column.is_cut,
                overflow="ellipsis" if column.is_cut else "fold",
                ratio=1 if column.width is None else None,
            )
        for row in rows:
            grid.add_row("", *row)
        return grid


def _fits(cell: Text, width: int) -> bool:
    """Return whether a cell takes as many columns of the terminal as it has characters, and no more than `width`."""
    text = cell.plain
    return len(text) <= width and text.isascii() and text.isprintable()
