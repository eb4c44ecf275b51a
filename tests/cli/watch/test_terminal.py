"""`lvs-healthd status --watch` in a real terminal (tmux), beside a real daemon that writes nothing."""

import asyncio
import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest
from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.style import Style

from tests.cli.watch.screens import IS_WRITTEN, expected
from tests.cli.watch.tmux import PATIENCE_S, Terminal
from tests.daemon_process import DaemonProcess, LvsHealthd, daemon
from tests.probes.peers import free_port, silent, stream_server


async def is_screen(terminal: Terminal, name: str, text: str) -> None:
    """Wait for a text, and then for the whole screen with its colours to be the one of this name."""
    await terminal.shows(text)
    limit = time.monotonic() + (0 if IS_WRITTEN else PATIENCE_S)
    while (found := _masked(terminal)) != expected(name, found) and time.monotonic() < limit:
        await asyncio.sleep(0.1)
    assert found == expected(name, found)


def _masked(terminal: Terminal) -> str:
    """Return the screen with its colours, without times, process ids, ports and the folder's random name."""
    text = marked_up(terminal.text("-e")).replace(str(terminal.folder), "FOLDER")
    text = re.sub(r" *\b\d+[smhd]\b", " TIME", text)
    text = re.sub(r"\d\d:\d\d:\d\d", "CLOCK", text)
    text = re.sub(r"pid \d+ +", "pid N ", text)
    return re.sub(r":\d{5}\b", ":PORT", text)


def marked_up(text: str) -> str:
    """Write the colours of a terminal's text as "{bold red}down{}", whatever sequences tmux has for them."""
    decoder, console, lines = AnsiDecoder(), Console(), list[str]()
    for line in text.splitlines():
        runs = ((_style(style), run) for run, style, _ in decoder.decode_line(line).render(console) if run != "\n")
        merged = [(style, "".join(run for _, run in group)) for style, group in groupby(runs, key=itemgetter(0))]
        lines.append("".join(f"{{{style}}}{run}{{}}" if style else run for style, run in merged).rstrip() + "\n")
    return "".join(lines)


def _style(style: Style | None) -> str:
    if style is None:
        return ""
    words = [name for name in ("bold", "dim", "reverse") if getattr(style, name)]
    return " ".join([*words, *([style.color.name] if style.color is not None and not style.color.is_default else [])])


class Site:
    """A daemon's configuration, and two services whose servers can be let die."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.control = folder / "c.sock"
        self.file = folder / "config.toml"
        self.ports = [free_port() for _ in range(3)]
        self.command = shlex.join([*LvsHealthd, "status", "--watch", "--every", "0.2", "--control", str(self.control)])
        check = '{ type = "tcp", interval = "200ms", timeout = "200ms", rise = 1, fall = 1 }'
        first, second, third = [f'"127.0.0.1{number}:{port}"' for number, port in enumerate(self.ports, 1)]
        self.file.write_text(f"""
[daemon]
listen = ""
control = "{self.control}"
state = "{folder}/state.json"

[[service]]
name = "web"
address = "127.0.0.100:80"
check = {check}
real_server = [{first}, {{ address = {second}, weight = 3 }}]

