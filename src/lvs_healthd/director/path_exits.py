"""Finds out from where the director can send path probes, so that their answers tell the truth.

A path probe goes to the virtual service's own address, which the director usually has itself. Left to the kernel, it
would be sent from that same address, and with dr and tunnels the answer would stay on the real server. So each probe is
bound to another address of the director:

- With dr and tunnels, one from which the kernel would also send to the real server. The answer comes from the service's
  address, which is the director's own, and the kernel drops it unless `accept_local` is set on its interface.
- With nat, one that is not on the real server's own network, and the interface that leads to the real server. The
  answer then arrives only if the server's route to strangers, such as clients, leads through this director. From an
  address on its own network, a server would answer directly, whatever its routes. (Over IPv6 the interface is left to
  the kernel, which knows no way to its own address by another interface. So a server whose answers take another way to
  this director passes.)
"""

import ipaddress
import itertools
import socket
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from lvs_healthd.config.basics import Family
from lvs_healthd.config.check_ways import DataPath
from lvs_healthd.config.model import Forward
from lvs_healthd.director import links
from lvs_healthd.director.links import Route

_UNUSABLE = 0x08 | 0x20 | 0x40
"""IFA_F_DADFAILED, IFA_F_DEPRECATED and IFA_F_TENTATIVE (linux/if_addr.h)."""
_EVERYWHERE = 0
"""RT_SCOPE_UNIVERSE: an address that is valid beyond its own link."""
_CONF = Path("/proc/sys/net/ipv4/conf")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Question(msgspec.Struct, frozen=True, gc=False):
    """A path probe that needs an address to leave from."""

    path: DataPath
    service: str
    """The virtual service's address."""
    source: str = ""
    """The address that the check names; "" for none."""
    interface: str = ""
    """The interface that the check names; "" for none."""


class Exit(msgspec.Struct, frozen=True, gc=False):
    """From where a path probe leaves, or why it cannot tell anything."""

    source: str = ""
    interface: str = ""
    trouble: str = ""
    """Why the probe would fail by the director's fault, and what to do; "" if it would not."""
    sysctl: str = ""
    """The sysctl that is the reason of `trouble`; "" for another reason."""


class OwnAddress(msgspec.Struct, frozen=True, gc=False):
    """One of the director's addresses that a probe may be sent from."""

    address: str
    network: Network
    interface: int


class Surroundings(msgspec.Struct, frozen=True):
    """What the kernel says about this host's network."""

    addresses: tuple[OwnAddress, ...]
    """The usable addresses, in the kernel's order."""
    names: dict[int, str]
    """The names of the interfaces, by index."""
    routes: dict[str, Route | None]
    """The route to each real server and virtual service; None without one."""
    accept_local: frozenset[str]
    """The interfaces that accept packets from the director's own addresses; "all" stands for all of them."""


def exits(questions: Iterable[Question], services: Collection[str]) -> dict[Question, Exit]:
    """Return from where each path probe leaves.

    services: the addresses of all virtual services, none of which is ever a source.

    This may block. Raises `OSError`.
    """
    asked = tuple(questions)
    around = look_around({address for each in asked for address in (each.path.server.address, each.service)})
    return {each: leave(each, around, services) for each in asked}


def look_around(addresses: Iterable[str]) -> Surroundings:
    """Ask the kernel about this host's network, and for the routes to `addresses`. May block. Raises `OSError`."""
    own: list[OwnAddress] = []
    names: dict[int, str] = {}
    for message in _messages(links.dump()):
        if name := message.get_attr("IFLA_IFNAME"):
            names[message["index"]] = name
        elif (address := message.get_attr("IFA_ADDRESS")) and _is_usable(message):
            network = ipaddress.ip_network(f"{address}/{message['prefixlen']}", strict=False)
            own.append(OwnAddress(message.get_attr("IFA_LOCAL") or address, network, message["index"]))
    routes: dict[str, Route | None] = {}
    with links.asking() as opened:
        for address in addresses:
            opened.send(links.route_request(address))
            routes[address] = links.route_of(links.answer_from(opened))
    accepting = frozenset(name for name in (*names.values(), "all") if _accepts_local(name))
    return Surroundings(tuple(own), names, routes, accepting)


