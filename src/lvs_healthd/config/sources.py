"""Sources of real servers other than the configuration itself: the key `source`, and what a source lists.

Only the name of a source is configured. What it lists is given to the reading of the configuration from outside, so
that servers from a source are read, validated and put into force like all others.
"""

from collections.abc import Iterable, Mapping

import msgspec

from lvs_healthd.config.errors import Problem, WrongValueError, expected
from lvs_healthd.config.inline_table import inline_table
from lvs_healthd.config.shapes import table_shape, with_shape
from lvs_healthd.config.values import absolute_path, one_or_more

LISTED = "listed"
"""The first part of the key path of an entry that a source lists. Its name and the entry's number follow."""


class Source(msgspec.Struct, frozen=True):
    """Where real servers come from."""

    file: str
    """Path of a file that lists them."""

    def __str__(self) -> str:
        """Name the source for people, logs and metrics."""
        return f"file {self.file}"


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One real server that a source lists."""

    address: str
    """As in `real_server`: an address, with a port or without."""
    weight: int = 1
    place: str = ""
    """Where the source says so, for messages: "/etc/web.list:7"."""


Lists = Mapping[Source, tuple[Entry, ...]]
"""What is known of sources: the servers that each of them lists. A source of which nothing is known is not in it."""


def said(entries: Iterable[Entry]) -> dict[str, int]:
    """Return the weight of each address: what a list says, without the order and places of its entries."""
    return {entry.address: entry.weight for entry in entries}


def _source(value: object) -> Source:
    if not isinstance(value, dict):
        is_path = isinstance(value, str) and value.startswith("/")
        raise expected("a table", value, f'write source = {{ file = "{value}" }}' if is_path else "")
    found = inline_table(value, _PARSERS)
    if "file" not in found:
        raise WrongValueError(Problem((), 'file is missing: source = { file = "/etc/lvs-healthd/web.list" }'))
    return Source(**found)


_PARSERS = {"file": absolute_path}

with_shape(
    _source,
    msgspec.structs.replace(
        table_shape(_PARSERS, "a table with `file`, an absolute path", required=["file"]),
        write=lambda source: {"file": source.file},
    ),
)

sources = one_or_more(_source)
"""Parses the value of `source`: one source, or a list of them."""
