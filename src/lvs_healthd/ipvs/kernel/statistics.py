"""Keeps the kernel's counters for services and servers as raw bytes, and decodes them on demand.

A resync reads the counters of up to ten thousand servers, and often nobody looks at them before the next resync. A
server's counters take 140 bytes raw, and 500 bytes as Python numbers. To decode them all would take as long as to read
the rest of the table.

Wire format: include/uapi/linux/ip_vs.h and net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_fill_stats64.
"""

import struct
from collections.abc import Iterable, Mapping

import msgspec

from lvs_healthd.ipvs.kernel.genetlink import GarbledMessageError, attribute, attributes
from lvs_healthd.ipvs.records import DestinationKey

Spans = Mapping[int, tuple[int, int]]
"""The offsets of attributes in a message, as `genetlink.attributes` returns them."""

# IPVS_DEST_ATTR_*
_ACTIVE_CONNS = 7
_INACT_CONNS = 8
_PERSIST_CONNS = 9

# The next two attributes have the same number in IPVS_SVC_ATTR_* and IPVS_DEST_ATTR_*.
_STATS = 10
"""The attribute with 32-bit counters, the only ones before Linux 4.1."""
_STATS64 = 12

COUNTED_CONNECTIONS = ((_ACTIVE_CONNS, 4), (_INACT_CONNS, 4), (_PERSIST_CONNS, 4))
COUNTED_STATS = ((_STATS, 88), (_STATS64, 120))
"""The attributes of a destination that hold counters, each with its size in bytes on 64-bit Linux."""

_STATS_KINDS = range(1, 11)
"""The types of the attributes inside `_STATS` and `_STATS64`: IPVS_STATS_ATTR_CONNS to IPVS_STATS_ATTR_OUTBPS."""

_NOWHERE = (0, 0)
_MOST_CONNECTIONS = 0xFFFFFFFF

# A row holds the counters of one service or server: three 32-bit attributes without the first one's header, then ten
# 64-bit attributes with their headers. The kernel sends attributes in just this layout, so a row consists of two slices
# of the kernel's message.
_ROW = struct.Struct("=I4xI4xI" + "4xQ" * len(_STATS_KINDS))
_CONNECTIONS = struct.Struct("=I4xI4xI")
_ATTRIBUTE_HEADER = struct.Struct("=HH")
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")
_STATS64_BYTES = 12 * len(_STATS_KINDS)
_KIND_BYTES = bytes(_STATS_KINDS)
_CONNECTION_KINDS = bytes((_ACTIVE_CONNS, _INACT_CONNS, _PERSIST_CONNS))
"""The low byte of each connection attribute's type, in the order in which every kernel sends these attributes.
`_KIND_BYTES` is the same for the statistics. In a message, the bytes are eight (connections) or twelve (statistics)
bytes apart. A message in which they are elsewhere is read attribute by attribute. That is every message on a big-endian
machine."""
_NO_CONNECTIONS = bytes(_CONNECTIONS.size)
NOTHING = bytes(_ROW.size)
"""A row with every counter at 0."""
_USUAL_BYTES = (
    # The headers of the second and the third connection attribute, then the low byte of each counter's type.
    *((4 + place, value) for place, value in enumerate(_ATTRIBUTE_HEADER.pack(8, _INACT_CONNS))),
    *((12 + place, value) for place, value in enumerate(_ATTRIBUTE_HEADER.pack(8, _PERSIST_CONNS))),
    *((_CONNECTIONS.size + 12 * place + 2, kind) for place, kind in enumerate(_STATS_KINDS)),
)
"""The bytes of a row that are the same in every row with the usual layout, each with its place."""


class Statistics(msgspec.Struct, frozen=True, gc=False):
    """The kernel's counters for a service or server, since it was added or zeroed (`ipvsadm -Z`).

    A service has counters of its own. They may differ from the sum of its servers' counters, because some servers may
    be gone. The first three fields are 0 for a service.
    """

    active_connections: int
    """Number of connections in state ESTABLISHED; all others are inactive. Most schedulers of the kernel decide by
    active and inactive connections."""
    inactive_connections: int
    persistent_connections: int
    """Number of persistence templates, each of which binds a client to this server."""
    connections: int
    in_packets: int
    """Number of packets from clients."""
    out_packets: int
    """Number of packets to clients; 0 when answers bypass the director (dr, tun)."""
    in_bytes: int
    out_bytes: int
    connections_per_s: int
    """The kernel's estimate of new connections per second. All fields that end in `per_s` are estimates: averages over
    some seconds, which the kernel updates every two seconds."""
    in_packets_per_s: int
    out_packets_per_s: int
    in_bytes_per_s: int
    out_bytes_per_s: int


