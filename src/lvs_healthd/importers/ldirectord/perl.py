r"""Turns what a file of ldirectord holds for Perl into what a check here takes: regular expressions and URLs.

RE2 has Perl's syntax but for a few things, and our dot matches a newline, which Perl's does not.
"""

import re
from urllib.parse import quote

from lvs_healthd.config.errors import WrongValueError
from lvs_healthd.config.patterns import answer_pattern

_TOKEN = re.compile(r"\\Q|\\E|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\(\?<([A-Za-z_]\w*)>|.", re.DOTALL | re.ASCII)
r"""An escape, a class of characters, the beginning of a named group, or one character."""

_SPECIAL = frozenset("\\^$.|?*+()[]{}")
_NOT_IN_RE2 = {
    r"\G": r"\G",
    r"\K": r"\K",
    r"\R": r"\R",
    r"\X": r"\X",
    r"\h": r"\h",
    r"\H": r"\H",
    r"\N": r"\N",
    r"\V": r"\V",
    r"\g": r"\g",
    r"\k": r"\k",
    r"\c": r"\c",
    r"\e": r"\e",
}
"""Escapes that mean something in Perl which RE2 does not have, or reads otherwise."""

_SAFE_IN_PATH = ";/?:@&=+$,[]-_.!~*'()%"
"""What Perl's URI leaves alone beside letters and digits. It writes all else as %XX."""


class UntranslatableError(Exception):
    """Raised for an expression that cannot be written here. The message says why."""


def is_plain(pattern: str) -> bool:
    """Return whether an expression has no special characters, so that it matches just itself."""
    return not _SPECIAL & set(pattern)


def pattern(perl: str, *, by_line: bool = False) -> str:
    """Return an expression for RE2 that finds what a Perl expression finds.

    perl: as in `$text =~ /$perl/`.
    by_line: whether Perl looks at each line of the text by itself.

    Raises `UntranslatableError`.
    """
    written = []
    for found in _TOKEN.finditer(perl):
        token = found[0]
        if token[:2] in _NOT_IN_RE2 or token in {r"\Q", r"\E"}:
            raise UntranslatableError(f"there is no {token} here")
        if found[1]:
            token = f"(?P<{found[1]}>"
        written.append(_translated(token, by_line=by_line))
    text = ("(?m)" if by_line else "") + "".join(written)
    try:
        answer_pattern(text)
    except WrongValueError as error:
        raise UntranslatableError(str(error)) from None
    return text


def _translated(piece: str, *, by_line: bool) -> str:
    if piece == ".":
        return r"[^\n]"
    if piece == r"\Z":
        return "$"
    if by_line and piece == r"\A":
        return "^"
    if by_line and piece == r"\z":
        raise UntranslatableError(r"\z never matches in a line that ends with a newline")
    return piece


def path(url: str) -> str:
    """Return the path and query of a request as Perl's URI writes them: with %XX for what a URL may not have."""
    return quote(url.strip(), safe=_SAFE_IN_PATH)
