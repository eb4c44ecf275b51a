"""Turns a log entry (timestamp, level, event, then fields in order) into a line of JSON or of readable text."""

import json
from collections.abc import Callable, Mapping

from lvs_healthd.runtime.printable import printable

Entry = Mapping[str, object]
Format = Callable[[Entry], str]

_RESET, _DIM, _BOLD = "\x1b[0m", "\x1b[2m", "\x1b[1m"
_COLOURS = {"debug": _DIM, "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[1;31m", "critical": "\x1b[1;31m"}

_COUNTED = {"failures": "fall", "passes": "rise"}
"""The fields that count something, each with the field that holds its limit. On a terminal the two become one:
failures=2/3."""


def as_json(entry: Entry) -> str:
    """Format an entry as one JSON object."""
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":"))


def readable(*, colour: bool) -> Format:
    """Return the format for a terminal: `timestamp level event  key=value …`."""

    def paint(code: str, text: str) -> str:
        return f"{code}{text}{_RESET}" if colour else text

    def write(entry: Entry) -> str:
        fields = dict(entry)
        timestamp, level, event = (str(fields.pop(key)) for key in ("timestamp", "level", "event"))
        exception = fields.pop("exception", None)
        words, below = [], []
        for key, value in _joined(fields).items():
            if value is None:
                continue
            if isinstance(value, (list, tuple)) and any(" " in str(item) for item in value):
                below += [f"    {printable(str(item))}" for item in value]
            else:
                words.append(paint(_DIM, key + "=") + _value(value))
        if exception is not None:
            below += [f"    {printable(line)}" for line in str(exception).splitlines()]
        head = f"{paint(_DIM, timestamp)} {paint(_COLOURS[level], level.ljust(7))} {paint(_BOLD, event)}"
        return "\n".join(["  ".join([head, *([" ".join(words)] if words else [])]), *below])

    return write


def _joined(fields: dict[str, object]) -> dict[str, object]:
    """Replace each count and its limit with one field."""
    for count, limit in _COUNTED.items():
        if count in fields and limit in fields:
            fields[count] = f"{fields[count]}/{fields.pop(limit)}"
    return fields


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return _value(", ".join(f"{key} {number}" for key, number in value.items()))
    if isinstance(value, (list, tuple)):
        return _value(",".join(str(item) for item in value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = str(value)
    if text and text.isprintable() and not any(character in ' "=' for character in text):
        return text
    return '"' + printable(text).replace('"', '\\"') + '"'
