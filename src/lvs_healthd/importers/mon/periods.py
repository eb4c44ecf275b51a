"""Reads mon's periods (Perl's Time::Period), as far as to know which are valid, and which are always true."""

import enum
import re
from collections.abc import Callable

_DAYS = ("su", "mo", "tu", "we", "th", "fr", "sa")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

_SCALE = re.compile(r"([a-z]*)\s*\{\s*(.*)", re.ASCII | re.DOTALL)
_AROUND_DASH = re.compile(r"(\w+)\s*-\s*(\w+)", re.ASCII)
_RANGE = re.compile(r"(.*)-(.*)", re.DOTALL)
_HOUR = re.compile(r"(\d+)(am|pm|noon)\Z", re.ASCII)
_LONG = {
    "year": "yr",
    "month": "mo",
    "week": "wk",
    "mday": "md",
    "wday": "wd",
    "yday": "yd",
    "hour": "hr",
    "minute": "min",
    "second": "sec",
}
_NOON = 12
_FIRST_YEAR, _LAST_YEAR = 1970, 2199
"""The years to look at: no other lies in a range that could be always."""
_SHORT_YEARS = 99
"""Years up to this one are those of the present century."""
_CENTURY = 2000


class When(enum.Enum):
    """How a period restricts what belongs to it."""

    ALWAYS = enum.auto()
    NEVER = enum.auto()
    SOMETIMES = enum.auto()


class PeriodError(Exception):
    """Raised when Time::Period refuses a period. The message says which part of it."""


def when(text: str) -> When:
    """Return whether a period is always or never true.

    Raises `PeriodError`. Time::Period itself may overlook what is wrong behind a comma while what stands before it is
    true, so that mon then starts or not, depending on the time of day.
    """
    text = text.strip().lower()
    if not text:
        return When.ALWAYS
    if text == "none":
        return When.NEVER
    parts = re.split(r"\s*,\s*", text)
    while parts and not parts[-1]:
        parts.pop()
    found = [_scales(part) for part in parts]
    if any(all(held == _DOMAINS[scale] for scale, held in scales.items()) for scales in found):
        return When.ALWAYS
    if all(any(not held for held in scales.values()) for scales in found):
        return When.NEVER
    names = {tuple(scales) for scales in found}
    if len(names) == 1 and len(name := names.pop()) == 1:
        union: frozenset[int] = frozenset().union(*(scales[name[0]] for scales in found))
        if union == _DOMAINS[name[0]]:
            return When.ALWAYS
    return When.SOMETIMES


def _scales(part: str) -> dict[str, frozenset[int]]:
    """Return what a part without commas allows: for each scale its values."""
    opened = part.count("{")
    pieces = re.split(r"\}\s*", part)
    while pieces and not pieces[-1]:
        pieces.pop()
    if not opened or opened != part.count("}") or opened != len(pieces):
        raise PeriodError(f"{part!r} is not a scale with its values in braces, such as wd {{Mon-Fri}}")
    found: dict[str, frozenset[int]] = {}
    for piece in pieces:
        match = _SCALE.match(piece)
        name = match[1] if match else ""
        scale = _LONG.get(name, name) if len(name) > 3 else name  # only names longer than codes are looked up
        if match is None or scale not in _DOMAINS:
            raise PeriodError(f"{piece!r} is no scale: expected yr, mo, wk, yd, md, wd, hr, min or sec")
        ranges = _AROUND_DASH.sub(r"\1-\2", match[2]).split()
        held: frozenset[int] = frozenset().union(*(_values(scale, each) for each in ranges))
        found[scale] = found.get(scale, frozenset()) | held
    return found


def _values(scale: str, text: str) -> frozenset[int]:
    """Return the values of a range such as "mon-fri", or of a single value."""
    match = _RANGE.match(text)
    first, last = (match[1], match[2]) if match else (text, text)
    read, domain = _READERS[scale], _DOMAINS[scale]
    low, high = (read(each) for each in (first, last))
    if low not in domain or high not in domain:
        raise PeriodError(f"{text!r} is not a value of {scale}")
    if low <= high:
        return frozenset(each for each in domain if low <= each <= high)
    if scale == "yr":
        return frozenset(each for each in domain if high <= each <= low)
    return frozenset(each for each in domain if each >= low or each <= high)


_NONE = -1
"""Stands for a value that is refused. It is in no domain."""


def _number(text: str) -> int:
    return int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else _NONE


def _counted(text: str) -> int:
    """Read a number that counts from 1."""
    return _number(text) - 1 if _number(text) > 0 else _NONE


def _named(names: tuple[str, ...]) -> Callable[[str], int]:
    size = len(names[0])

    def read(text: str) -> int:
        if not re.search(r"[a-z]", text):
            return _counted(text)
        return names.index(text[:size]) if text[:size] in names else _NONE

    return read


def _hour(text: str) -> int:
    match = _HOUR.match(text)
    if match is None:
        return _number(text)
    hour = _number(match[1])
    if match[2] == "noon":
        return hour if hour == _NOON else _NONE
    if match[2] == "am":
        return 0 if hour == _NOON else hour
    return hour if hour == _NOON else hour + _NOON


def _year(text: str) -> int:
    year = _number(text)
    return _CENTURY + year if 0 <= year <= _SHORT_YEARS else year


_READERS: dict[str, Callable[[str], int]] = {
    "yr": _year,
    "mo": _named(_MONTHS),
    "wk": _counted,
    "yd": _counted,
    "md": _number,
    "wd": _named(_DAYS),
    "hr": _hour,
    "min": _number,
    "sec": _number,
}
_DOMAINS: dict[str, frozenset[int]] = {
    "yr": frozenset(range(_FIRST_YEAR, _LAST_YEAR + 1)),
    "mo": frozenset(range(12)),
    "wk": frozenset(range(6)),
    "yd": frozenset(range(366)),
    "md": frozenset(range(1, 32)),
    "wd": frozenset(range(7)),
    "hr": frozenset(range(24)),
    "min": frozenset(range(60)),
    "sec": frozenset(range(60)),
}
