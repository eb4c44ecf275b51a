"""Encodes IPVS records as generic netlink attributes, and decodes them. `genetlink` frames messages, `channel` sends.

Wire format: include/uapi/linux/ip_vs.h and net/netfilter/ipvs/ip_vs_ctl.c. The code uses `struct` instead of a general
netlink library, because a director with ten thousand servers reads them all at each resync. To decode a destination
takes a few microseconds here, and 360 µs with such a library.
"""

import functools
import socket
import struct

from lvs_healthd.ipvs.kernel.genetlink import (
    GENL_HEADER_BYTES,
    GarbledMessageError,
    aligned,
    attribute,
    attributes,
    spans,
)
from lvs_healthd.ipvs.kernel.statistics import (
    COUNTED_CONNECTIONS,
    COUNTED_STATS,
    Spans,
    server_row,
    service_row,
)
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, Operation, ServiceKey, ServiceRecord, Verb
from lvs_healthd.ipvs.words import AF_INET, AF_INET6, SVC_F_HASHED, ForwardingMethod

FAMILY_NAME = "IPVS"
VERSION = 1

CMD_GET_SERVICE = 4
CMD_GET_DEST = 8
CMD_GET_INFO = 15

_COMMANDS = {
    Verb.ADD_SERVICE: 1,  # IPVS_CMD_NEW_SERVICE
    Verb.SET_SERVICE: 2,
    Verb.DELETE_SERVICE: 3,
    Verb.ADD_SERVER: 5,  # IPVS_CMD_NEW_DEST
    Verb.SET_SERVER: 6,
    Verb.DELETE_SERVER: 7,
}

# IPVS_CMD_ATTR_*
_SERVICE = 1
DEST = 2

# IPVS_SVC_ATTR_*
_SVC_AF = 1
_SVC_PROTOCOL = 2
_SVC_ADDR = 3
_SVC_PORT = 4
_SVC_FWMARK = 5
_SVC_SCHED_NAME = 6
_SVC_FLAGS = 7
_SVC_TIMEOUT = 8
_SVC_NETMASK = 9
_SVC_PE_NAME = 11

# IPVS_DEST_ATTR_*
_DEST_ADDR = 1
_DEST_PORT = 2
_DEST_FWD_METHOD = 3
_DEST_WEIGHT = 4
_DEST_U_THRESH = 5
_DEST_L_THRESH = 6
DEST_ADDR_FAMILY = 11
_DEST_TUN_TYPE = 13
_DEST_TUN_PORT = 14
_DEST_TUN_FLAGS = 15

# IPVS_INFO_ATTR_*
_INFO_VERSION = 1

_ATTRIBUTE_HEADER = struct.Struct("=HH")
_U8 = struct.Struct("=B")
_U16 = struct.Struct("=H")
_BE16 = struct.Struct(">H")
_U32 = struct.Struct("=I")
_BE32 = struct.Struct(">I")
_FLAGS = struct.Struct("=II")
_ALL_FLAGS = 0xFFFFFFFF
"""The mask that is sent with flags. All its bits are set, so the kernel sets every flag to the record's value."""

# All attributes of a destination after its address, including their headers. So one call of pack replaces nine.
_DEST_KEY_REST = struct.Struct("=HH2s2x")
_DEST_REST = struct.Struct("=" + "HHI" * 4 + "HHH2x" + "HHB3x" + "HH2s2x" + "HHH2x")
_ADDR_FAMILY = struct.Struct("=HHH2x")

_FWD_MASK = 0x7
_METHODS = tuple(ForwardingMethod)

