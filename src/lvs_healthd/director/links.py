"""Knows which of the director's network interfaces are down or without carrier, or were so a moment ago.

Below, such an interface is called broken. The kernel reports every change of an interface or address over netlink, so
no probe has to ask for it. A dump gives the state at the start, and again after reports were lost. Only the route to a
target has to be asked for, and only while some interface is broken: see `routes`.
"""

import functools
import ipaddress
import math
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

_GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR (linux/rtnetlink.h)."""

_NEWLINK, _DELLINK, _GETLINK, _NEWADDR, _DELADDR, _GETADDR, _NEWROUTE, _GETROUTE = 16, 17, 18, 20, 21, 22, 24, 26
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQUEST, _DUMP = 0x1, 0x300
_HEADER = struct.Struct("=IHHII")
"""struct nlmsghdr (linux/netlink.h)."""
_ROUTE = struct.Struct("=8BI")
"""struct rtmsg (linux/rtnetlink.h): the address family, the length of the destination, six more bytes and flags."""
_TIMEVAL = struct.Struct("@ll")
"""struct timeval: seconds and microseconds."""
_ATTRIBUTE = struct.Struct("=HH")
"""struct rtattr: its length and its type."""
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_VIA = 1, 4, 5, 7, 18
_FAMILY = struct.Struct("=H")
"""The address family in struct rtvia (linux/rtnetlink.h), for a router of another family than the target."""
_RTN_LOCAL = 2
"""The type of a route to an address of this host."""
_ANY_FAMILY = b"\0" * 4

_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_BROKEN = frozenset({"DOWN", "LOWERLAYERDOWN", "NOTPRESENT", "DORMANT"})
"""Operational states in which an interface passes no packets (RFC 2863). That of `lo`, dummies and tunnels is UNKNOWN,
so they are never broken in this way."""

RECEIVE_BYTES = 65536
_BUFFER_BYTES = 1024 * 1024
"""The size of the receive buffer. It has room for thousands of reports."""

DEADLINE_S = 2.0
"""How long the kernel may take for one answer, seconds. Another program may hold the kernel's lock for interfaces."""

IMPORTING = threading.Lock()
"""Held by a thread that imports pyroute2. Its modules import each other, so two threads at once would deadlock."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Route(NamedTuple):
    """The kernel's route to one address."""

    interface: int
    """The index of the interface to leave by; 0 when the kernel did not say."""
    source: str
    """The address from which the kernel would send; "" when it did not say."""
    is_local: bool
    """Whether the address is one of this host."""
    next_hop: str = ""
    """The address of the router; "" if the target is in the interface's own network."""


class Link:
    """One network interface. Times are seconds on the monotonic clock."""

    __slots__ = ("addresses", "broken", "good_since", "name", "networks", "was_good")

    def __init__(self, name: str) -> None:
        self.name = name
        self.broken = ""
        """What is wrong with it now, in words: "has no carrier". Empty while nothing is wrong."""
        self.good_since = -math.inf
        """When it last stopped being broken; minus infinity if that never happened."""
        self.was_good = False
        """Whether it has been good since the daemon started."""
        self.networks: set[Network] = set()
        """The networks of its addresses. Networks that the kernel removed because the interface went down stay here."""
        self.addresses: set[str] = set()
        """Its own addresses, which stay in the same way."""

    def prefix_towards(self, target: Address) -> int:
        """Return the prefix length of its narrowest network that contains `target`, bits; -1 if none does."""
        return max((each.prefixlen for each in self.networks if target in each), default=-1)

    def trouble(self, began: float) -> str:
        """Return in words what is wrong with it, or was since `began`; "" if nothing."""
        if self.broken:
            return f"our interface {self.name} {self.broken} (see: ip link show {self.name})"
        return f"our interface {self.name} was down a moment ago" if self.good_since > began else ""


