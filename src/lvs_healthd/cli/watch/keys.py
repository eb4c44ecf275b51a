"""Says what each key does on the live screen."""

import curses

from lvs_healthd.cli.watch.draw import Picture

_ENTER = ("\n", "\r", curses.KEY_ENTER)
_ESCAPE = "\x1b"
_ERASE = ("\x7f", "\b", curses.KEY_BACKSPACE)
_ERASE_ALL = "\x15"
"""Ctrl-U, as in a shell."""

_END = 1 << 40
"""More lines than there are. The picture takes what is too much away."""


class Quit(Exception):  # noqa: N818  # nothing is wrong
    """Raised when the operator wants to leave."""


def pressed(key: int | str, picture: Picture) -> None:
    """Do what the operator wants with a key: a character, or a number of curses. Raises `Quit`."""
    look = picture.look
    if look.is_typing:
        _typed(key, picture)
        return
    page = max(1, picture.page - 1)
    match key:
        case "q":
            raise Quit
        case "?":
            look.is_help = not look.is_help
        case "\x1b" if look.is_help:
            look.is_help = False
        case "\x1b":
            look.wanted = ""
        case "/":
            look.is_typing, look.is_help, look.wanted = True, False, ""
        case "b":
            look.only_bad, look.top = not look.only_bad, 0
        case "j" | curses.KEY_DOWN:
            look.top += 1
        case "k" | curses.KEY_UP:
            look.top -= 1
        case " " | curses.KEY_NPAGE:
            look.top += page
        case curses.KEY_PPAGE:
            look.top -= page
        case "g" | curses.KEY_HOME:
            look.top = 0
        case "G" | curses.KEY_END:
            look.top = _END
        case _:
            pass


def _typed(key: int | str, picture: Picture) -> None:
    look = picture.look
    look.top = 0
    if key in _ENTER:
        look.is_typing = False
    elif key == _ESCAPE:
        look.is_typing, look.wanted = False, ""
    elif key in _ERASE:
        look.wanted = look.wanted[:-1]
    elif key == _ERASE_ALL:
        look.wanted = ""
    elif isinstance(key, str) and key.isprintable():
        look.wanted += key
