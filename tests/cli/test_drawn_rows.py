"""Rows on a terminal: they look as rich would draw them, without its work for each row."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lvs_healthd.cli.drawn_rows import Column, Rows

COLUMNS = (Column(8), Column(5, "right", is_cut=True), Column(None))
WORDS = st.lists(st.text("ab…é漢", max_size=6), max_size=5).map(" ".join)
CELLS = st.builds(Text, WORDS, style=st.sampled_from(["", "red", "bold"]))


def drawn(rows: Rows, width: int, *, color: bool = True) -> list[str]:
    """Draw rows. Return the lines without the blanks at their ends."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system="standard" if color else None)
    with console.capture() as capture:
        console.print(rows)
    return [line.rstrip() for line in capture.get().splitlines()]


class ByRich(Rows):
    """Rows that rich draws all, as on a terminal that is too narrow."""

    def _widths(self, most: int) -> None:
        return None


@given(
    st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=4),
    st.integers(6, 60),
    st.sampled_from([COLUMNS, (*COLUMNS[:-1], Column(6))]),
)
def test_rows_look_as_rich_draws_them(rows: list[tuple[Text, ...]], width: int, columns: tuple[Column, ...]) -> None:
    ours, theirs = Rows(columns, rows), ByRich(columns, rows)
    assert drawn(ours, width, color=False) == drawn(theirs, width, color=False)
    console = Console(width=width)
    assert console.measure(ours) == console.measure(theirs)


def test_colours_are_those_of_the_cells() -> None:
    two = Text.assemble("one ", ("two", "red"))
    (line,) = drawn(Rows(COLUMNS, [(Text("name", style="bold"), Text("5"), two)]), 40)
    assert line == "  \x1b[1mname\x1b[0m         5 one \x1b[31mtwo\x1b[0m"


def test_only_what_must_be_folded_is_left_to_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []

    def add_row(grid: Table, *cells: Text) -> None:
        made.append(cells)
        plainly(grid, *cells)

    plainly = Table.add_row
    monkeypatch.setattr(Table, "add_row", add_row)
    short, long = (Text("name"), Text("5"), Text("why")), (Text("name"), Text("5"), Text("why " * 20))
    drawn(Rows(COLUMNS, [short] * 100), 40)
    assert not made
    lines = drawn(Rows(COLUMNS, [short, long, short]), 40)
    assert len(made) == 1
    assert lines[0] == lines[-1] == "  name         5 why"
    assert len(lines) == 2 + 4