def leave(question: Question, around: Surroundings, services: Collection[str]) -> Exit:
    """Return from where one path probe leaves. The arguments are those of `exits`."""
    path, server = question.path, question.path.server.address
    route = around.routes.get(server)
    if route is None:
        return Exit(trouble=f"there is no route to {server} (see: ip route get {server})")
    if route.is_local:
        return Exit(trouble=f"{server} is this director itself, and packets to it take no way that could be probed")
    interface = question.interface or around.names.get(route.interface, "")
    local = around.routes.get(question.service)
    is_ours = local is not None and local.is_local
    if question.interface and is_ours and path.family is Family.IPV6:
        return Exit(
            trouble=f"over IPv6 the kernel sends nothing to its own address {question.service} by interface "
            f"{question.interface}: leave interface out"
        )
    if path.forward == Forward.NAT:
        source = question.source or next(_off_the_network(question, around, route, services), "")
        if not source:
            return Exit(
                trouble=f"this director has no address outside the network of {server} from which to probe by nat: "
                "write one as source, such as a /32 on lo to which the server's route leads through this director"
            )
        if _is_next_to(source, server, around):
            return Exit(
                trouble=f"source {source} is on the network of {server}, so a server without a route through this "
                "director would pass too: write another source"
            )
        # Over IPv6 the kernel finds no route to an address of its own by another interface.
        return Exit(source, "" if is_ours and path.family is Family.IPV6 else interface)
    source = question.source or next(_sources(question, around, route, services), "")
    if not source:
        return Exit(
            trouble=f"this director has no {path.family} address but those of virtual services from which to probe: "
            "add one, and write it as source if it is not on the way to the server"
        )
    if path.family is Family.IPV4 and is_ours and not around.accept_local & {interface, "all"}:
        return _not_accepted(question, interface)
    return Exit(source, question.interface)


def _not_accepted(question: Question, interface: str) -> Exit:
    name = f"net.ipv4.conf.{interface}.accept_local"
    written = f"net/ipv4/conf/{interface}/accept_local" if "." in interface else name
    return Exit(
        trouble=f"{name} is 0, so this director drops the answers of {question.path.method} servers to path probes, "
        f"which come from its own address {question.service}: sysctl -w {written}=1",
        sysctl=name,
    )


def _candidates(question: Question, around: Surroundings, services: Collection[str]) -> Iterator[OwnAddress]:
    is_ipv6 = question.path.family is Family.IPV6
    for own in around.addresses:
        if (":" in own.address) is is_ipv6 and own.address not in services:
            yield own


def _sources(question: Question, around: Surroundings, route: Route, services: Collection[str]) -> Iterator[str]:
    """Yield the addresses to probe from by dr or a tunnel, the best first."""
    those = list(_candidates(question, around, services))
    yield from (own.address for own in those if own.address == route.source)
    yield from (own.address for own in those if own.interface == route.interface)
    yield from (own.address for own in those)


def _off_the_network(
    question: Question, around: Surroundings, route: Route, services: Collection[str]
) -> Iterator[str]:
    """Yield the addresses to probe from by nat, the best first."""
    server = question.path.server.address
    those = [own for own in _candidates(question, around, services) if not _is_next_to(own.address, server, around)]
    yield from (own.address for own in those if own.interface != route.interface)
    yield from (own.address for own in those)


def _is_next_to(source: str, server: str, around: Surroundings) -> bool:
    """Return whether an address of ours is in a network that also contains a server."""
    other = ipaddress.ip_address(server)
    networks = [own.network for own in around.addresses if other in own.network]
    return any(ipaddress.ip_address(source) in network for network in networks)


def _messages(answers: Iterable[bytes]) -> Iterator[Any]:
    return itertools.chain.from_iterable(links.parser().parse(data) for data in answers)


def _is_usable(message: Any) -> bool:  # noqa: ANN401  # pyroute2 has no types
    if message["family"] not in {socket.AF_INET, socket.AF_INET6}:
        return False
    flags = message.get_attr("IFA_FLAGS") or message["flags"]
    return message["scope"] == _EVERYWHERE and not flags & _UNUSABLE


def _accepts_local(interface: str) -> bool:
    try:
        return (_CONF / interface / "accept_local").read_text(encoding="ascii").strip() != "0"
    except OSError:
        return False
