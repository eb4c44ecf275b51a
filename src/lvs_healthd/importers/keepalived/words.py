"""Splits lines of keepalived.conf into words, and reads words as numbers and addresses, as keepalived does.

Where keepalived takes a word for something that its writer cannot have meant, `Taken.doubt` says so.
"""

import ipaddress
import re
from typing import NamedTuple

BLANKS = " \t"
SPACES = " \t\f\n\r\v"
_MOST_UNSIGNED = 0xFFFF_FFFF
_MICROSECONDS = 1_000_000
_DECIMALS = 6
"""keepalived keeps times in microseconds."""

_ESCAPES = {"a": "\a", "b": "\b", "E": "\x1b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_HEX_ESCAPE = re.compile(r"x([0-9a-fA-F]+)")
_OCTAL_ESCAPE = re.compile(r"[0-7]{1,3}")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class UnmatchedQuoteError(Exception):
    """Raised when a quote on a line is never closed."""


class Taken(NamedTuple):
    """What keepalived makes of a word."""

    value: int
    """The number. Times are in microseconds."""
    doubt: str = ""
    """Why its writer cannot have meant that; "" if there is no doubt."""


class Invalid(NamedTuple):
    """A word that keepalived refuses, and so leaves the value that was there."""

    why: str


def without_comment(line: str) -> str:
    """Remove the comment, and the blanks at both ends, from a line.

    `#` and `!` begin a comment unless they are in double quotes or after a backslash.
    """
    text = line.lstrip(BLANKS)
    is_quoted = False
    position = 0
    end: int | None = None
    while position < len(text):
        char = text[position]
        if char == '"' and end is None:
            is_quoted = not is_quoted
        elif char == "\\":
            if position + 1 == len(text):
                return text[: position if end is None else end].rstrip(BLANKS) + "\\"
            if not is_quoted and text[position + 1] in "#!":
                text = text[:position] + text[position + 1 :]
            else:
                position += 1
        elif char in "#!" and not is_quoted and end is None:
            end = position
        position += 1
    return text[:end].rstrip(BLANKS)


def words(text: str) -> list[str]:
    """Split a line into words. Double quotes keep blanks in a word. Raises `UnmatchedQuoteError`."""
    found: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position] in SPACES:
            position += 1
        if position == len(text):
            return found
        if text[position] == '"':
            end = text.find('"', position + 1)
            if end < 0:
                raise UnmatchedQuoteError
            found.append(text[position + 1 : end])
            position = end + 1
        else:
            start = position
            while position < len(text) and text[position] not in SPACES + '"':
                position += 1
            found.append(text[start:position])


def shell_words(text: str, *, keeps_escapes: bool = False) -> list[str]:
    r"""Split a line as keepalived does for scripts and regular expressions.

    Double and single quotes join, and a backslash stands for the character of an escape such as `\n` or `\x41`, else
    for the character itself. Raises `UnmatchedQuoteError`, also for a backslash at the end.

    keeps_escapes: leave backslashes where they are, with what follows them.
    """
    found: list[str] = []
    position = 0
    while True:
        while position < len(text) and text[position] in SPACES:
            position += 1
        if position == len(text):
            return found
        word, position = _shell_word(text, position, keeps_escapes=keeps_escapes)
        found.append(word)


def _shell_word(text: str, position: int, *, keeps_escapes: bool) -> tuple[str, int]:
    quote = ""
    word = ""
    while position < len(text):
        char = text[position]
        if char == "\\":
            start = position
            escaped, position = _escaped(text, position + 1)
            if keeps_escapes:
                position = start + 2
                escaped = text[start:position]
            word += escaped
        elif quote:
            position += 1
            if char == quote:
                quote = ""
            else:
                word += char
        elif char in "\"'":
            quote = char
            position += 1
        elif char in SPACES:
            break
        else:
            word += char
            position += 1
    if quote:
        raise UnmatchedQuoteError
    return word, position


def _escaped(text: str, position: int) -> tuple[str, int]:
    """Return the character of an escape whose text begins after the backslash, and where the escape ends."""
    if position == len(text):
        raise UnmatchedQuoteError
    if match := _HEX_ESCAPE.match(text, position):
        return chr(int(match[1], 16) & 0xFF), match.end()
    if text[position] == "c" and position + 1 < len(text):
        return chr(ord(text[position + 1]) & 0x1F), position + 2
    if match := _OCTAL_ESCAPE.match(text, position):
        return chr(int(match[0], 8) & 0xFF), match.end()
    return _ESCAPES.get(text[position], text[position]), position + 1


def number(word: str, least: int, most: int = _MOST_UNSIGNED, *, is_strict: bool = False) -> Taken | Invalid:
    """Read a whole number as keepalived does: the digits at its beginning, or 0 if there are none.

    is_strict: whether keepalived refuses anything else behind the digits.
    """
    text = word.lstrip(SPACES)
    match = re.match(r"[+-]?[0-9]+", text)
    value = int(match[0]) if match else 0
    if text.startswith("-"):
        return Invalid(f"{word!r} is negative")
    rest = text[match.end() :] if match else text
    if rest and is_strict:
        return Invalid(f"{word!r} is no number")
    if not least <= value <= most:
        return Invalid(f"{word!r} is not from {least} to {most}")
    return Taken(value, f"keepalived takes {word!r} for {value}" if rest else "")


def microseconds(word: str, least: int = 0) -> Taken | Invalid:
    """Read a time as keepalived does: seconds with fractions, but microseconds if anything stands behind the digits."""
    if word.startswith("-"):
        return Invalid(f"{word!r} is negative")
    whole, dot, fraction = word.partition(".")
    kept = fraction[:_DECIMALS]
    text = whole + kept + "0" * (_DECIMALS - len(kept))
    match = re.match(r"\s*\+?[0-9]+", text)
    value = int(match[0]) if match else 0
    is_number = bool(match) and match is not None and match.end() == len(text)
    if dot and len(fraction) > _DECIMALS and fraction[_DECIMALS] >= "5":
        value += 1
    if not least <= value <= _MOST_UNSIGNED * _MICROSECONDS:
        return Invalid(f"{word!r} is out of range")
    if is_number:
        return Taken(value)
    return Taken(value, f"keepalived takes {word!r} for {value} microseconds, because it knows no units")


def address(word: str) -> Address | None:
    """Read an IP address without brackets. What follows a `-` or `/` is passed over. None if it is none."""
    text = re.split(r"[-/]", word, maxsplit=1)[0]
    try:
        return ipaddress.IPv6Address(text) if ":" in word else ipaddress.IPv4Address(text)
    except ValueError:
        return None


def port(word: str) -> Taken | Invalid:
    """Read a port as keepalived does where it takes digits at the beginning; only zeros are no port."""
    return Taken(0) if not word.strip("0") else number(word, 1, 0xFFFF)


def is_true(word: str) -> bool | None:
    """Read a switch, or return None if keepalived does not understand it."""
    return {"true": True, "on": True, "yes": True, "false": False, "off": False, "no": False}.get(word)