class ServiceStatistics(msgspec.Struct, frozen=True, gc=False):
    """The counters of one service and its servers, as they were read together."""

    keys: tuple[DestinationKey, ...]
    """The service's servers."""
    rows: bytes
    """The encoded counters: one row for the service itself, then one for each server, in the order of `keys`."""

    def service(self) -> Statistics:
        """Decode the service's own counters."""
        return Statistics(*_ROW.unpack_from(self.rows))

    def column(self, field: str) -> list[int]:
        """Decode one field for every server, in the order of `keys`."""
        return [number for (number,) in _COLUMNS[field].iter_unpack(memoryview(self.rows)[_ROW.size :])]

    def servers(self) -> dict[DestinationKey, tuple[int, ...]]:
        """Decode the counters of every server, as tuples in the order of the fields of `Statistics`.

        To make a `Statistics` record of each would take twice as long.
        """
        return dict(zip(self.keys, _ROW.iter_unpack(memoryview(self.rows)[_ROW.size :]), strict=True))


def _column(number: int) -> struct.Struct:
    """Return a struct that unpacks only field `number` of a row."""
    offset, form = (8 * number, "I") if number < 3 else (_CONNECTIONS.size + 12 * (number - 3) + 4, "Q")
    rest = _ROW.size - offset - struct.calcsize(f"={form}")
    return struct.Struct(f"={offset}x{form}{rest}x")


_COLUMNS = {field: _column(number) for number, field in enumerate(Statistics.__struct_fields__)}


def encoded(statistics: Statistics) -> bytes:
    """Encode counters as a row."""
    numbers = msgspec.structs.astuple(statistics)
    return _CONNECTIONS.pack(*numbers[:3]) + _counted(numbers[3:])


def are_usual(rows: bytes) -> bool:
    """Return whether joined rows have the headers of the layout that `server_row` takes for the usual one, each."""
    count = len(rows) // _ROW.size
    return all(rows[place :: _ROW.size] == bytes((value,)) * count for place, value in _USUAL_BYTES)


def service_row(payload: bytes, found: Spans) -> bytes:
    """Extract a service's row from a message. `found` locates the attributes. Raises `GarbledMessageError`."""
    return _NO_CONNECTIONS + _stats(payload, found)


def server_row(payload: bytes, found: Spans) -> bytes:
    """Extract a server's row from a message. `found` locates the attributes. Raises `GarbledMessageError`."""
    start, _ = found.get(_ACTIVE_CONNS, _NOWHERE)
    _, end = found.get(_PERSIST_CONNS, _NOWHERE)
    if end - start == _CONNECTIONS.size and payload[start - 2 : end : 8] == _CONNECTION_KINDS:
        return payload[start:end] + _stats(payload, found)
    numbers = [_number(payload, found.get(kind, _NOWHERE)) for kind, _ in COUNTED_CONNECTIONS]
    if max(numbers) > _MOST_CONNECTIONS:
        raise GarbledMessageError("IPVS destination with more connections than 32 bits can count")
    return _CONNECTIONS.pack(*numbers) + _stats(payload, found)


def _stats(payload: bytes, found: Spans) -> bytes:
    start, end = found.get(_STATS64, _NOWHERE)
    if end - start == _STATS64_BYTES and payload[start + 2 : end : 12] == _KIND_BYTES:
        return payload[start:end]
    # The usual layout does not fit: the counters have 32 bits, are padded, or come in another order.
    inner = attributes(payload, *found.get(_STATS64, found.get(_STATS, _NOWHERE)))
    return _counted([_number(payload, inner.get(kind, _NOWHERE)) for kind in _STATS_KINDS])


def _counted(numbers: Iterable[int]) -> bytes:
    return b"".join(attribute(kind, _U64.pack(number)) for kind, number in zip(_STATS_KINDS, numbers, strict=True))


def _number(payload: bytes, span: tuple[int, int]) -> int:
    """Read a number of 32 or 64 bits. Returns 0 when it is missing."""
    start, end = span
    form = {_U32.size: _U32, _U64.size: _U64}.get(end - start)
    return 0 if form is None else int(form.unpack_from(payload, start)[0])
