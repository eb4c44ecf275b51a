"""Parses `min_up` of a service."""

from collections.abc import Callable
from typing import Any

import msgspec

from lvs_healthd.config.errors import Problem, WrongValueError, expected
from lvs_healthd.config.inline_table import inline_table
from lvs_healthd.config.model import MinUp
from lvs_healthd.config.shapes import Shape, shape_of, shaped, table_shape, with_shape
from lvs_healthd.config.values import integer, percentage

_MOST = 2**31 - 1
"""More than the servers of any service, or their weights, add up to."""

_whole = integer(1, _MOST)
_share = percentage(1, 100)


def min_up(value: object) -> MinUp:
    """Parse a number of servers, a share of them, or a table with one of these or a weight, and a hysteresis."""
    if not isinstance(value, dict):
        return _count(value)
    found = inline_table(value, _PARSERS)
    if ("count" in found) is ("weight" in found):
        what = "count and weight exclude each other" if found.get("count") else "count is missing"
        raise WrongValueError(Problem((), f"{what}: min_up = {{ count = 2, hysteresis = 1 }}"))
    hysteresis = found.get("hysteresis", 0)
    made = found.get("count") or MinUp(weight=found["weight"])
    needed = made.count or made.weight
    if needed and hysteresis >= needed:
        raise WrongValueError(Problem(("hysteresis",), f"must be less than what is needed, which is {needed}"))
    return msgspec.structs.replace(made, hysteresis=hysteresis)


@shaped('a number of servers, or a share such as "50%"', anyOf=[shape_of(_whole).schema, shape_of(_share).schema])
def _count(value: object) -> MinUp:
    if isinstance(value, int) and not isinstance(value, bool):
        return MinUp(count=_whole(value))
    if isinstance(value, str) and value.endswith("%"):
        return MinUp(percent=_share(value))
    fix = f'write {value} without quotes, or "{value}%"' if isinstance(value, str) and value.isdecimal() else ""
    raise expected('a number of servers such as 2, a share such as "50%", or a table', value, fix)


_PARSERS: dict[str, Callable[[object], Any]] = {
    "count": _count,
    "weight": _whole,
    "hysteresis": integer(0, _MOST),
}
"""The keys of the table."""

_TABLE = table_shape(_PARSERS, "a table", minProperties=1)


def _written(needed: MinUp) -> object:
    return f"{needed.percent}%" if needed.percent else needed.count


with_shape(
    min_up,
    Shape(
        schema={"anyOf": [*shape_of(_count).schema["anyOf"], _TABLE.schema]},
        words=f"{shape_of(_count).words}, or a table with `count` or `weight`, and `hysteresis`",
        write=_written,
    ),
)
