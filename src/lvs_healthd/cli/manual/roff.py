"""Writes manual pages in the macros of man(7)."""

import re
from collections.abc import Iterable

from lvs_healthd import __version__

_CODE = re.compile(r"`([^`]+)`")


def page(title: str, section: int, summary: str, body: Iterable[str]) -> str:
    """Return a whole page.

    title: its name, without the section.
    summary: what it is about, for `apropos`: one sentence.
    body: what follows the section NAME.
    """
    lines = [
        f'.TH "{title.upper()}" "{section}" "" "lvs-healthd {__version__}" "lvs-healthd"',
        ".SH NAME",
        rf"{escaped(title)} \- {escaped(summary.rstrip('.'))}",
        *body,
    ]
    return "\n".join(lines) + "\n"


def heading(text: str) -> str:
    """Return the heading of a section."""
    return f'.SH "{escaped(text)}"'


def subheading(text: str) -> str:
    """Return the heading of a part of a section."""
    return f'.SS "{escaped(text)}"'


def paragraphs(text: str) -> list[str]:
    """Return paragraphs, which an empty line divides. Words between backquotes are in bold."""
    first, *more = text.split("\n\n")
    return [prose(first), *(line for each in more for line in (".PP", prose(each)))]


def entry(term: str, text: str) -> list[str]:
    """Return an entry of a list. The term has been written with `bold` and `italic`."""
    first, *more = text.split("\n\n")
    return [".TP", term, prose(first) or r"\&", *(line for each in more for line in (".IP", prose(each)))]


def prose(text: str) -> str:
    """Return a paragraph of text."""
    parts = _CODE.split(text)
    # Every second part stood between backquotes.
    marked = [bold(part) if index % 2 else escaped(part) for index, part in enumerate(parts)]
    return _guarded("".join(marked))


def bold(text: str) -> str:
    """Return text that is typed as it stands."""
    return rf"\fB{escaped(text)}\fR"


def italic(text: str) -> str:
    """Return text that stands for something else."""
    return rf"\fI{escaped(text)}\fR"


def escaped(text: str) -> str:
    """Return text whose characters mean themselves. A hyphen is one that can be typed, so that it can be searched."""
    return (
        text.replace("\\", r"\e").replace("-", r"\-").replace("~", r"\(ti").replace("^", r"\(ha").replace('"', r"\(dq")
    )


def _guarded(text: str) -> str:
    """Keep a line that begins with a dot or an apostrophe from being a request."""
    return rf"\&{text}" if text.startswith((".", "'")) else text