class Links:
    """The director's interfaces, as the kernel reports them.

    clock: monotonic time, seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._links: dict[int, Link] = {}
        self._broken: dict[int, Link] = {}
        """The interfaces of `_links` that are broken now."""
        self._mended = -math.inf
        """When an interface last stopped being broken."""
        self._dumped: set[int] = set()
        """The interfaces that the kernel has reported since the last dump began."""

    def take(self, data: bytes) -> None:
        """Take netlink messages: reports, or a dump's answer."""
        for message in parser().parse(data):
            kind = message["header"]["type"]
            if kind in {_NEWLINK, _DELLINK}:
                self._take_link(message, is_there=kind == _NEWLINK)
            elif kind in {_NEWADDR, _DELADDR}:
                self._take_address(message, is_there=kind == _NEWADDR)

    def take_dump(self, answers: Iterable[bytes]) -> None:
        """Take all parts of a dump, and forget the interfaces that are not in it."""
        self._dumped.clear()
        for data in answers:
            self.take(data)
        for index in self._links.keys() - self._dumped:
            self._forget(index)

    def is_ours(self, address: str) -> bool:
        """Whether an address is one of the director's own."""
        return any(address in link.addresses for link in self._links.values())

    def broken(self, began: float) -> bool:
        """Whether any interface that matters is broken, or was since `began`."""
        return bool(self._suspects(began))

    def on_link(self, address: str, began: float) -> str:
        """Return in words what is wrong with the interface whose own network contains `address`; "" if nothing.

        It is "" too if no broken interface has such a network, or if a good interface has one at least as narrow.

        began: seconds on the monotonic clock. An interface that was broken since then counts as broken.
        """
        target = ipaddress.ip_address(address.partition("%")[0])
        suspects = self._suspects(began)
        length, suspect = max(
            ((each.prefix_towards(target), each) for each in suspects), key=_first, default=(-1, None)
        )
        if suspect is None or length < 0:
            return ""
        others = (each for each in self._links.values() if each not in suspects)
        return "" if any(each.prefix_towards(target) >= length for each in others) else suspect.trouble(began)

    def trouble(self, index: int, began: float) -> str:
        """Return in words what is, or was since `began`, wrong with the interface of this index; "" if nothing."""
        link = self._links.get(index)
        return link.trouble(began) if link is not None else ""

    def named(self, interface: str, began: float) -> str:
        """Return in words what is, or was since `began`, wrong with the interface of this name; "" if nothing."""
        return next((each.trouble(began) for each in self._links.values() if each.name == interface), "")

    def ongoing(self) -> tuple[str, ...]:
        """Return in words what is wrong with interfaces now."""
        return tuple(each.trouble(math.inf) for each in self._suspects(math.inf))

    def _suspects(self, began: float) -> list[Link]:
        """Return the interfaces that are broken, or were since `began`. There are few, even on hosts with many.

        A spare interface that was never connected and has no address is left out, because nothing is reached over it.
        """
        broken = [each for each in self._broken.values() if each.networks or each.was_good]
        if self._mended > began:
            broken += [each for each in self._links.values() if each.good_since > began and not each.broken]
        return broken

    def _take_link(self, message: Any, *, is_there: bool) -> None:  # noqa: ANN401  # pyroute2 has no types
        index = message["index"]
        # A bridge's messages about its ports (AF_BRIDGE) look like messages about links, and the one about a port that
        # has left looks like the end of an interface. But that interface still exists.
        if message["family"] not in {socket.AF_UNSPEC, socket.AF_INET6}:
            return
        if not is_there:
            self._forget(index)
            return
        name = message.get_attr("IFLA_IFNAME")
        if name is None or message["flags"] & _IFF_LOOPBACK:
            return
        self._dumped.add(index)
        link = self._links.get(index)
        if link is None:
            link = self._links[index] = Link(name)
        link.name = name
        before, link.broken = link.broken, what_is_broken(message)
        if link.broken:
            self._broken[index] = link
            return
        self._broken.pop(index, None)
        link.was_good = True
        if before:
            link.good_since = self._mended = self._clock()

    def _forget(self, index: int) -> None:
        self._links.pop(index, None)
        self._broken.pop(index, None)

    def _take_address(self, message: Any, *, is_there: bool) -> None:  # noqa: ANN401
        link = self._links.get(message["index"])
        address = message.get_attr("IFA_ADDRESS")
        if link is None or address is None:
            return
        network = ipaddress.ip_network(f"{address}/{message['prefixlen']}", strict=False)
        own = message.get_attr("IFA_LOCAL") or address
        if is_there:
            link.networks.add(network)
            link.addresses.add(own)
        elif not link.broken:
            link.networks.discard(network)
            link.addresses.discard(own)


def what_is_broken(message: Any) -> str:  # noqa: ANN401
    """Return what a message says is wrong with its interface; "" if nothing."""
    if not message["flags"] & _IFF_UP:
        return "is down"
    state = message.get_attr("IFLA_OPERSTATE")
    if message.get_attr("IFLA_CARRIER") == 0 or state in _BROKEN:
        return "has no carrier" if state != "DORMANT" else "waits to be let into the network (802.1X)"
    return ""


@functools.cache
def parser() -> Any:  # noqa: ANN401
    """Return pyroute2's parser of netlink messages.

    The first call imports pyroute2, which takes a quarter of a second, and ten times as long in an emulated guest. A
    thread makes this call once the daemon probes, so that the start does not wait for it.
    """
    with IMPORTING:
        from pyroute2.netlink.rtnl.marshal import MarshalRtnl  # noqa: PLC0415

    return MarshalRtnl()


