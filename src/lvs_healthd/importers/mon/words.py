"""Splits mon's lines into words, options and times, exactly as mon and its Perl modules do."""

import re
from collections.abc import Sequence
from typing import NamedTuple

_PIECE = re.compile(
    r"""\A(?:
        (?P<double>")(?P<in_double>(?>[^\\"]*(?:\\.[^\\"]*)*))"
      | (?P<single>')(?P<in_single>(?>[^\\']*(?:\\.[^\\']*)*))'
      | (?P<plain>(?:\\.|[^\\"'])*?)(?P<end>\Z|\s+|(?!\A)(?=["']))
    )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
"""What Text::ParseWords takes from a line at a time (`parse_line`, with the delimiter `\\s+`)."""

_BACKSLASH = re.compile(r"\\(.)", re.DOTALL)

_WORD = re.compile(r"\S+", re.ASCII)
_TIME = re.compile(r"\s*(\d+(?:\.\d+)?)([dhms])\s*\Z", re.ASCII | re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def quoted_words(text: str) -> tuple[str, ...] | None:
    r"""Return the words of a line, or None if a quote or backslash is left over: mon then has no word at all.

    Quotes and backslashes are as in a shell. Nothing is expanded. See `quotewords('\\s+', 0, …)` of Text::ParseWords.
    """
    words: list[str] = []
    word = ""
    while text:
        piece = _PIECE.match(text)
        if piece is None:
            return None
        text = text[piece.end() :]
        if piece["double"]:
            word += _BACKSLASH.sub(r"\1", piece["in_double"])
        elif piece["single"]:
            word += piece["in_single"]
        elif not piece[0] and not text:
            return None
        else:
            word += _BACKSLASH.sub(r"\1", piece["plain"])
            if piece["end"]:
                words.append(word)
                word = ""
        if not text:
            words.append(word)
    return tuple(words)


class Options(NamedTuple):
    """What a monitor or alert makes of its words."""

    values: dict[str, str]
    """Each option with its value; "1" for an option that takes none."""
    rest: tuple[str, ...]
    """The words after the options."""
    unknown: tuple[str, ...]
    """Options that it does not know, and those whose value is missing."""


def options(words: Sequence[str], known: str) -> Options:
    """Read options as Getopt::Std does.

    known: the letters of all options, each with a colon if it takes a value: "p:t:o".
    """
    left = list(words)
    values: dict[str, str] = {}
    unknown: list[str] = []
    while left and len(left[0]) > 1 and left[0].startswith("-"):
        word = left.pop(0)
        if word == "--":
            break
        letter, more = word[1], word[2:]
        place = known.find(letter)
        if letter == ":" or place < 0:
            unknown.append(f"-{letter}")
        elif known[place + 1 : place + 2] == ":":
            if not more and not left:
                unknown.append(f"-{letter}")
            values[letter] = more or (left.pop(0) if left else "")
            continue
        else:
            values[letter] = "1"
        if more:
            left.insert(0, f"-{more}")
    return Options(values, tuple(left), tuple(unknown))


def blank_words(text: str) -> tuple[str, ...]:
    """Return words that only blanks separate."""
    return tuple(_WORD.findall(text))


def duration(text: str) -> float | None:
    """Return a time such as "10s" or "1.5m" in seconds, or None if it is none (`dhmstos`)."""
    found = _TIME.match(text)
    return float(found[1]) * _SECONDS[found[2].lower()] if found else None


def seconds(text: str) -> float | None:
    """Return a time in seconds, or None where mon refuses it, as most keys do with a time of 0."""
    found, value = _TIME.match(text), duration(text)
    if found is None or value is None:
        return None
    # Perl takes the text "0" for false, but "0.0" for true as long as nobody has multiplied it.
    is_refused = found[1] == "0" if found[2].lower() == "s" else value == 0
    return None if is_refused else value
