"""Completes what has been read, as keepalived does when it has read all: defaults, inheritance, and what does not fit.

This is `validate_check_config` of keepalived's check_data.c.
"""

from lvs_healthd.importers.keepalived.records import (
    SECOND,
    Checker,
    Configuration,
    Forward,
    Pace,
    RealServer,
    VirtualServer,
)
from lvs_healthd.importers.keepalived.servers import DEFAULT_PERSISTENCE_S, DEFAULT_TIMEOUT
from lvs_healthd.importers.keepalived.told import Told

_DEFAULTS = Pace(delay_loop=60 * SECOND, connect_timeout=DEFAULT_TIMEOUT, alpha=False)
_RETRIES = {"DNS_CHECK": 3, "MISC_CHECK": 0}
"""Retries of a check, where they are not 1."""
_WITHOUT_PORT = frozenset({"MISC_CHECK", "PING_CHECK", "FILE_CHECK", "BFD_CHECK"})
"""Checks that go to no port."""
_DELAYS = {"HTTP_GET": 3 * SECOND, "SSL_GET": 3 * SECOND, "DNS_CHECK": None}
"""Microseconds before a retry, where they are not a second. None is `delay_loop`."""


def complete(told: Told, configuration: Configuration) -> None:
    """Complete all virtual servers, and take out those that keepalived does not use."""
    configuration.servers = [found for found in configuration.servers if _is_used(told, configuration, found)]
    for found in configuration.servers:
        _protocol(told, found)
        _persistence(told, found)
        found.scheduler = found.scheduler or "wlc"
        found.pace.completed(_DEFAULTS)
        _servers(told, found)
        if found.sorry:
            found.sorry.forward = found.sorry.forward or found.forward or Forward("NAT")
        _quorum(told, found)
        if not found.group:
            _ports(told, found)
    _suspend(told, configuration)


def _suspend(told: Told, configuration: Configuration) -> None:
    """Suspend checks as keepalived does, if it does so for all virtual servers. Here that is one setting for all."""
    asking = [found for found in configuration.servers if found.suspend]
    if not asking:
        return
    why = ""
    if len(asking) < len(configuration.servers):
        why = "not all virtual servers have it, and here it is one setting for all services"
    elif not all(_has_only_addresses(found) for found in asking):
        why = "a firewall mark has no address to wait for; name it with vip in its service"
    else:
        configuration.general["pair"] = {"active_when": "vip-present", "standby": "suspend"}
    for found in asking:
        if found.suspend and why:
            text = (
                f"keepalived suspends the checks while this host does not have the address, and here they go on: {why}"
            )
            told.dropped(found.suspend, f'{text} (standby = "suspend" in [pair], docs/pairs.md)')
        elif found.suspend:
            told.carried(found.suspend)


def _has_only_addresses(found: VirtualServer) -> bool:
    return all(entry.first for entry in found.entries) if found.group else found.address is not None


def _is_used(told: Told, configuration: Configuration, found: VirtualServer) -> bool:
    why = ""
    if found.group:
        found.entries = configuration.groups.get(found.group, [])
        why = "" if found.entries else f"there is no group {found.group}"
    if not found.servers:
        why = "it has no real server"
    if found.fwmark == 0:
        told.refused(found.node, "a mark of 0 is none; which mark is meant?")
    if why:
        told.account.ignored(
            found.node.place, f"keepalived skips this virtual server, because {why}", *found.node.places()
        )
    return not why


def _addresses(found: VirtualServer) -> bool:
    """Return whether a virtual server, or any of its group, has an address."""
    return found.address is not None or any(entry.first for entry in found.entries)


