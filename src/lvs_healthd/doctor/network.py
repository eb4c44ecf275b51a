"""Looks at the director's network: interfaces, addresses, routes, neighbours and counters. Everything here blocks.

Call these functions inside the network namespace that they are about.
"""

import ipaddress
import itertools
import socket
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from lvs_healthd.director import links, neighbours
from lvs_healthd.doctor.observations import Link, Server, Service, Way

_GETROUTE = 26
_SOL_NETLINK, _NETLINK_GET_STRICT_CHK = 270, 12
"""An option (linux/netlink.h) with which the kernel lists only the routes that the request describes."""
_ROUTE = struct.Struct("=8BI")
_RTN_LOCAL = 2
_LOOPBACK = 0x8
_NO_ARP = 0x80
"""IFF_LOOPBACK and IFF_NOARP (linux/if.h)."""
_COUNTERS = ("snmp", "netstat")
_STRANGERS = {"ipv4": "198.18.0.1", "ipv6": "2001:2::1"}
"""Addresses to which nobody has a route but the default one (RFC 2544, RFC 5180). Only the kernel is asked for the way:
nothing is sent there."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Port(NamedTuple):
    """An interface with what is needed to ask on it."""

    number: int
    """Its index."""
    link: Link
    hardware: str
    """Its link-layer address."""
    has_arp: bool


class Own(NamedTuple):
    """One of the director's addresses."""

    address: str
    network: Network
    port: Port


class Around(NamedTuple):
    """The director's interfaces and addresses, and its neighbours."""

    ports: tuple[Port, ...]
    own: tuple[Own, ...]
    neighbours: Mapping[tuple[int, str], neighbours.Entry]
    """By the interface's index and the neighbour's address."""

    def on_link(self, address: str) -> Own | None:
        """Return our address in the narrowest network that contains `address`; None if there is none."""
        target = ipaddress.ip_address(address)
        near = [each for each in self.own if target in each.network and not _is_host(each.network)]
        return max(near, key=lambda each: each.network.prefixlen, default=None)

    def port(self, name: str) -> Port | None:
        """Return the interface of this name; None if there is none."""
        return next((each for each in self.ports if each.link.name == name), None)


def look_around() -> Around:
    """Read interfaces, addresses and neighbours. Raises `OSError`."""
    found: dict[int, Port] = {}
    own: list[tuple[str, int, int]] = []
    for message in itertools.chain.from_iterable(links.parser().parse(data) for data in links.dump()):
        if name := message.get_attr("IFLA_IFNAME"):
            flags = message["flags"]
            link = Link(name=name, mtu=message.get_attr("IFLA_MTU") or 0, trouble=links.what_is_broken(message))
            hardware = message.get_attr("IFLA_ADDRESS") or ""
            found[message["index"]] = Port(message["index"], link, hardware, not flags & (_LOOPBACK | _NO_ARP))
        elif address := message.get_attr("IFA_ADDRESS"):
            own.append((message.get_attr("IFA_LOCAL") or address, message["prefixlen"], message["index"]))
    for index, port in found.items():
        addresses = tuple(f"{address}/{length}" for address, length, at in own if at == index)
        found[index] = port._replace(link=msgspec.structs.replace(port.link, addresses=addresses))
    around = {(each.interface, each.address): each for each in neighbours.entries()}
    owned = tuple(
        Own(address, ipaddress.ip_network(f"{address}/{length}", strict=False), found[at])
        for address, length, at in own
        if at in found
    )
    return Around(tuple(found.values()), owned, around)