# The types and sizes of a destination's attributes, in the order in which the kernel sends them since Linux 5.3.
# To check that a message has this layout takes a fraction of the time that a search for the attributes takes.
_USUAL_ORDER = (
    (_DEST_ADDR, 16),
    (_DEST_PORT, 2),
    (_DEST_FWD_METHOD, 4),
    (_DEST_WEIGHT, 4),
    (_DEST_TUN_TYPE, 1),
    (_DEST_TUN_PORT, 2),
    (_DEST_TUN_FLAGS, 2),
    (_DEST_U_THRESH, 4),
    (_DEST_L_THRESH, 4),
    *COUNTED_CONNECTIONS,
    (DEST_ADDR_FAMILY, 2),
    *COUNTED_STATS,
)
USUAL_SPANS, USUAL_BYTES = spans(_USUAL_ORDER, GENL_HEADER_BYTES + _ATTRIBUTE_HEADER.size)
_USUAL_HEADERS = struct.Struct(f"={GENL_HEADER_BYTES}xHH" + "".join(f"HH{aligned(size)}x" for _, size in _USUAL_ORDER))
_USUAL = (
    *(USUAL_BYTES - GENL_HEADER_BYTES, DEST),
    *(number for kind, size in _USUAL_ORDER for number in (_ATTRIBUTE_HEADER.size + size, kind)),
)
_USUAL_VALUES = struct.Struct(
    "=8x" + "4x16s" + "4x2s2x" + "4xI" * 2 + "4xB3x" + "4x2s2x" + "4xH2x" + "4xI" * 2 + "24x" + "4xH"
)
_IPV4_BITS = 32
_IPV6_BITS = 128
_IPV4_ONES = 0xFFFFFFFF


def encode(operation: Operation) -> tuple[int, bytes]:
    """Return the command number and the attributes of one write."""
    verb = operation.verb
    command = _COMMANDS[verb]
    if verb in (Verb.ADD_SERVICE, Verb.SET_SERVICE):
        return command, encode_service(operation.service)
    service = encode_service_key(operation.service.key)
    if verb is Verb.DELETE_SERVICE:
        return command, service
    destination = operation.destination
    if destination is None:
        raise ValueError(f"{verb} without a destination")
    if verb is Verb.DELETE_SERVER:
        return command, service + encode_destination_key(destination.key)
    return command, service + encode_destination(destination)


@functools.lru_cache(maxsize=1024)
def encode_service_key(key: ServiceKey) -> bytes:
    """Encode what identifies a service. The result is cached, because every write to one of its servers needs it."""
    return attribute(_SERVICE, _service_identity(key))


def encode_service(record: ServiceRecord) -> bytes:
    """Encode a whole service."""
    body = (
        _service_identity(record.key)
        + attribute(_SVC_SCHED_NAME, record.scheduler.encode() + b"\0")
        + attribute(_SVC_FLAGS, _FLAGS.pack(record.flags & ~SVC_F_HASHED, _ALL_FLAGS))
        + attribute(_SVC_TIMEOUT, _U32.pack(record.timeout))
        + attribute(_SVC_NETMASK, _encode_netmask(record.key.family, record.netmask))
    )
    if record.persistence_engine:
        body += attribute(_SVC_PE_NAME, record.persistence_engine.encode() + b"\0")
    return attribute(_SERVICE, body)


def encode_destination_key(key: DestinationKey) -> bytes:
    """Encode what identifies a destination within its service."""
    family = _ADDR_FAMILY.pack(6, DEST_ADDR_FAMILY, key.family)
    return attribute(DEST, _destination_identity(key) + family)


def encode_destination(record: DestinationRecord) -> bytes:
    """Encode a whole destination."""
    rest = _DEST_REST.pack(
        *(8, _DEST_FWD_METHOD, record.forward),
        *(8, _DEST_WEIGHT, record.weight),
        *(8, _DEST_U_THRESH, record.upper_threshold),
        *(8, _DEST_L_THRESH, record.lower_threshold),
        *(6, DEST_ADDR_FAMILY, record.key.family),
        *(5, _DEST_TUN_TYPE, record.tunnel_type),
        *(6, _DEST_TUN_PORT, _BE16.pack(record.tunnel_port)),
        *(6, _DEST_TUN_FLAGS, record.tunnel_flags),
    )
    return attribute(DEST, _destination_identity(record.key) + rest)


def decode_service(payload: bytes) -> ServiceRecord:
    """Decode one message of a service dump. Unknown attributes are skipped. Raises `GarbledMessageError`."""
    return _service(payload, _nested(payload, _SERVICE))