def _protocol(told: Told, found: VirtualServer) -> None:
    unknown = found.unknown_protocol
    if unknown and (found.protocol or not _addresses(found)):
        told.ignored(unknown, "keepalived does not know this protocol")
    elif unknown:
        told.refused(unknown, f"keepalived knows no protocol {unknown.words[0]!r}, and takes UDP; which is meant?")
    elif not found.protocol and _addresses(found):
        told.noted(found.node, "it has no protocol, so keepalived takes UDP")
    found.protocol = found.protocol or "udp"
    if found.ops_node and found.protocol != "udp" and _addresses(found):
        told.ignored(found.ops_node, "keepalived takes it only for UDP and firewall marks")
        found.ops_node = None


def _persistence(told: Told, found: VirtualServer) -> None:
    has_open_port = (found.address is not None and not found.port) or any(
        entry.first and not entry.port for entry in found.entries
    )
    if has_open_port and not found.persistence_s:
        told.noted(found.node, f"it has no port, so keepalived sets persistence to {DEFAULT_PERSISTENCE_S} s")
        found.persistence_s = DEFAULT_PERSISTENCE_S
    if found.group and found.mask_node:
        told.ignored(found.mask_node, "in a group keepalived keeps each client apart, whatever the mask is")
        found.mask = ""
    if found.engine_node and not found.persistence_s:
        told.ignored(found.engine_node, "keepalived uses it only with persistence")
        found.engine = ""


def _servers(told: Told, found: VirtualServer) -> None:
    kept: dict[tuple[str, int], RealServer] = {}
    for server in found.servers:
        key = str(server.address), server.port
        if key in kept:
            told.account.ignored(
                server.node.place, "keepalived keeps the first of equal real servers", *server.node.places()
            )
            continue
        kept[key] = server
        if server.forward is None:
            found.forward = found.forward or Forward("NAT")
            server.forward = found.forward
        server.inhibit = found.inhibit if server.inhibit is None else server.inhibit
        server.weight = found.weight if server.weight is None else server.weight
        server.pace.completed(found.pace)
        for checker in server.checkers:
            _checker(checker, server)
        if not all(checker.port or checker.kind in _WITHOUT_PORT for checker in server.checkers):
            told.refused(
                server.node, "it has no port, so keepalived checks port 0, which always fails; which port is meant?"
            )
    found.servers = list(kept.values())


def _checker(checker: Checker, server: RealServer) -> None:
    checker.pace.completed(server.pace)
    if checker.pace.retry is None:
        checker.pace.retry = _RETRIES.get(checker.kind, 1)
    if checker.pace.delay_before_retry is None:
        delay = _DELAYS.get(checker.kind, SECOND)
        checker.pace.delay_before_retry = checker.pace.delay_loop if delay is None else delay
    checker.address = checker.address or server.address
    checker.port = checker.port or server.written_port


def _quorum(told: Told, found: VirtualServer) -> None:
    total = sum(server.weight or 0 for server in found.servers)
    if found.quorum > total:
        told.noted(found.node, f"keepalived lowers the quorum to the sum of the weights, {total}")
        found.quorum = total
    if found.quorum and found.hysteresis >= found.quorum:
        told.noted(
            found.node, f"keepalived lowers the hysteresis to {found.quorum - 1}, so that it is below the quorum"
        )
        found.hysteresis = found.quorum - 1


def _ports(told: Told, found: VirtualServer) -> None:
    """Set the ports in the table: only NAT maps them."""
    for server in found.servers:
        is_nat = server.forward is not None and server.forward.method == "NAT"
        if found.fwmark is not None:
            if not is_nat and server.port:
                told.noted(server.node, "keepalived forwards to the port that clients use; checks keep this one")
                server.port = 0
        elif not server.port:
            server.port = found.port
        elif not is_nat and server.port != found.port:
            told.noted(server.node, f"keepalived forwards to port {found.port}; checks keep port {server.port}")
            server.port = found.port
    sorry = found.sorry
    if sorry and sorry.forward and (sorry.forward.method != "NAT" or not sorry.port):
        port = 0 if found.fwmark is not None else found.port
        if sorry.port != port:
            told.noted(sorry.node, f"keepalived forwards to port {port}" if port else "keepalived uses no port here")
        sorry.port = port