[[service]]
name = "mail"
address = "127.0.0.100:25"
check = {check}
real_server = [{third}]
""")

    @contextlib.asynccontextmanager
    async def server(self, number: int) -> AsyncIterator[None]:
        """Let one server live: 1 to 3."""
        async with stream_server(silent, host=f"127.0.0.1{number}", port=self.ports[number - 1]):
            yield

    @contextlib.asynccontextmanager
    async def daemon(self) -> AsyncIterator[DaemonProcess]:
        async with daemon(self.file, "--table", "memory", "--shadow") as running:
            await running.until("daemon.started")
            yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose name has always the same length, because messages with it are cut off."""
    path = Path(tempfile.mkdtemp(prefix="w", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def site(folder: Path) -> Site:
    return Site(folder)


@pytest.fixture
def terminal(folder: Path) -> Iterator[Terminal]:
    made = Terminal(folder)
    yield made
    made.end()


async def test_all_is_well_then_filter_help_size_and_a_dead_server(site: Site, terminal: Terminal) -> None:
    async with site.server(1), site.server(2), contextlib.AsyncExitStack() as third, site.daemon():
        await third.enter_async_context(site.server(3))
        terminal.start(site.command)
        await is_screen(terminal, "tmux-well", "3 up")
        terminal.keys("/")
        terminal.typed("WEX")
        terminal.keys("BSpace", "b")
        await is_screen(terminal, "tmux-filter", "filter: WEb_")
        terminal.keys("Enter")
        await terminal.shows('filter "WEb"')
        terminal.keys("Escape")
        await terminal.shows("of 5")
        terminal.keys("b")
        await terminal.shows("nothing is bad")
        terminal.keys("b", "?")
        await is_screen(terminal, "tmux-help", "this help, or back")
        terminal.keys("?")
        terminal.resize(200, 50)
        await is_screen(terminal, "tmux-well-wide", "of 5")
        terminal.resize(40, 8)
        await is_screen(terminal, "tmux-well-small", "5")
        terminal.keys("j")
        await terminal.shows("2-")
        terminal.keys("k")
        terminal.resize(80, 24)
        await third.aclose()
        await is_screen(terminal, "tmux-down", "1 down")


async def test_a_daemon_that_stops_is_told_and_one_that_starts_is_seen(site: Site, terminal: Terminal) -> None:
    async with site.server(1), site.server(2), site.server(3):
        async with site.daemon() as running:
            terminal.start(site.command, NO_COLOR="1")
            await is_screen(terminal, "tmux-no-color", "3 up")
            assert await running.stop() == 0
            await is_screen(terminal, "tmux-away", "NO ANSWER since")
        async with site.daemon():
            await terminal.until(lambda: "NO ANSWER" not in terminal.text())
            await is_screen(terminal, "tmux-no-color", "3 up")


ENDS: dict[str, tuple[str | signal.Signals, int]] = {
    "q": ("q", 0),
    "interrupt": ("C-c", 0),
    "terminate": (signal.SIGTERM, 128 + signal.SIGTERM),
    "bug": ("b", 1),
}


@pytest.mark.parametrize("how", ENDS)
async def test_terminal_is_given_back(folder: Path, terminal: Terminal, how: str) -> None:
    press, status = ENDS[how]
    broken = "from lvs_healthd.cli.watch import screen; screen.pressed = lambda *_: 1 / 0; " if how == "bug" else ""
    command = [sys.executable, "-c", f"{broken}from lvs_healthd.cli import main; main()"]
    program = shlex.join([*command, "status", "--watch", "--control", str(folder / "none")])
    terminal.start(f"stty > {folder}/before; echo kept; {program}; echo ended $?; stty > {folder}/after; sleep 60")
    await terminal.shows("NO ANSWER")
    assert terminal.says("alternate_on") == "1"
    assert terminal.says("cursor_flag") == "0"
    if isinstance(press, str):
        terminal.keys(press)
    else:
        shell = terminal.says("pane_pid")
        (child,) = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()
        os.kill(int(child), press)
    await terminal.shows(f"ended {status}")
    assert terminal.says("alternate_on") == "0"
    assert terminal.says("cursor_flag") == "1"
    lines = terminal.text("-S", "-").split("\n")  # with what a traceback has scrolled out
    assert lines[0] == "kept"
    assert ("ZeroDivisionError: division by zero" in lines) is (how == "bug")
    await terminal.until((folder / "after").exists)
    assert (folder / "after").read_text() == (folder / "before").read_text()


async def test_a_terminal_of_an_unknown_name_works(folder: Path, terminal: Terminal) -> None:
    terminal.start(f"TERM=invented {shlex.join(watching(folder))}")
    await terminal.shows("NO ANSWER")


async def test_a_terminal_that_cannot_move_its_cursor_is_wrong_usage_in_words(folder: Path, terminal: Terminal) -> None:
    terminal.start(f"TERM=dumb {shlex.join(watching(folder))}; echo ended $?; sleep 60")
    await terminal.shows("ended 2")
    assert "the terminal (dumb) cannot move its cursor" in terminal.text()


def watching(folder: Path) -> list[str]:
    return [*LvsHealthd, "status", "--watch", "--control", str(folder / "none")]


def test_a_pipe_is_wrong_usage_in_words(folder: Path) -> None:
    ran = subprocess.run(
        watching(folder),
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        "lvs-healthd status: --watch needs a terminal; for a pipe use --watch --json, or status again and again\n"
    )