def decode_counted_service(payload: bytes) -> tuple[ServiceRecord, bytes]:
    """Decode like `decode_service`, and also return the service's row for `statistics`."""
    found = _nested(payload, _SERVICE)
    return _service(payload, found), service_row(payload, found)


def decode_destination(payload: bytes, service_family: int) -> DestinationRecord:
    """Decode one message of a destination dump. Unknown attributes are skipped. Raises `GarbledMessageError`.

    service_family: used when the message has no family for the destination, as with kernels before 3.18.
    """
    return _destination(payload, _nested(payload, DEST), service_family)


def decode_counted_destination(payload: bytes, service_family: int) -> tuple[DestinationRecord, bytes]:
    """Decode like `decode_destination`, and also return the server's row for `statistics`."""
    if len(payload) == USUAL_BYTES and _USUAL_HEADERS.unpack_from(payload) == _USUAL:
        return _usual_destination(payload, service_family), server_row(payload, USUAL_SPANS)
    found = _nested(payload, DEST)
    return _destination(payload, found, service_family), server_row(payload, found)


def decode_info(payload: bytes) -> str:
    """Decode the reply to GET_INFO into a description such as "IPVS 1.2.1". Raises `GarbledMessageError`.

    The reply also holds the size of the connection table. It is left out because Linux 7.2 resizes that table at run
    time.
    """
    found = attributes(payload, GENL_HEADER_BYTES, len(payload))
    version = _number(_U32, payload, found, _INFO_VERSION)
    return f"IPVS {version >> 16 & 0xFF}.{version >> 8 & 0xFF}.{version & 0xFF}"


def _service(payload: bytes, found: Spans) -> ServiceRecord:
    try:
        family = _unpack(_U16, payload, found[_SVC_AF])
        mark = _number(_U32, payload, found, _SVC_FWMARK)
        if mark:
            key = ServiceKey(family=family, fwmark=mark)
        else:
            key = ServiceKey(
                family=family,
                protocol=_unpack(_U16, payload, found[_SVC_PROTOCOL]),
                address=_address(family, payload, found[_SVC_ADDR]),
                port=_unpack(_BE16, payload, found[_SVC_PORT]),
            )
        return ServiceRecord(
            key=key,
            scheduler=_text(payload, found[_SVC_SCHED_NAME]),
            flags=_number(_U32, payload, found, _SVC_FLAGS) & ~SVC_F_HASHED,
            timeout=_number(_U32, payload, found, _SVC_TIMEOUT),
            netmask=_decode_netmask(family, payload, found.get(_SVC_NETMASK)),
            persistence_engine=_text(payload, found[_SVC_PE_NAME]) if _SVC_PE_NAME in found else "",
        )
    except KeyError as error:
        raise GarbledMessageError(f"IPVS service without attribute {error}") from error
    except (ValueError, OSError) as error:
        raise GarbledMessageError(f"IPVS service: {error}") from error


def _destination(payload: bytes, found: Spans, service_family: int) -> DestinationRecord:
    try:
        family = _number(_U16, payload, found, DEST_ADDR_FAMILY) or service_family
        return DestinationRecord(
            key=DestinationKey(
                family=family,
                address=_address(family, payload, found[_DEST_ADDR]),
                port=_unpack(_BE16, payload, found[_DEST_PORT]),
            ),
            forward=ForwardingMethod(_unpack(_U32, payload, found[_DEST_FWD_METHOD]) & _FWD_MASK),
            weight=_unpack(_U32, payload, found[_DEST_WEIGHT]),
            upper_threshold=_number(_U32, payload, found, _DEST_U_THRESH),
            lower_threshold=_number(_U32, payload, found, _DEST_L_THRESH),
            tunnel_type=_number(_U8, payload, found, _DEST_TUN_TYPE),
            tunnel_port=_number(_BE16, payload, found, _DEST_TUN_PORT),
            tunnel_flags=_number(_U16, payload, found, _DEST_TUN_FLAGS),
        )
    except KeyError as error:
        raise GarbledMessageError(f"IPVS destination without attribute {error}") from error
    except (ValueError, OSError) as error:
        raise GarbledMessageError(f"IPVS destination: {error}") from error


