"""Brings the live screen to the terminal and takes keys from it.

This is curses, because ncurses sends a terminal only the cells that have changed, knows its keys, follows its size and
puts everything back at the end and around Ctrl-Z. rich draws well, but reads no keys.
"""

import contextlib
import curses
import functools
import locale
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.style import Style
from rich.text import Text

from lvs_healthd.cli.watch.answers import Answers
from lvs_healthd.cli.watch.draw import Look, Picture
from lvs_healthd.cli.watch.keys import Quit, pressed
from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.view.status_values import Status

_WAKE_MS = 100
"""How long to wait for a key before looking for a new answer, milliseconds."""

_COMMON_TERMINAL = "xterm-256color"
"""What nearly every terminal understands whose own name this host does not know."""


class NoTerminalError(HostError):
    """Raised when there is no terminal that can show a screen. The text says what to do."""


def show(ask: Callable[[], Status], every_s: float, *, only_bad: bool) -> None:
    """Show the live screen until the operator quits.

    ask: fetches a status; see `Answers`.
    every_s: the pause between two requests, seconds.
    only_bad: whether to begin with only what is bad.

    Raises `NoTerminalError`.
    """
    _make_usable()
    answers = Answers(ask, every_s)
    answers.start()
    try:
        with _ended_by_signals(), _terminal() as window:
            _loop(window, answers, Picture(Look(only_bad=only_bad)))
    except (KeyboardInterrupt, Quit):
        return
    finally:
        answers.stop()


def _make_usable() -> None:
    """Make sure that there is a terminal, and that ncurses knows how to use it."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NoTerminalError("--watch needs a terminal; for a pipe use --watch --json, or status again and again")
    try:
        curses.setupterm()
    except curses.error:
        # The terminals of today call themselves anything and are all alike; the director may know none of the names.
        os.environ["TERM"] = _COMMON_TERMINAL
        try:
            curses.setupterm()
        except curses.error:
            raise NoTerminalError("the database of terminals is missing: install ncurses-base") from None
    if not curses.tigetstr("cup"):
        raise NoTerminalError(
            f"the terminal ({os.environ.get('TERM')}) cannot move its cursor: use status without --watch"
        )


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the screen in a way that restores the terminal."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _terminal() -> Iterator[curses.window]:
    """Take the terminal over, and give it back in any case."""
    locale.setlocale(locale.LC_CTYPE, "")
    for name in ("LINES", "COLUMNS"):  # with them ncurses would not follow the size
        os.environ.pop(name, None)
    window = curses.initscr()
    try:
        curses.noecho()
        curses.cbreak()
        curses.set_escdelay(25)
        with contextlib.suppress(curses.error):  # not every terminal can hide its cursor
            curses.curs_set(0)
        window.keypad(True)
        window.timeout(_WAKE_MS)
        _start_colours()
        yield window
    finally:
        window.keypad(False)
        curses.echo()
        curses.nocbreak()
        curses.endwin()


def _start_colours() -> None:
    if _is_coloured():
        curses.start_color()
        curses.use_default_colors()
        for number in range(min(8, curses.COLORS)):
            curses.init_pair(number + 1, number, -1)


def _loop(window: curses.window, answers: Answers, picture: Picture) -> None:
    """Draw when there is something new: an answer, a key, another size, or a second that has passed."""
    shown: object = None
    while True:
        answer = answers.latest()
        now = time.time()
        height, width = window.getmaxyx()
        if shown != (id(answer), int(now), height, width):
            _paint(window, picture.lines(answer, width, height, now))
            shown = (id(answer), int(now), height, width)
        try:
            key = window.get_wch()
        except curses.error:
            if not sys.stdin.isatty():  # it has hung up
                return
            continue
        pressed(key, picture)
        shown = None


def _paint(window: curses.window, lines: list[Text]) -> None:
    """Put lines on the screen. ncurses sends what differs from the last picture."""
    window.erase()
    for number, line in enumerate(lines):
        line.end = ""
        line.stylize_before(line.style)  # a line without spans is rendered without its own style
        window.move(number, 0)
        for text, style, _ in line.render(_CONSOLE):
            shown = text.encode(window.encoding, "replace").decode(window.encoding)
            with contextlib.suppress(curses.error):  # in the last corner the cursor cannot move on
                window.addstr(shown, _attributes(style) if style else 0)
    window.refresh()


_CONSOLE = Console()


@functools.lru_cache(maxsize=256)
def _attributes(style: Style) -> int:
    """Return what curses calls a style of rich."""
    found = 0
    for is_on, attribute in ((style.bold, curses.A_BOLD), (style.dim, curses.A_DIM), (style.reverse, curses.A_REVERSE)):
        if is_on:
            found |= attribute
    if style.color is not None and style.color.number is not None and _is_coloured():
        found |= curses.color_pair(style.color.number % 8 + 1)
    return found


def _is_coloured() -> bool:
    return not os.environ.get("NO_COLOR") and curses.has_colors()