def listener() -> socket.socket:
    """Return a socket that receives the kernel's reports. Raises `OSError`."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    opened.bind((0, _GROUPS))
    return opened


def dump() -> list[bytes]:
    """Return the state of all interfaces and addresses, for `Links.take_dump`.

    This may block, but for no longer than `DEADLINE_S` for each part. Raises `OSError`.
    """
    answers: list[bytes] = []
    with asking() as opened:
        for kind in (_GETLINK, _GETADDR):
            answers += dumped(opened, kind, _ANY_FAMILY + bytes(12 if kind == _GETLINK else 4))
    return answers


def dumped(opened: socket.socket, kind: int, request: bytes) -> list[bytes]:
    """Ask for all entries of one of the kernel's tables, and return the answers. This blocks. Raises `OSError`.

    opened: made by `asking`.
    kind: RTM_GETLINK and so on (linux/rtnetlink.h).
    request: the fixed part of such a request.
    """
    opened.send(_HEADER.pack(_HEADER.size + len(request), kind, _REQUEST | _DUMP, kind, 0) + request)
    answers = [answer_from(opened)]
    while not _ends(answers[-1]):
        answers.append(answer_from(opened))
    return answers


def routes(addresses: Iterable[str]) -> dict[str, int]:
    """Return, for each address, the index of the interface over which the kernel would send to it; 0 without a route.

    This may block, but for no longer than `DEADLINE_S` for each address. Raises `OSError`.
    """
    found = {}
    with asking() as opened:
        for address in addresses:
            opened.send(route_request(address))
            route = route_of(answer_from(opened))
            found[address] = route.interface if route is not None else 0
    return found


def asking() -> socket.socket:
    """Return a socket for questions to the kernel. Each answer comes within `DEADLINE_S`. Raises `OSError`."""
    opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    # With a timeout of its own, Python would poll before every call.
    seconds, rest = divmod(DEADLINE_S, 1.0)
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        opened.setsockopt(socket.SOL_SOCKET, option, _TIMEVAL.pack(int(seconds), int(rest * 1e6)))
    return opened


def answer_from(opened: socket.socket) -> bytes:
    """Return the next part of the answer. Raises `OSError`; it is `TimeoutError` if none comes in `DEADLINE_S`."""
    try:
        return opened.recv(RECEIVE_BYTES)
    except BlockingIOError:
        raise TimeoutError(f"no answer from the kernel in {DEADLINE_S:g}s") from None


def route_request(address: str) -> bytes:
    """Return an RTM_GETROUTE message, whose answer is for `route_of`.

    It is packed by hand because thousands of servers may fail at once.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    destination = socket.inet_pton(family, address.partition("%")[0])
    body = _ROUTE.pack(family, 8 * len(destination), *bytes(6), 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(destination), _RTA_DST) + destination
    return _HEADER.pack(_HEADER.size + len(body), _GETROUTE, _REQUEST, 0, 0) + body


def route_of(answer: bytes) -> Route | None:
    """Return the route in the answer to RTM_GETROUTE; None when the kernel knows none."""
    length, kind, *_ = _HEADER.unpack_from(answer)
    if kind != _NEWROUTE:
        return None
    family, *_, route_type, _flags = _ROUTE.unpack_from(answer, _HEADER.size)
    interface, source, next_hop = 0, "", ""
    position = _HEADER.size + _ROUTE.size
    while position + _ATTRIBUTE.size <= min(length, len(answer)):
        size, name = _ATTRIBUTE.unpack_from(answer, position)
        value = answer[position + _ATTRIBUTE.size : position + size]
        if name == _RTA_OIF:
            interface = int.from_bytes(value, sys.byteorder)
        elif name == _RTA_PREFSRC:
            source = socket.inet_ntop(family, value)
        elif name == _RTA_GATEWAY:
            next_hop = socket.inet_ntop(family, value)
        elif name == _RTA_VIA and len(value) > _FAMILY.size:
            next_hop = socket.inet_ntop(_FAMILY.unpack_from(value)[0], value[_FAMILY.size :])
        position += max(_ATTRIBUTE.size, size + 3 & ~3)
    return Route(interface, source, is_local=route_type == _RTN_LOCAL, next_hop=next_hop)


def _first(pair: tuple[int, Link]) -> int:
    return pair[0]


def _ends(answer: bytes) -> bool:
    """Return whether a part of a dump contains the dump's last message."""
    position = 0
    while position + _HEADER.size <= len(answer):
        length, kind, *_ = _HEADER.unpack_from(answer, position)
        if kind in {_NLMSG_DONE, _NLMSG_ERROR} or length < _HEADER.size:
            return True
        position += length + 3 & ~3
    return False
