"""Parses `damping` of a service."""

from lvs_healthd.config.errors import expected
from lvs_healthd.config.inline_table import inline_table
from lvs_healthd.config.model import Damping
from lvs_healthd.config.shapes import shaped, table_shape
from lvs_healthd.config.values import duration, integer

_PARSERS = {
    "falls": integer(2, 100),
    "window": duration("10s", "24h"),
    "longest": duration("1s", "24h"),
}
"""The keys of the table."""


_WORDS = 'true, false, or a table such as { falls = 4, window = "10m", longest = "30m" }'


@shaped(_WORDS, anyOf=[{"type": "boolean"}, table_shape(_PARSERS, "a table").schema])
def damping(value: object) -> Damping | None:
    """Parse true for the usual values, false for none, or a table of values."""
    if isinstance(value, bool):
        return Damping() if value else None
    if not isinstance(value, dict):
        raise expected(_WORDS, value)
    return Damping(**inline_table(value, _PARSERS))
