"""Asks the director's neighbours whether they are there, and reads who has answered.

A neighbour is a host in the network of one of our interfaces: a real server, or the router to it. The kernel keeps a
table of them, with the time since each has last shown that it is there, by an answer to ARP (NDISC for IPv6) or by
acknowledging data. To have a neighbour asked at once, its entry is set to the state PROBE. The kernel then sends it a
request, and nothing else changes.

Sources: struct ndmsg and struct nda_cacheinfo (linux/neighbour.h), __neigh_update and neigh_timer_handler in
net/core/neighbour.c. The kernel counts the times in the table in hundredths of a second (USER_HZ).
"""

import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lvs_healthd.director.links import RECEIVE_BYTES, asking

_NEWNEIGH, _GETNEIGH = 28, 30
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _REPLACE, _DUMP = 0x1, 0x100, 0x300
_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr (linux/netlink.h)."""
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
"""struct ndmsg: the address family, the interface's index, state, flags and type."""
_ATTRIBUTE = struct.Struct("=HH")
_CACHE = struct.Struct("=IIII")
"""struct nda_cacheinfo: times since confirmed, used and updated, and a reference count."""
_NDA_DST, _NDA_CACHEINFO = 1, 3
_TICKS = 100.0
"""USER_HZ: how many of the table's units of time are a second."""

_REACHABLE, _STALE, _DELAY, _PROBE = 0x2, 0x4, 0x8, 0x10
_ANSWERED_ONCE = _REACHABLE | _STALE | _DELAY | _PROBE
"""The states of a neighbour whose link-layer address is known by asking."""

MOST_ASKED = 8
"""How many neighbours of one interface are asked at a time. One answer is enough."""


class Neighbour(NamedTuple):
    """One entry of the kernel's table."""

    interface: int
    """The interface's index."""
    address: str
    state: int
    """NUD_REACHABLE and so on (linux/neighbour.h)."""
    silent_s: float
    """How long ago it last showed that it is there, seconds."""


def neighbours() -> list[Neighbour]:
    """Return the neighbours whose link-layer addresses are known by asking. This blocks. Raises `OSError`."""
    found: list[Neighbour] = []
    with asking() as opened:
        opened.send(_HEADER.pack(_HEADER.size + _NEIGHBOUR.size, _GETNEIGH, _REQUEST | _DUMP, 0, 0) + bytes(12))
        while True:
            answer = opened.recv(RECEIVE_BYTES)
            for kind, body in _messages(answer):
                if kind in (_NLMSG_DONE, _NLMSG_ERROR):
                    return found
                if kind == _NEWNEIGH and (each := _read(body)) is not None and each.state & _ANSWERED_ONCE:
                    found.append(each)


def ask(them: Iterable[Neighbour]) -> None:
    """Have the kernel ask these neighbours at once. Its answer is not awaited. This blocks. Raises `OSError`."""
    with asking() as opened:
        for each in them:
            family = socket.AF_INET6 if ":" in each.address else socket.AF_INET
            address = socket.inet_pton(family, each.address)
            body = _NEIGHBOUR.pack(family, each.interface, _PROBE, 0, 0)
            body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(address), _NDA_DST) + address
            opened.send(_HEADER.pack(_HEADER.size + len(body), _NEWNEIGH, _REQUEST | _REPLACE, 0, 0) + body)


def worth_asking(them: Iterable[Neighbour], interface: int, address: str) -> list[Neighbour]:
    """Return whom to ask in order to learn whether a way works: who has shown last that it is there.

    interface: the index of the way's interface.
    address: the way's next hop; "" for the interface itself, where any neighbour will do.
    """
    meant = [each for each in them if each.interface == interface and address in ("", each.address)]
    return sorted(meant, key=lambda each: each.silent_s)[:MOST_ASKED]


def _messages(answer: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and body of each netlink message."""
    position = 0
    while position + _HEADER.size <= len(answer):
        length, kind, *_ = _HEADER.unpack_from(answer, position)
        if length < _HEADER.size:
            return
        yield kind, answer[position + _HEADER.size : position + length]
        position += length + 3 & ~3


def _read(body: bytes) -> Neighbour | None:
    if len(body) < _NEIGHBOUR.size:
        return None
    family, interface, state, _flags, _type = _NEIGHBOUR.unpack_from(body)
    address, silent_s = "", None
    position = _NEIGHBOUR.size
    while position + _ATTRIBUTE.size <= len(body):
        size, name = _ATTRIBUTE.unpack_from(body, position)
        value = body[position + _ATTRIBUTE.size : position + size]
        if name == _NDA_DST and family in (socket.AF_INET, socket.AF_INET6):
            address = socket.inet_ntop(family, value)
        elif name == _NDA_CACHEINFO and len(value) >= _CACHE.size:
            silent_s = _CACHE.unpack_from(value)[0] / _TICKS
        position += max(_ATTRIBUTE.size, size + 3 & ~3)
    return Neighbour(interface, address, state, silent_s) if address and silent_s is not None else None