def _usual_destination(payload: bytes, service_family: int) -> DestinationRecord:
    """Decode a destination with the usual layout, in a third of the time that searching takes."""
    address, port, forward, weight, *tunnel, upper, lower, family = _USUAL_VALUES.unpack_from(payload)
    family = family or service_family
    try:
        text = socket.inet_ntop(family, address[:4] if family == AF_INET else address)
        method = _METHODS[forward & _FWD_MASK]
    except (ValueError, OSError, IndexError) as error:
        raise GarbledMessageError(f"IPVS destination: {error}") from error
    kind, tunnel_port, flags = tunnel
    return DestinationRecord(
        DestinationKey(family, text, int.from_bytes(port, "big")),
        method,
        weight,
        upper,
        lower,
        kind,
        int.from_bytes(tunnel_port, "big"),
        flags,
    )


def _service_identity(key: ServiceKey) -> bytes:
    family = attribute(_SVC_AF, _U16.pack(key.family))
    if key.fwmark:
        return family + attribute(_SVC_FWMARK, _U32.pack(key.fwmark))
    return (
        family
        + attribute(_SVC_PROTOCOL, _U16.pack(key.protocol))
        + attribute(_SVC_ADDR, socket.inet_pton(key.family, key.address))
        + attribute(_SVC_PORT, _BE16.pack(key.port))
    )


def _destination_identity(key: DestinationKey) -> bytes:
    address = socket.inet_pton(key.family, key.address)
    return attribute(_DEST_ADDR, address) + _DEST_KEY_REST.pack(6, _DEST_PORT, _BE16.pack(key.port))


def _encode_netmask(family: int, netmask: int) -> bytes:
    """Encode a netmask: for IPv6 the prefix length as a number, for IPv4 the mask itself in network order."""
    if family == AF_INET6:
        return _U32.pack(netmask)
    if netmask < 0:
        return _BE32.pack(-netmask)
    return _BE32.pack(_IPV4_ONES << (_IPV4_BITS - netmask) & _IPV4_ONES)


def _decode_netmask(family: int, payload: bytes, span: tuple[int, int] | None) -> int:
    if span is None:
        return _IPV6_BITS if family == AF_INET6 else _IPV4_BITS
    if family == AF_INET6:
        return _unpack(_U32, payload, span)
    mask = _unpack(_BE32, payload, span)
    prefix = mask.bit_count()
    has_holes = mask != _IPV4_ONES << (_IPV4_BITS - prefix) & _IPV4_ONES
    return -mask if has_holes else prefix


def _nested(payload: bytes, kind: int) -> Spans:
    whole, start = len(payload), GENL_HEADER_BYTES
    inner = start + _ATTRIBUTE_HEADER.size
    if whole >= inner and _ATTRIBUTE_HEADER.unpack_from(payload, start) == (whole - start, kind):
        # The message holds only this record, as usual. A search for it would make decoding a tenth slower.
        return attributes(payload, inner, whole)
    return attributes(payload, *attributes(payload, start, whole).get(kind, (0, 0)))


def _number(form: struct.Struct, payload: bytes, found: Spans, kind: int) -> int:
    """Read an attribute; 0 when it is missing."""
    span = found.get(kind)
    return 0 if span is None else _unpack(form, payload, span)


def _unpack(form: struct.Struct, payload: bytes, span: tuple[int, int]) -> int:
    start, end = span
    if end - start < form.size:
        raise GarbledMessageError(f"IPVS attribute of {end - start} bytes, expected {form.size}")
    value: int = form.unpack_from(payload, start)[0]
    return value


def _address(family: int, payload: bytes, span: tuple[int, int]) -> str:
    """Read an address. The kernel sends 16 bytes for either family, of which IPv4 uses the first four."""
    if family == AF_INET:
        return socket.inet_ntop(AF_INET, payload[span[0] : min(span[1], span[0] + 4)])
    return socket.inet_ntop(family, payload[span[0] : span[1]])


def _text(payload: bytes, span: tuple[int, int]) -> str:
    return payload[span[0] : span[1]].partition(b"\0")[0].decode("ascii")
