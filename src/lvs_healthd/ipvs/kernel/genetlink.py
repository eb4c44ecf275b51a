"""Encodes and decodes generic netlink messages. This module uses no socket, and contains nothing about IPVS.

Wire format: include/uapi/linux/netlink.h and genetlink.h. All numbers are in the host's byte order.
"""

import functools
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lvs_healthd.runtime.exceptions import PeerError

NLMSG_ERROR = 2
NLMSG_DONE = 3

NLM_F_REQUEST = 0x001
NLM_F_ACK = 0x004
NLM_F_DUMP_INTR = 0x010
NLM_F_DUMP = 0x300
NLM_F_CAPPED = 0x100
"""In an acknowledgement, this flag means that the request's payload is not echoed."""
NLM_F_ACK_TLVS = 0x200
"""In an acknowledgement, this flag means that attributes follow, which may include the kernel's message."""

GENL_ID_CTRL = 0x10
CTRL_VERSION = 2
CTRL_CMD_GETFAMILY = 3

_CTRL_ATTR_FAMILY_ID = 1
_CTRL_ATTR_FAMILY_NAME = 2
_NLMSGERR_ATTR_MSG = 1
_NLA_TYPE_MASK = 0x3FFF
"""The mask that removes the bits NLA_F_NESTED and NLA_F_NET_BYTEORDER from an attribute's type."""

_MESSAGE_HEADER = struct.Struct("=IHHII")
_REQUEST_HEADER = struct.Struct("=IHHIIBBH")
_ATTRIBUTE_HEADER = struct.Struct("=HH")
_ERROR = struct.Struct("=i")
_LENGTH = struct.Struct("=I")
_FAMILY_ID = struct.Struct("=H")

_MANY = 3
"""How many messages are worth splitting at once."""

HEADER_BYTES = _MESSAGE_HEADER.size
GENL_HEADER_BYTES = 4


class GarbledMessageError(PeerError):
    """Raised when bytes are not a valid netlink message: they are cut short, or lengths in them are wrong."""


class Message(NamedTuple):
    """One netlink message."""

    type: int
    flags: int
    sequence: int
    payload: bytes


class Listed(NamedTuple):
    """The whole answer to a request for a list."""

    payloads: list[bytes]
    """What each message of the list holds."""
    end: Message
    """The message that ends the list, or refuses it."""
    is_interrupted: bool
    """Whether the list changed while the kernel made it, so that something may be missing."""


class Answer(NamedTuple):
    """An acknowledgement: an errno, 0 for success, and the kernel's own message, which is usually empty."""

    errno: int
    text: str


def request(family: int, command: int, attributes: bytes, *, flags: int, sequence: int, version: int) -> bytes:
    """Frame one generic netlink request."""
    length = _REQUEST_HEADER.size + len(attributes)
    header = _REQUEST_HEADER.pack(length, family, flags | NLM_F_REQUEST, sequence, 0, command, version, 0)
    return header + attributes


def messages(data: bytes) -> Iterator[Message]:
    """Split the bytes that one call of recv returned into messages. Raises `GarbledMessageError`."""
    position = 0
    end = len(data)
    while position < end:
        if position + HEADER_BYTES > end:
            raise GarbledMessageError(f"netlink message header cut short at byte {position} of {end}")
        length, kind, flags, sequence, _port = _MESSAGE_HEADER.unpack_from(data, position)
        if length < HEADER_BYTES or position + length > end:
            raise GarbledMessageError(f"netlink message of {length} bytes at byte {position} of {end}")
        yield Message(kind, flags, sequence, data[position + HEADER_BYTES : position + length])
        position += aligned(length)


def alike(data: bytes) -> tuple[Message, list[bytes], bytes] | None:
    """Split off the messages at the start of `data` if all their headers are the same, as in most of a list.

    Return the first message, what each of them holds, and the bytes behind them; None if they are not alike, which only
    `messages` can tell more of, or so few that it takes less time.
    """
    if len(data) < HEADER_BYTES:
        return None
    length, kind, flags, sequence, _port = _MESSAGE_HEADER.unpack_from(data)
    step = aligned(length)
    count = len(data) // step if length > HEADER_BYTES else 0
    if count < _MANY:
        return None
    headers, payloads = zip(*_step(length).iter_unpack(data[: count * step]), strict=True)
    if len({*headers}) > 1:
        return None
    return Message(kind, flags, sequence, payloads[0]), list(payloads), data[count * step :]


