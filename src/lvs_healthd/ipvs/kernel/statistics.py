"""What the kernel counts of services and servers: kept as the bytes it sent, decoded when somebody asks.

A resync reads the counters of ten thousand servers, and hardly anybody looks at them before the next one. As bytes they
take 140 a server, as Python's numbers 500, and to decode them takes as long as to read all the rest.

Wire format: include/uapi/linux/ip_vs.h and net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_genl_fill_stats64.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from lvs_healthd.ipvs.kernel.genetlink import GarbledMessageError, attribute, attributes
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord

Spans = Mapping[int, tuple[int, int]]
"""Where attributes are in a message, as `genetlink.attributes` finds them."""

# IPVS_DEST_ATTR_*
_ACTIVE_CONNS = 7
_INACT_CONNS = 8
_PERSIST_CONNS = 9

# The same number in IPVS_SVC_ATTR_* and IPVS_DEST_ATTR_*
_STATS = 10
"""Numbers of 32 bits, and all there is before Linux 4.1."""
_STATS64 = 12

COUNTED_CONNECTIONS = ((_ACTIVE_CONNS, 4), (_INACT_CONNS, 4), (_PERSIST_CONNS, 4))
COUNTED_STATS = ((_STATS, 88), (_STATS64, 120))
"""The attributes of a destination that count something, with their bytes, as Linux sends them on 64 bits."""

_STATS_KINDS = range(1, 11)
"""IPVS_STATS_ATTR_CONNS to IPVS_STATS_ATTR_OUTBPS."""

_NOWHERE = (0, 0)
_MOST_CONNECTIONS = 0xFFFFFFFF

# A row is three attributes of 32 bits without the first header, then ten of 64 bits with theirs: as the kernel sends
# them, so that cutting two pieces from its message is all there is to do.
_ROW = struct.Struct("=I4xI4xI" + "4xQ" * len(_STATS_KINDS))
_CONNECTIONS = struct.Struct("=I4xI4xI")
_U32 = struct.Struct("=I")
_U64 = struct.Struct("=Q")
_STATS64_BYTES = 12 * len(_STATS_KINDS)
_KIND_BYTES = bytes(_STATS_KINDS)
_CONNECTION_KINDS = bytes((_ACTIVE_CONNS, _INACT_CONNS, _PERSIST_CONNS))
"""The kinds of attributes that lie one behind the other, as every kernel sends them: one byte of each, eight or twelve
apart. What does not look so, on a big-endian machine nothing does, is read one by one."""
_NO_CONNECTIONS = bytes(_CONNECTIONS.size)
NOTHING = bytes(_ROW.size)
"""The row of what has not counted anything."""


class Statistics(msgspec.Struct, frozen=True, gc=False):
    """What the kernel has counted since the entry was added or zeroed (`ipvsadm -Z`).

    A service counts connections, packets and bytes of its own; they are not the sum of its servers', of which some may
    be gone. The first three are 0 there.
    """

    active_connections: int
    """In state ESTABLISHED; the rest is inactive. The kernel's scheduler goes by these."""
    inactive_connections: int
    persistent_connections: int
    """Persistence templates: clients bound to this server."""
    connections: int
    in_packets: int
    """From clients."""
    out_packets: int
    """To clients; 0 where answers do not pass the director (dr, tun)."""
    in_bytes: int
    out_bytes: int
    connections_per_s: int
    """This and the following are the kernel's own estimators: an average over some seconds, renewed every two."""
    in_packets_per_s: int
    out_packets_per_s: int
    in_bytes_per_s: int
    out_bytes_per_s: int


class ServiceStatistics(msgspec.Struct, frozen=True, gc=False):
    """What the kernel has counted of one service and its servers, as of one reading."""

    keys: tuple[DestinationKey, ...]
    rows: bytes
    """The service's own row, then one for each key."""

    def service(self) -> Statistics:
        """Decode the service's own."""
        return Statistics(*_ROW.unpack_from(self.rows))

    def column(self, field: str) -> list[int]:
        """Decode one field of every server's, in the order of `keys`."""
        return [number for (number,) in _COLUMNS[field].iter_unpack(memoryview(self.rows)[_ROW.size :])]

    def servers(self) -> dict[DestinationKey, tuple[int, ...]]:
        """Decode each server's; the fields are those of `Statistics`, which takes as long again to make."""
        return dict(zip(self.keys, _ROW.iter_unpack(memoryview(self.rows)[_ROW.size :]), strict=True))


def _column(number: int) -> struct.Struct:
    """Return what takes one field from a row and leaves the rest."""
    offset, form = (8 * number, "I") if number < 3 else (_CONNECTIONS.size + 12 * (number - 3) + 4, "Q")
    rest = _ROW.size - offset - struct.calcsize(f"={form}")
    return struct.Struct(f"={offset}x{form}{rest}x")


_COLUMNS = {field: _column(number) for number, field in enumerate(Statistics.__struct_fields__)}


def encoded(statistics: Statistics) -> bytes:
    """Write a row."""
    numbers = msgspec.structs.astuple(statistics)
    return _CONNECTIONS.pack(*numbers[:3]) + _counted(numbers[3:])


def joined(service: bytes, servers: Sequence[tuple[DestinationRecord, bytes]]) -> ServiceStatistics:
    """Put the rows of one reading together."""
    keys = tuple([record.key for record, _ in servers])
    return ServiceStatistics(keys, b"".join([service, *[row for _, row in servers]]))


def service_row(payload: bytes, found: Spans) -> bytes:
    """Cut a service's row from a message, where `found` is where its attributes are. Raises `GarbledMessageError`."""
    return _NO_CONNECTIONS + _stats(payload, found)


def server_row(payload: bytes, found: Spans) -> bytes:
    """Cut a server's row from a message, where `found` is where its attributes are. Raises `GarbledMessageError`."""
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
    # Of 32 bits, padded, or in an order of its own.
    inner = attributes(payload, *found.get(_STATS64, found.get(_STATS, _NOWHERE)))
    return _counted([_number(payload, inner.get(kind, _NOWHERE)) for kind in _STATS_KINDS])


def _counted(numbers: Iterable[int]) -> bytes:
    return b"".join(attribute(kind, _U64.pack(number)) for kind, number in zip(_STATS_KINDS, numbers, strict=True))


def _number(payload: bytes, span: tuple[int, int]) -> int:
    """Read a number of either size; one that is missing is 0."""
    start, end = span
    form = {_U32.size: _U32, _U64.size: _U64}.get(end - start)
    return 0 if form is None else int(form.unpack_from(payload, start)[0])
