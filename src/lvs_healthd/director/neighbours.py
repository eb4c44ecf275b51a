"""Asks the director's neighbours whether they are there, and reads who has answered.

A neighbour is a host in the network of one of our interfaces: a real server, or the router to it. The kernel keeps a
table of them, with the time since each has last shown that it is there, by an answer to ARP (NDISC for IPv6) or by
acknowledging data. To have a neighbour asked at once, its entry is set to the state PROBE. The kernel then sends it a
request, and nothing else changes.

Sources: struct ndmsg and struct nda_cacheinfo (linux/neighbour.h), __neigh_update and neigh_timer_handler in
net/core/neighbour.c. The kernel counts the times in the table in hundredths of a second (USER_HZ).
"""

import itertools
import socket
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lvs_healthd.director import links

_NEWNEIGH, _GETNEIGH = 28, 30
_REQUEST, _REPLACE = 0x1, 0x100
_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr (linux/netlink.h)."""
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
"""struct ndmsg: the address family, the interface's index, state, flags and type."""
_ATTRIBUTE = struct.Struct("=HH")
_NDA_DST = 1
_TICKS = 100.0
"""USER_HZ: how many of the table's units of time are a second."""

_REACHABLE, _STALE, _DELAY, _PROBE = 0x2, 0x4, 0x8, 0x10
_ANSWERED_ONCE = _REACHABLE | _STALE | _DELAY | _PROBE
"""The states of a neighbour whose link-layer address is known by asking."""

_STATES = {
    0x01: "INCOMPLETE",
    _REACHABLE: "REACHABLE",
    _STALE: "STALE",
    _DELAY: "DELAY",
    _PROBE: "PROBE",
    0x20: "FAILED",
    0x40: "NOARP",
    0x80: "PERMANENT",
}
"""The words of `ip neigh` for the states (NUD_*, linux/neighbour.h)."""

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
    with links.asking() as opened:
        answers = links.dumped(opened, _GETNEIGH, bytes(_NEIGHBOUR.size))
    return [*read(answers)]


def read(answers: Iterable[bytes]) -> Iterator[Neighbour]:
    """Yield the neighbours whose link-layer addresses are known by asking.

    answers: RTM_NEWNEIGH messages, as the kernel sends them.
    """
    for message in itertools.chain.from_iterable(links.parser().parse(data) for data in answers):
        if message["header"]["type"] != _NEWNEIGH or not message["state"] & _ANSWERED_ONCE:
            continue
        address, times = message.get_attr("NDA_DST"), message.get_attr("NDA_CACHEINFO")
        if message["family"] in (socket.AF_INET, socket.AF_INET6) and address and times:
            silent_s = times["ndm_confirmed"] / _TICKS
            yield Neighbour(message["ifindex"], address, message["state"], silent_s)


def ask(them: Iterable[Neighbour]) -> None:
    """Have the kernel ask these neighbours at once. Its answer is not awaited. This blocks. Raises `OSError`."""
    with links.asking() as opened:
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


class Entry(NamedTuple):
    """One entry of the kernel's table in any state."""

    interface: int
    """The interface's index."""
    address: str
    hardware: str
    """The link-layer address; "" if it is not known."""
    state: str
    """"REACHABLE", "FAILED" and so on, as `ip neigh` shows it."""


def entries() -> list[Entry]:
    """Return the whole of the kernel's table. This blocks. Raises `OSError`."""
    with links.asking() as opened:
        return [*read_entries(links.dumped(opened, _GETNEIGH, bytes(_NEIGHBOUR.size)))]


def read_entries(answers: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the neighbours in RTM_NEWNEIGH messages, whatever their state."""
    for message in itertools.chain.from_iterable(links.parser().parse(data) for data in answers):
        if message["header"]["type"] == _NEWNEIGH and (address := message.get_attr("NDA_DST")):
            state = next((name for bit, name in _STATES.items() if message["state"] & bit), "NONE")
            yield Entry(message["ifindex"], address, message.get_attr("NDA_LLADDR") or "", state)
