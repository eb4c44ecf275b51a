"""The pictures of docs/terminal.md: `status --watch` in a real terminal, beside an API that shows what is pictured.

`WRITE_PICTURES=1` writes them. rich draws the screen that tmux has, and a browser makes a picture of that.
"""

import io
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from rich.ansi import AnsiDecoder
from rich.console import Console, Group

from lab.browser import browsing
from lvs_healthd.api import ApiServer
from lvs_healthd.view.status_values import Status
from tests import statuses
from tests.cli.watch.tmux import Terminal
from tests.daemon_process import LvsHealthd
from tests.pictured import braked, ten_thousand, well
from tests.shown import Shown, shown_app

pytestmark = pytest.mark.long

PICTURES = Path(__file__).parents[3] / "docs" / "terminal"
WIDTH, HEIGHT = 100, 26


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name, because that of a socket may not be long."""
    path = Path(tempfile.mkdtemp(prefix="w", dir="/tmp"))
    yield path
    shutil.rmtree(path)


async def _metrics() -> AsyncIterator[bytes]:
    yield b""


PICTURED: dict[str, tuple[Callable[[], Status], str]] = {
    "well": (well, "6 up"),
    "down": (lambda: well(4, 5), "NO REAL SERVER MAY SERVE"),
    "brake": (braked, "BRAKE: 5 of 6 targets behind eth1"),
    "many": (ten_thousand, "of 10200"),
}


@pytest.mark.parametrize("name", PICTURED)
async def test_terminal_is_pictured(folder: Path, tmp_path: Path, name: str) -> None:
    status, text = PICTURED[name]
    control = folder / "c.sock"
    server = ApiServer(shown_app(Shown(status=status(), listing=statuses.listing()), _metrics))
    await server.start("", str(control))
    terminal = Terminal(folder, width=WIDTH, height=HEIGHT)
    try:
        terminal.start(shlex.join([*LvsHealthd, "status", "--watch", "--control", str(control)]))
        await terminal.shows(text)
        screen = terminal.text("-e")
    finally:
        terminal.end()
        await server.stop()
    drawn = tmp_path / f"{name}.svg"
    drawn.write_text(svg(screen), encoding="utf-8")
    where = PICTURES if os.environ.get("WRITE_PICTURES") else tmp_path
    where.mkdir(exist_ok=True)
    async with browsing() as browser:
        size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawn.read_text(encoding="utf-8"))
        assert size is not None
        await browser.window(round(float(size[1])), round(float(size[2])))
        await browser.visit(f"file://{drawn}")
        await browser.picture(where / f"{name}.png")
    assert (where / f"{name}.png").stat().st_size > 20_000


def svg(screen: str) -> str:
    """Draw a screen with its colours."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Group(*AnsiDecoder().decode(screen)))
    drawn = console.export_svg(title="lvs-healthd status --watch")
    # It names a font that would come from elsewhere.
    return re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