@functools.lru_cache(maxsize=64)
def _step(length: int) -> struct.Struct:
    """Return what unpacks a message of this length with its padding: its header, and what it holds."""
    return struct.Struct(f"={HEADER_BYTES}s{length - HEADER_BYTES}s{aligned(length) - length}x")


def attribute(kind: int, value: bytes) -> bytes:
    """Encode one attribute, padded to four bytes."""
    length = _ATTRIBUTE_HEADER.size + len(value)
    return _ATTRIBUTE_HEADER.pack(length, kind) + value + bytes(aligned(length) - length)


def attributes(data: bytes, position: int, end: int) -> dict[int, tuple[int, int]]:
    """Find the attributes in `data[position:end]`. The result maps each type to the (start, end) offsets of its value.

    Offsets cost less than slices: a destination has about a dozen attributes, and numbers can be unpacked in place.
    Raises `GarbledMessageError`.
    """
    found: dict[int, tuple[int, int]] = {}
    unpack = _ATTRIBUTE_HEADER.unpack_from
    while position + 4 <= end:
        length, kind = unpack(data, position)
        if length < 4 or position + length > end:
            raise GarbledMessageError(f"netlink attribute of {length} bytes, {end - position} left")
        found[kind & _NLA_TYPE_MASK] = (position + 4, position + length)
        position += (length + 3) & ~3
    return found


def spans(order: Iterable[tuple[int, int]], position: int) -> tuple[dict[int, tuple[int, int]], int]:
    """Return what `attributes` would find for a fixed layout, and the offset where that layout ends.

    order: each attribute's type, and the size of its value in bytes, without header and padding.
    position: offset of the first attribute.
    """
    found: dict[int, tuple[int, int]] = {}
    for kind, size in order:
        start = position + _ATTRIBUTE_HEADER.size
        found[kind] = (start, start + size)
        position = start + aligned(size)
    return found, position


def answer(message: Message) -> Answer:
    """Read an NLMSG_ERROR or NLMSG_DONE message. Raises `GarbledMessageError`."""
    payload = message.payload
    if len(payload) < _ERROR.size:
        if message.type == NLMSG_DONE:
            return Answer(0, "")  # kernels before 2.6.36 end some dumps without a status
        raise GarbledMessageError("netlink acknowledgement cut short")
    (code,) = _ERROR.unpack_from(payload)
    text = _words(message) if message.flags & NLM_F_ACK_TLVS and message.type == NLMSG_ERROR else ""
    return Answer(-code if code < 0 else 0, text)


def family_name(name: str) -> bytes:
    """Encode the attributes of a CTRL_CMD_GETFAMILY request for the family called `name`."""
    return attribute(_CTRL_ATTR_FAMILY_NAME, name.encode() + b"\0")


def family_id(payload: bytes) -> int:
    """Read the family's number from the reply to CTRL_CMD_GETFAMILY. Raises `GarbledMessageError`."""
    found = attributes(payload, GENL_HEADER_BYTES, len(payload))
    start, end = found.get(_CTRL_ATTR_FAMILY_ID, (0, 0))
    if end - start < _FAMILY_ID.size:
        raise GarbledMessageError("netlink family without a number")
    return int(_FAMILY_ID.unpack_from(payload, start)[0])


def _words(message: Message) -> str:
    """Return the kernel's message, one of the attributes that follow an acknowledgement (NETLINK_EXT_ACK)."""
    payload = message.payload
    if len(payload) < _ERROR.size + HEADER_BYTES:
        raise GarbledMessageError("netlink acknowledgement cut short")
    start = _ERROR.size + HEADER_BYTES
    if not message.flags & NLM_F_CAPPED:
        (echoed,) = _LENGTH.unpack_from(payload, _ERROR.size)
        start = _ERROR.size + aligned(echoed)
    first, last = attributes(payload, start, len(payload)).get(_NLMSGERR_ATTR_MSG, (0, 0))
    return payload[first:last].rstrip(b"\0").decode("utf-8", "replace")


def aligned(length: int) -> int:
    """Round a length up to a multiple of four bytes, as netlink pads messages and attributes."""
    return (length + 3) & ~3
