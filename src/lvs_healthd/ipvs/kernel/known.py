"""Decodes the destinations of a dump, and recognises those that the last reading had too.

From one resync to the next, hardly anything changes but the counters. So the bytes that say what a destination is are
compared for many destinations at once, and only those that are new are decoded. That takes two fifths of the time for a
whole resync.
"""

import itertools
import struct
from collections.abc import Sequence
from typing import NamedTuple

from lvs_healthd.ipvs.kernel import codec
from lvs_healthd.ipvs.kernel.genetlink import GENL_HEADER_BYTES, aligned
from lvs_healthd.ipvs.kernel.statistics import COUNTED_CONNECTIONS, COUNTED_STATS, are_usual
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord

_FEW = 2
"""So few destinations are decoded one by one, which takes less time than to recognise them. The mark services of path
probes have one each."""

_ATTRIBUTE_HEADER = struct.Struct("=HH")

# The usual layout of a destination, in the parts in which a whole list is compared: the header of the destination, what
# it is, the header of the first connection attribute, the rest of these, the family, and the headers and values of the
# counters.
_FIRST_CONNECTIONS, _FAMILY_START = (
    codec.USUAL_SPANS[COUNTED_CONNECTIONS[0][0]][0],
    codec.USUAL_SPANS[codec.DEST_ADDR_FAMILY][0] - 4,
)
_PARTS = struct.Struct(
    f"={GENL_HEADER_BYTES}x4s{_FIRST_CONNECTIONS - 4 - GENL_HEADER_BYTES - 4}s"
    f"4s{_FAMILY_START - _FIRST_CONNECTIONS}s8s4s{aligned(COUNTED_STATS[0][1])}x4s{COUNTED_STATS[1][1]}s"
)
_PART_HEADERS = tuple(
    frozenset((_ATTRIBUTE_HEADER.pack(_ATTRIBUTE_HEADER.size + size, kind),))
    for kind, size in (
        (codec.DEST, codec.USUAL_BYTES - GENL_HEADER_BYTES - _ATTRIBUTE_HEADER.size),
        COUNTED_CONNECTIONS[0],
        *COUNTED_STATS,
    )
)


class Found(NamedTuple):
    """Some destinations of one service, in the kernel's order."""

    records: dict[DestinationKey, DestinationRecord]
    """Shared with later readings, so nobody may change it."""
    keys: tuple[DestinationKey, ...]
    rows: bytes
    """Their rows for `statistics`, joined."""


class Known:
    """What the last reading has found."""

    def __init__(self) -> None:
        self._before: dict[tuple[int, bytes], dict[DestinationKey, DestinationRecord]] = {}
        self._found: dict[tuple[int, bytes], dict[DestinationKey, DestinationRecord]] = {}
        """The destinations by the bytes that say what they are, and the family of their service."""

    def begin(self) -> None:
        """Begin to read the whole table."""
        self._before, self._found = self._found, {}

    def end(self) -> None:
        """Forget what was not found again."""
        self._before = {}

    def decoded(self, payloads: Sequence[bytes], service_family: int) -> Found:
        """Decode some destinations of a service, as `codec.decode_counted_destination` does. Raises the same."""
        identity, rows = usual_parts(payloads) if len(payloads) > _FEW else _UNUSUAL
        which = service_family, identity
        records = self._found.get(which) or self._before.get(which) if identity else None
        if records is not None:
            self._found[which] = records
            return Found(records, tuple(records), rows)
        decoded = [codec.decode_counted_destination(each, service_family) for each in payloads]
        keys = tuple([record.key for record, _ in decoded])
        found = Found({record.key: record for record, _ in decoded}, keys, b"".join([row for _, row in decoded]))
        # What comes twice, or only looks like the usual layout, is decoded each time.
        if identity and found.rows == rows and len(found.records) == len(keys):
            self._found[which] = found.records
        return found


class UsualParts(NamedTuple):
    """The parts of a list of destinations, all of which have the usual layout."""

    identity: bytes
    """The bytes that say what the destinations are: everything but their counters."""
    rows: bytes
    """Their rows for `statistics`, joined."""


_UNUSUAL = UsualParts(b"", b"")


def usual_parts(payloads: Sequence[bytes]) -> UsualParts:
    """Split a list of destinations into parts, without decoding them. The parts are empty if there is another layout.

    The attributes in `identity` are not looked at, not even their headers.
    """
    if {*map(len, payloads)} != {codec.USUAL_BYTES}:
        return _UNUSUAL
    parts = zip(*_PARTS.iter_unpack(b"".join(payloads)), strict=True)
    heads, identities, first_heads, connections, families, old_heads, wide_heads, counters = parts
    if tuple(map(frozenset, (heads, first_heads, old_heads, wide_heads))) != _PART_HEADERS:
        return _UNUSUAL
    rows = b"".join(itertools.chain.from_iterable(zip(connections, counters, strict=True)))
    return UsualParts(b"".join((*identities, *families)), rows) if are_usual(rows) else _UNUSUAL