def located(services: Iterable[Service], around: Around) -> list[Service]:
    """Return the services with the ways to them and to their servers. Raises `OSError`."""
    chosen = list(services)
    addresses = {each.address for each in chosen if each.address}
    ways = _ways(
        {*_STRANGERS.values()} | addresses | {server.address for each in chosen for server in each.servers}, around
    )
    ours = {each for each in addresses if (way := ways.get(each)) is not None and way.is_local}
    elsewhere = _taken_elsewhere(addresses - ours) if addresses - ours else frozenset()
    return [
        msgspec.structs.replace(
            each,
            is_located=True,
            way=ways.get(each.address),
            local_elsewhere=each.address in elsewhere,
            interface=_interface_of(each.address, around) if each.address else "",
            leaves=_leaving(each, ways, around),
            servers=tuple(_placed(server, ways.get(server.address), around) for server in each.servers),
        )
        for each in chosen
    ]


def counters() -> dict[str, int]:
    """Read the kernel's counters of IP, ICMP and TCP, by names such as "Ip.InDiscards"."""
    found: dict[str, int] = {}
    for name in _COUNTERS:
        try:
            lines = Path(f"/proc/thread-self/net/{name}").read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for heads, numbers in zip(lines[::2], lines[1::2], strict=False):
            group, _, names = heads.partition(":")
            for each, number in zip(names.split(), numbers.split()[1:], strict=False):
                found[f"{group}.{each}"] = int(number)
    return found


def _ways(addresses: Iterable[str], around: Around) -> dict[str, Way | None]:
    names = {port.number: port.link.name for port in around.ports}
    found: dict[str, Way | None] = {}
    with links.asking() as opened:
        for address in addresses:
            opened.send(links.route_request(address))
            route = links.route_of(links.answer_from(opened))
            found[address] = route and Way(
                interface=names.get(route.interface, ""),
                next_hop=route.next_hop,
                source=route.source,
                is_local=route.is_local,
            )
    return found


def _taken_elsewhere(addresses: Iterable[str]) -> frozenset[str]:
    """Return which addresses some routing table takes as ours: with marks and rules, packets to them may get there."""
    local: list[Network] = []
    with links.asking() as opened:
        opened.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        for family in (socket.AF_INET, socket.AF_INET6):
            request = _ROUTE.pack(family, 0, 0, 0, 0, 0, 0, _RTN_LOCAL, 0)
            for answer in links.dumped(opened, _GETROUTE, request):
                for message in links.parser().parse(answer):
                    if message["header"]["type"] == _GETROUTE - 2 and message["type"] == _RTN_LOCAL:
                        anywhere = "::" if family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104  # a destination
                        target = message.get_attr("RTA_DST") or anywhere
                        local.append(ipaddress.ip_network(f"{target}/{message['dst_len']}", strict=False))
    return frozenset(each for each in addresses if any(ipaddress.ip_address(each) in network for network in local))


def _leaving(service: Service, ways: Mapping[str, Way | None], around: Around) -> tuple[str, ...]:
    outward = ways.get(_STRANGERS[service.family])
    names = (_interface_of(service.address, around) if service.address else "", outward.interface if outward else "")
    return tuple(dict.fromkeys(name for name in names if name))


def _interface_of(address: str, around: Around) -> str:
    """Return the interface on which others ask for a service's address: its own, or one in whose network it is."""
    holder = next((own.port for own in around.own if own.address == address and own.port.has_arp), None)
    if holder is not None:
        return holder.link.name
    near = around.on_link(address)
    return near.port.link.name if near is not None else ""


def _placed(server: Server, way: Way | None, around: Around) -> Server:
    if way is None or way.is_local:
        return msgspec.structs.replace(server, way=way)
    near = around.on_link(server.address)
    is_near = near is not None and near.port.link.name == way.interface and not way.next_hop
    port = around.port(way.interface)
    entry = around.neighbours.get((port.number, way.next_hop or server.address)) if port is not None else None
    return msgspec.structs.replace(
        server,
        way=way,
        network=str(near.network) if near is not None and is_near else "",
        neighbour=entry.state if entry is not None else "",
        hardware=entry.hardware if entry is not None and not way.next_hop else "",
    )


def _is_host(network: Network) -> bool:
    return network.prefixlen == network.max_prefixlen
