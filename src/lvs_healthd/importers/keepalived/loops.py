"""Reads `~SEQ(…)` and `~LST(…)`, with which keepalived.conf repeats a line."""

import re
from collections.abc import Callable

import msgspec

from lvs_healthd.importers.account import Place

MOST_TURNS = 65_536
"""How many times a line may be repeated. It stops a mistyped number from filling the memory."""

_SEQUENCE = re.compile(r"~SEQ(x?)[ \t]*\([ \t]*([^ \t,)]+)[ \t]*,[ \t]*([^)]*\))[ \t]*(.*)", re.DOTALL)
_LIST = re.compile(r"~LST[ \t]*\([ \t]*(\{[^}]*\}|[^ \t,{}]+)[ \t]*,(.*)", re.DOTALL)
_NUMBER = r"[ \t]*([+-]?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*))[ \t]*"
_NUMBERS = re.compile(rf"{_NUMBER}(?:,{_NUMBER})?(?:,{_NUMBER})?\)")
_VALUES = re.compile(r"[ \t]*(\{[^}]*\}|[^ \t,{})]*)[ \t]*([,)])")


class Loop(msgspec.Struct):
    """A line that is repeated."""

    text: str
    values: list[dict[str, str]]
    """The macros of each turn that is left."""
    place: Place = Place("", 0)
    also: tuple[Place, ...] = ()


def loop_of(text: str, replaced: Callable[[str], str]) -> Loop | str:
    """Read a loop, or return why keepalived does not repeat anything.

    replaced: a function that replaces the macros of a text.
    """
    if match := _SEQUENCE.fullmatch(text):
        numbers = _NUMBERS.fullmatch(replaced(match[3]))
        turns = _turns(*(_whole(word) for word in numbers.groups() if word)) if numbers else range(0)
        if not turns or len(turns) > MOST_TURNS or (match[1] and min(turns) < 0):
            return "keepalived does not understand these numbers, and skips the line"
        form = "x" if match[1] else "d"
        return Loop(match[4], [{match[2]: format(turn, form)} for turn in turns])
    if match := _LIST.fullmatch(text):
        return _listed(_items(match[1]), match[2])
    return "keepalived does not understand this loop, and skips the line"


def _turns(first: int, second: int | None = None, third: int | None = None) -> range:
    """Return the numbers of a sequence, which is one of `(end)`, `(start, end)` and `(start, step, end)`."""
    if second is None:
        start, step, end = -1 if first < 0 else 1, -1 if first < 1 else 1, first
    elif third is None:
        start, step, end = first, 1 if first <= second else -1, second
    else:
        start, step, end = first, second, third
    if not step or (end - start) * step < 0:
        return range(0)
    return range(start, end + (1 if step > 0 else -1), step)


def _whole(word: str) -> int:
    """Read a number as C does: 0x begins a hexadecimal one, and 0 an octal one."""
    is_octal = re.fullmatch(r"[+-]?0[0-7]+", word)
    return int(word, 8 if is_octal else 0)


def _items(text: str) -> list[str]:
    return [item.strip(" \t") for item in text.strip("{}").split(",")]


def _listed(names: list[str], rest: str) -> Loop | str:
    values = []
    position = 0
    while match := _VALUES.match(rest, position):
        given = _items(match[1])
        if len(given) > len(names):
            return "keepalived finds more values than names, and skips the line"
        values.append(dict(zip(names, [*given, *[""] * (len(names) - len(given))], strict=True)))
        position = match.end()
        if match[2] == ")":
            return Loop(rest[position:].lstrip(" \t"), values)
    return "keepalived does not understand this loop, and skips the line"
