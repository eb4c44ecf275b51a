"""Reads the table of JSON fields that an http check compares: where each field is, and what it must be."""

import math

import msgspec

from lvs_healthd.config.errors import Problem, WrongValueError, expected
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.shapes import shaped

MOST_JSON_BYTES = 131072
"""The largest `max_body` of a check with `json`, bytes. Decoding as much takes up to 8 ms of CPU (measured with an
array of empty arrays), and no other probe is served meanwhile."""

_WHAT = 'a table such as { status = "ok", "checks.db.up" = true }'


@shaped(_WHAT, type="object")
def json_fields(value: object) -> tuple[tuple[str, str], ...]:
    """Parse a table of fields. Return each field's path, and its value as JSON.

    The values stay JSON, because in Python `true`, 1 and 1.0 are equal, and checks that differ only in them would be
    taken for the same.
    """
    if not isinstance(value, dict):
        raise expected(_WHAT, value)
    fields: dict[tuple[str, ...], tuple[str, str]] = {}
    problems: list[Problem] = []
    left: list[tuple[KeyPath, str, object]] = [((key,), key, inner) for key, inner in reversed(value.items())]
    while left:
        at, path, inner = left.pop()
        if isinstance(inner, dict) and inner and not path.startswith("/"):
            left += [((*at, key), f"{path}.{key}", each) for key, each in reversed(inner.items())]
            continue
        parts = parts_of(path)
        if not all(parts) and not path.startswith("/"):
            problems.append(Problem(at, 'not a path: write the keys with dots between them, such as "checks.db.up"'))
        elif parts in fields:
            problems.append(Problem(at, f"this field is already set, as {fields[parts][0]}"))
        elif not _is_json(inner):
            problems += expected("a string, a number, true or false", inner, at=at).problems
        fields.setdefault(parts, (path, ""))
        if not problems:
            fields[parts] = path, msgspec.json.encode(inner).decode()
    if problems:
        raise WrongValueError(*problems)
    return tuple(fields.values())


def _is_json(value: object) -> bool:
    """Return whether a TOML value is a string, number or boolean that JSON has too, and that probes can read."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, str | bool) or (isinstance(value, int) and -(2**63) <= value < 2**64)


def parts_of(path: str) -> tuple[str, ...]:
    """Split a field's path into keys of objects and indices of arrays.

    path: the parts with dots between them; or a JSON pointer, which begins with a slash, for keys that contain dots
        (RFC 6901).
    """
    if path.startswith("/"):
        return tuple(part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/"))
    return tuple(path.split("."))
