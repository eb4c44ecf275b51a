"""Compares fields of a JSON body with what an http check expects of them (RFC 8259)."""

import re
from typing import Any, NamedTuple

import msgspec

from lvs_healthd.config.json_fields import parts_of
from lvs_healthd.probes.exchange import quote

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_INDEX = re.compile(r"[0-9]{1,9}")
_MISSING = object()


class _Field(NamedTuple):
    path: str
    """As the configuration has it."""
    parts: tuple[str, ...]
    expected: str | float | bool
    shown: str


class JsonFields:
    """The fields that one check compares.

    fields: each field's path, and its expected value as JSON.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: tuple[tuple[str, str], ...]) -> None:
        self._fields = tuple(_Field(path, parts_of(path), msgspec.json.decode(text), text) for path, text in fields)

    def fault(self, body: bytearray, hidden: tuple[bytes, ...]) -> str:
        """Say in words what is wrong with a whole body; empty when all fields are as expected.

        hidden: parts of secrets, which are not shown.
        """
        try:
            document = msgspec.json.decode(body.removeprefix(_BYTE_ORDER_MARK))
        except RecursionError:
            return "the body is JSON nested too deeply"
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            what = str(error).removeprefix("JSON is malformed: ")
            return f"the body is not JSON ({what}): {quote(body, hidden=hidden) if body else 'it is empty'}"
        for field in self._fields:
            found = _look_up(document, field.parts)
            if not _is_same(found, field.expected):
                return f"JSON field {field.path} {_in_words(found, hidden)}, expected {field.shown}"
        return ""


def _look_up(document: Any, parts: tuple[str, ...]) -> Any:  # noqa: ANN401  # whatever JSON holds
    for part in parts:
        if isinstance(document, dict):
            document = document.get(part, _MISSING)
        elif isinstance(document, list) and _INDEX.fullmatch(part) and int(part) < len(document):
            document = document[int(part)]
        else:
            return _MISSING
    return document


def _is_same(found: object, expected: str | float | bool) -> bool:  # noqa: FBT001
    """Compare without conversions: in Python 1 equals true. JSON has one type of numbers, so 1 is the same as 1.0."""
    if isinstance(found, bool) or isinstance(expected, bool):
        return found is expected
    return isinstance(found, str) is isinstance(expected, str) and found == expected


def _in_words(found: object, hidden: tuple[bytes, ...]) -> str:
    if found is _MISSING:
        return "is missing"
    if isinstance(found, dict | list):
        return "is an object" if isinstance(found, dict) else "is an array"
    if isinstance(found, str):
        return f"is {quote(found.encode(), hidden=hidden)}"
    return "is " + quote(msgspec.json.encode(found), hidden=hidden).replace('"', "")
