"""Turns the virtual servers of keepalived into services of ours."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from lvs_healthd.config.addresses import MOST_IN_RANGE
from lvs_healthd.importers.draft import Part
from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.checks import checks
from lvs_healthd.importers.keepalived.hooks import Placed, hooks_of
from lvs_healthd.importers.keepalived.records import (
    Configuration,
    Entry,
    Forward,
    RealServer,
    Sorry,
    VirtualServer,
)
from lvs_healthd.importers.keepalived.sharing import shared
from lvs_healthd.importers.keepalived.told import Told
from lvs_healthd.importers.keepalived.words import Address

_METHODS = {"NAT": "nat", "DR": "dr", "TUN": "tun"}
_CHECKSUMS = {"nocsum": "off", "csum": "on", "remcsum": "remote"}
_MOST_WEIGHT = 65_535
_UNASKED = "how is it known that this server is well? Write its check; keepalived has none that can be carried over"


class _Member(NamedTuple):
    """A real server with the virtual server in which it stands."""

    server: RealServer
    service: VirtualServer


class _Target(NamedTuple):
    """One service that a virtual server makes."""

    service: VirtualServer
    entry: Entry
    family: str
    servers: list[_Member]


def parts(told: Told, configuration: Configuration) -> list[Part]:
    """Return the services, and behind them the hooks. What cannot be in them is told."""
    made: dict[tuple[str, ...], _Target] = {}
    for found in configuration.servers:
        for target in _targets(found):
            first = made.setdefault(_key(target), target)
            if first is not target:
                _merge(told, first, found)
    services, placed = [], []
    for target in made.values():
        written = _Written(told, configuration, target)
        services.append(_part(told, target, written))
        placed.append(Placed(target.service, tuple(_names(target)), tuple(written.names)))
    return [*services, *hooks_of(configuration, placed)]


def _targets(found: VirtualServer) -> Iterator[_Target]:
    family = "ipv6" if found.family == 6 else "ipv4"
    for entry in _entries(found):
        servers = [_Member(server, found) for server in found.servers]
        yield _Target(found, entry, entry.family or family, servers)


def _entries(found: VirtualServer) -> Iterator[Entry]:
    """Yield what a virtual server is for, in ranges that a service of ours can have."""
    if not found.group:
        yield Entry(found.node, found.address, found.address, found.port, found.fwmark or 0)
    for entry in found.entries:
        if entry.first is None or entry.last is None:
            yield entry
            continue
        kind = type(entry.first)
        for first in range(int(entry.first), int(entry.last) + 1, MOST_IN_RANGE):
            last = min(first + MOST_IN_RANGE - 1, int(entry.last))
            yield Entry(entry.node, kind(first), kind(last), entry.port)


def _key(target: _Target) -> tuple[str, ...]:
    entry = target.entry
    if entry.first is None:
        return "fwmark", str(entry.fwmark), target.family
    return str(entry.first), str(entry.last), str(entry.port), target.service.protocol


def _merge(told: Told, target: _Target, found: VirtualServer) -> None:
    """Add the servers of a virtual server to an earlier one of the same address: keepalived has both in one service."""
    told.account.dropped(
        found.node.place,
        f"the same service as in {target.service.node.place}; its servers are added there, its other settings are not",
    )
    known = {(member.server.address, member.server.port) for member in target.servers}
    new = (server for server in found.servers if (server.address, server.port) not in known)
    target.servers.extend(_Member(server, found) for server in new)


def _names(target: _Target) -> Iterator[str]:
    """Yield the names that the services have by default."""
    entry = target.entry
    if entry.first is None or entry.last is None:
        yield f"fwmark {entry.fwmark}" + (" ipv6" if target.family == "ipv6" else "")
        return
    for number in range(int(entry.first), int(entry.last) + 1):
        yield f"{_host(type(entry.first)(number))}:{entry.port}/{target.service.protocol}"


def _part(told: Told, target: _Target, written: "_Written") -> Part:
    found, common = target.service, written.common
    values: dict[str, Any] = {**_identity(target), "scheduler": found.scheduler}
    if found.flags:
        values["scheduler_flags"] = list(found.flags)
    values |= _forward(common) | _persistence(found)
    if found.ops_node:
        values["one_packet"] = True
    values["on_failure"] = "quiesce" if _inhibit(told, found) else "remove"
    if found.quorum and (found.quorum > 1 or found.hysteresis):
        values["min_up"] = {"weight": found.quorum, "hysteresis": found.hysteresis}
    servers = [written.server(member) for member in target.servers]
    values |= shared(servers)
    if found.sorry:
        values["fallback"] = [_fallback(found.sorry, target, common)]
    places = [place for node in _nodes(target) for place in node.places()]
    return Part("service", values, places, written.comments)


def _nodes(target: _Target) -> list[Node]:
    """Return the blocks that a service is made from."""
    nodes = [target.entry.node, target.service.node, *(member.service.node for member in target.servers)]
    return list({node.place: node for node in nodes}.values())


def _identity(target: _Target) -> dict[str, Any]:
    entry = target.entry
    if entry.first is None or entry.last is None:
        return {"fwmark": entry.fwmark, "family": target.family}
    host = str(entry.first) if entry.first == entry.last else f"{entry.first}-{entry.last}"
    return {"address": f"{_host(entry.first, host)}:{entry.port}", "protocol": target.service.protocol}


def _host(address: Address, text: str = "") -> str:
    text = text or str(address)
    return f"[{text}]" if address.version == 6 else text


def _forward(forward: Forward) -> dict[str, Any]:
    values: dict[str, Any] = {"forward": _METHODS[forward.method]}
    if forward.method == "TUN":
        values["tun_type"] = forward.tunnel
        if forward.port:
            values["tun_port"] = forward.port
        if forward.tunnel != "ipip":
            values["tun_checksum"] = _CHECKSUMS[forward.checksum]
    return values


def _persistence(found: VirtualServer) -> dict[str, Any]:
    if not found.persistence_s:
        return {}
    values: dict[str, Any] = {"persistence": f"{found.persistence_s}s"}
    if found.mask:
        values["persistence_mask"] = found.mask if "." in found.mask else int(found.mask)
    if found.engine:
        values["persistence_engine"] = found.engine
    return values


def _inhibit(told: Told, found: VirtualServer) -> bool:
    """Return whether servers that are down stay in the table. It is one for all of a service."""
    wanted = {bool(server.inhibit) for server in found.servers}
    if len(wanted) > 1:
        for server in found.servers:
            for node in server.node.nodes:
                if node.keyword == "inhibit_on_failure" and bool(server.inhibit) != found.inhibit:
                    told.dropped(node, "on_failure is one for all servers; it is as the virtual_server says")
        return found.inhibit
    return wanted.pop()


class _Written:
    """Writes the real servers of a service. `comments` has the questions that only the operator can answer."""

    def __init__(self, told: Told, configuration: Configuration, target: _Target) -> None:
        self.comments: list[str] = []
        self.names: list[tuple[RealServer, str]] = []
        """Each server with the name that it has in the log."""
        self.common = next((each.forward for each, _service in target.servers if each.forward), Forward("NAT"))
        """How packets are forwarded to servers that say nothing."""
        self._told = told
        self._configuration = configuration
        self._target = target
        self._addresses: set[str] = set()

    def server(self, member: _Member) -> dict[str, Any]:
        """Return a real server with all its checks. It has no key `check` if it has none."""
        server = member.server
        is_nat = server.forward is None or server.forward.method == "NAT"
        port = self._port(server) if is_nat else 0
        values: dict[str, Any] = {"address": _host(server.address) + (f":{port}" if port else "")}
        if values["address"] in self._addresses:
            self._told.refused(
                server.node, f"keepalived forwards to {values['address']} for another real server too; which is meant?"
            )
        self._addresses.add(values["address"])
        self.names.append((server, f"{_host(server.address)}:{port or self._target.entry.port}"))
        weight = server.weight or 0
        if weight > _MOST_WEIGHT:
            self._told.account.dropped(server.node.place, f"a weight is {_MOST_WEIGHT} at most")
        values["weight"] = min(weight, _MOST_WEIGHT)
        if server.forward and server.forward != self.common:
            values |= _forward(server.forward)
        if server.upper_threshold:
            values["upper_threshold"] = server.upper_threshold
        if server.lower_threshold:
            values["lower_threshold"] = server.lower_threshold
        probed_port = port or self._target.entry.port
        made = checks(self._told, self._configuration, member.service, server, probed_port)
        if not made:
            self._ask(server)
        return values | ({"check": made} if made else {})

    def _port(self, server: RealServer) -> int:
        """Return the port to write for a server of NAT; 0 if it is the service's, or the kernel would not use it."""
        entry = self._target.entry
        if not server.port or server.port == entry.port:
            return 0
        if entry.port or (entry.first is None and not self._target.service.persistence_s):
            return server.port
        self._told.noted(
            server.node, "the kernel forwards to the port that clients use, not to this one; checks go to this one"
        )
        return 0

    def _ask(self, server: RealServer) -> None:
        """Ask for the check of a server that has none."""
        self._told.account.dropped(
            server.node.place,
            f"{server.address} has no check to carry over, and lvs-healthd needs one: write it where the comment asks",
        )
        self.comments.append(f"{server.address}: {_UNASKED}")


def _fallback(sorry: Sorry, target: _Target, common: Forward) -> dict[str, Any]:
    entry = target.entry
    forward = sorry.forward or common
    has_port = sorry.port and sorry.port != entry.port and forward.method == "NAT"
    is_used = entry.port or (entry.first is None and not target.service.persistence_s)
    port = f":{sorry.port}" if has_port and is_used else ""
    return {"address": _host(sorry.address) + port, **(_forward(forward) if forward != common else {})}
