"""Joins the lines of a mon.cf that a backslash continues, and passes over comments, as mon does."""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lvs_healthd.importers.account import Account, Place

_COMMENT = re.compile(r"\s*#", re.ASCII)
_CONTINUED = re.compile(r"(.*)\\\s*\Z", re.ASCII | re.DOTALL)
BLANKS = " \t\n\r\f\v"
"""What Perl takes for blanks in bytes."""


class Line(NamedTuple):
    """A line as mon sees it."""

    text: str
    """Without blanks at both ends. Empty for a blank line."""
    places: tuple[Place, ...]
    """The lines of the file that it is made of."""


def lines_of(text: str) -> list[str]:
    """Return the lines of a file. Only a newline ends one; a carriage return is a blank."""
    lines = text.split("\n")
    return lines[:-1] if not lines[-1] else lines


def joined(lines: Sequence[str], name: str, account: Account) -> Iterator[Line]:
    """Yield the lines that mon sees. Comments and lost lines are told to the account."""
    parts: list[str] = []
    places: list[Place] = []
    for number, line in enumerate(lines, 1):
        place = Place(name, number)
        if _COMMENT.match(line):
            account.empty(place)
            continue
        places.append(place)
        part = line.lstrip(BLANKS) if parts else line
        continued = _CONTINUED.match(part)
        if continued:
            parts.append(continued[1])
            continue
        yield Line("".join((*parts, part)).strip(BLANKS), tuple(places))
        parts, places = [], []
    for place in places:
        account.ignored(place, "it ends in a backslash, and nothing follows: mon loses it")
