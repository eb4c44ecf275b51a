"""Reads virtual servers, real servers and sorry servers from their blocks."""

import re
import socket
from collections.abc import Callable

from lvs_healthd.importers.keepalived import checkers, words
from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.forwarding import forward
from lvs_healthd.importers.keepalived.grammar import CHECKERS
from lvs_healthd.importers.keepalived.pacing import read_pace
from lvs_healthd.importers.keepalived.records import SECOND, Checker, RealServer, Sorry, VirtualServer
from lvs_healthd.importers.keepalived.told import MissingWordError, Told

DEFAULT_PERSISTENCE_S = 360
"""Seconds (`IPVS_SVC_PERSISTENT_TIMEOUT`)."""

DEFAULT_TIMEOUT = 5 * SECOND
"""Microseconds."""

_MOST_PERSISTENCE_S = 31 * 86_400
_MOST_WEIGHT = 0x7FFF_FFFF
_SCHEDULERS = frozenset(["rr", "wrr", "lc", "wlc", "lblc", "sh", "mh", "dh", "fo", "ovf", "lblcr", "sed", "nq", "twos"])
_DOTTED_QUAD = re.compile(r"[0-9]+(\.[0-9]+){3}")


def invalid(keyword: str, given: list[str]) -> str:
    """Say why keepalived skips a server and its block, or return "" if it does not."""
    if keyword not in {"virtual_server", "real_server"} or not given:
        return ""
    if keyword == "virtual_server" and given[0] in {"group", "fwmark"}:
        mark = words.number(given[1], 0) if given[0] == "fwmark" and len(given) > 1 else None
        return f"keepalived skips this virtual server, because {mark.why}" if isinstance(mark, words.Invalid) else ""
    port = words.port(given[1]) if len(given) > 1 else words.Taken(0)
    kind = keyword.replace("_", " ")
    if words.address(given[0]) is None:
        return f"keepalived skips this {kind}, because {given[0]!r} is no IP address; a port follows after a blank"
    if isinstance(port, words.Invalid):
        return f"keepalived skips this {kind}, because its port {port.why}"
    return ""


def virtual_server(told: Told, node: Node) -> VirtualServer | None:
    """Read a virtual server. None if a word is missing in its first line, which is refused."""
    found = VirtualServer(node)
    try:
        _identity(told, node, found)
    except MissingWordError:
        return None
    for child in node.nodes:
        try:
            _of_virtual_server(told, child, found)
        except MissingWordError:
            continue
    sorry = found.sorry
    if sorry and not (sorry.forward and sorry.forward.method == "TUN"):
        found.family = found.family or sorry.address.version
        if found.family != sorry.address.version:
            told.ignored(sorry.node, "keepalived skips a sorry server of the other address family")
            found.sorry = None
    return found


def _identity(told: Told, node: Node, found: VirtualServer) -> None:
    kind = told.word(node)
    if kind == "group":
        found.group = told.word(node, 1)
        told.carried(node)
    elif kind == "fwmark":
        told.word(node, 1)
        found.fwmark = told.taken(node, words.number(node.words[1], 0))
    else:
        found.address, found.port = endpoint(told, node)
        found.family = found.address.version if found.address else 0


def endpoint(told: Told, node: Node) -> tuple[words.Address | None, int]:
    """Read an address with a port, or without: 0."""
    word = told.word(node)
    found = words.address(word)
    port = words.port(node.words[1]) if len(node.words) > 1 else words.Taken(0)
    if found is None or isinstance(port, words.Invalid):
        told.ignored(node, f"keepalived does not understand {' '.join(node.words)!r} as an IP address and a port")
        return None, 0
    if re.search("[-/]", word):
        told.refused(node, f"keepalived takes {word!r} for {found} alone; what is meant?")
    told.taken(node, port)
    return found, port.value


def _of_virtual_server(told: Told, node: Node, found: VirtualServer) -> None:
    """Read one line or block of a virtual server."""
    if node.keyword == "real_server":
        _add_real_server(told, node, found)
    elif node.keyword in _LINES:
        _LINES[node.keyword](told, node, found)
    elif node.keyword in _FLAGS:
        _flag(told, node, found)
    elif node.keyword == "alpha":
        told.carried(node)
        found.pace.alpha = True
    elif not read_pace(told, node, found.pace):
        _common(told, node, found)


def _common(told: Told, node: Node, found: VirtualServer | RealServer) -> None:
    """Read a keyword that virtual servers and real servers share."""
    if node.keyword == "smtp_alert":
        value = told.switch(node)
        found.smtp_alert = found.smtp_alert if value is None else value
    elif node.keyword == "snmp_name":
        told.dropped(node, "there is no SNMP; /metrics has the numbers, under the service's name")


def _family(told: Told, node: Node, found: VirtualServer) -> None:
    version = {"inet": 4, "inet6": 6}.get(told.word(node))
    if version is None or (found.family and version != found.family):
        told.ignored(node, "keepalived does not know this family, or it is not that of the addresses")
        return
    told.carried(node)
    found.family = version


def _scheduler(told: Told, node: Node, found: VirtualServer) -> None:
    word = told.word(node)
    if word not in _SCHEDULERS:
        now = found.scheduler or "wlc"
        told.ignored(node, f"keepalived knows no scheduler {word!r}, and uses {now}; write the one that is meant here")
        return
    told.carried(node)
    found.scheduler = word


_FLAGS = frozenset(["hashed", "ops", "flag-1", "flag-2", "flag-3", "sh-port", "sh-fallback", "mh-port", "mh-fallback"])


def _flag(told: Told, node: Node, found: VirtualServer) -> None:
    scheduler = node.keyword[:2]
    if node.keyword == "hashed":
        told.noted(node, "it has no effect, because the kernel sets it itself")
    elif node.keyword == "ops":
        told.carried(node)
        found.ops_node = node
    elif scheduler in {"sh", "mh"} and found.scheduler != scheduler:
        told.ignored(node, f"keepalived takes it only behind `lb_algo {scheduler}`")
    else:
        told.carried(node)
        found.flags += [] if node.keyword in found.flags else [node.keyword]


def _forward(told: Told, node: Node, found: VirtualServer) -> None:
    found.forward = forward(told, node, found.forward)


def _persistence(told: Told, node: Node, found: VirtualServer) -> None:
    if not node.words:
        told.carried(node)
        found.persistence_s = DEFAULT_PERSISTENCE_S
        return
    value = told.number(node, 1, _MOST_PERSISTENCE_S, is_strict=True)
    found.persistence_s = found.persistence_s if value is None else value


def _granularity(told: Told, node: Node, found: VirtualServer) -> None:
    word = told.word(node)
    family = found.family or (4 if "." in word else 6)
    if family == 6:  # IPv6
        length = told.number(node, 1, 128, is_strict=True)
        if length is None:
            return
        found.mask = str(length)
    else:
        try:
            mask = socket.inet_ntoa(socket.inet_aton(word))
        except OSError:
            told.ignored(node, f"keepalived does not understand {word!r} as a mask")
            return
        told.carried(node)
        if not _DOTTED_QUAD.fullmatch(word):
            told.refused(node, f"keepalived takes {word!r} for the mask {mask}; which mask is meant?")
        found.mask = "" if mask == "255.255.255.255" else mask
    found.family, found.mask_node = family, node
    found.persistence_s = found.persistence_s or DEFAULT_PERSISTENCE_S


def _engine(told: Told, node: Node, found: VirtualServer) -> None:
    found.engine = told.word(node)
    found.engine_node = node
    told.carried(node)


def _protocol(told: Told, node: Node, found: VirtualServer) -> None:
    word = told.word(node)
    if word.upper() in {"TCP", "UDP", "SCTP"}:
        told.carried(node)
        found.protocol = word.lower()
    elif found.protocol:
        told.ignored(node, f"keepalived knows no protocol {word!r}, and stays with {found.protocol}")
    else:
        found.unknown_protocol = node


def _suspend(_told: Told, node: Node, found: VirtualServer) -> None:
    found.suspend = node


def _host(told: Told, node: Node, found: VirtualServer) -> None:
    found.host = told.word(node)
    told.carried(node)


def _omega(_told: Told, node: Node, found: VirtualServer) -> None:
    found.omega = node


def _quorum(told: Told, node: Node, found: VirtualServer) -> None:
    value = told.number(node, 1)
    found.quorum = 1 if value is None else value


def _hysteresis(told: Told, node: Node, found: VirtualServer) -> None:
    value = told.number(node, 0)
    found.hysteresis = found.hysteresis if value is None else value


def _weight(told: Told, node: Node, found: VirtualServer) -> None:
    value = told.number(node, 1, _MOST_WEIGHT)
    found.weight = found.weight if value is None else value


def _inhibit(told: Told, node: Node, found: VirtualServer) -> None:
    told.carried(node)
    found.inhibit = True


def _quorum_script(told: Told, node: Node, found: VirtualServer) -> None:
    if getattr(found, node.keyword):
        told.ignored(node, f"keepalived keeps the first {node.keyword}")
    else:
        setattr(found, node.keyword, told.script(node))


def _sorry(told: Told, node: Node, found: VirtualServer) -> None:
    address, port = endpoint(told, node)
    if address is None:
        return
    if found.sorry:
        told.ignored(found.sorry.node, "keepalived keeps the last sorry server")
    found.sorry = Sorry(node, address, port, found.forward)


def _sorry_inhibit(told: Told, node: Node, found: VirtualServer) -> None:
    if found.sorry:
        found.sorry.inhibit_node = node
        told.dropped(
            node, "it keeps the sorry server in the table at weight 0; here a fallback is there while it serves"
        )
    else:
        told.ignored(node, "keepalived takes it only behind a sorry_server")


def _sorry_forward(told: Told, node: Node, found: VirtualServer) -> None:
    if found.sorry:
        found.sorry.forward = forward(told, node, found.sorry.forward)
    else:
        told.ignored(node, "keepalived takes it only behind a sorry_server")


_LINES: dict[str, Callable[[Told, Node, VirtualServer], None]] = {
    "ip_family": _family,
    "lb_algo": _scheduler,
    "lvs_sched": _scheduler,
    "lb_kind": _forward,
    "lvs_method": _forward,
    "persistence_timeout": _persistence,
    "persistence_granularity": _granularity,
    "persistence_engine": _engine,
    "protocol": _protocol,
    "ha_suspend": _suspend,
    "virtualhost": _host,
    "omega": _omega,
    "quorum": _quorum,
    "hysteresis": _hysteresis,
    "weight": _weight,
    "inhibit_on_failure": _inhibit,
    "quorum_up": _quorum_script,
    "quorum_down": _quorum_script,
    "sorry_server": _sorry,
    "sorry_server_inhibit": _sorry_inhibit,
    "sorry_server_lvs_method": _sorry_forward,
}


def _add_real_server(told: Told, node: Node, service: VirtualServer) -> None:
    address, port = endpoint(told, node)
    if address is None:
        return
    server = RealServer(node, address, port, port, forward=service.forward)
    for child in node.nodes:
        try:
            _of_real_server(told, child, server, service)
        except MissingWordError:
            continue
    if not (server.forward and server.forward.method == "TUN"):
        service.family = service.family or address.version
        if service.family != address.version:
            told.account.ignored(
                node.place, "keepalived skips a real server of the other address family", *node.places()
            )
            return
    service.servers.append(server)


def _of_real_server(told: Told, node: Node, server: RealServer, service: VirtualServer) -> None:
    """Read one line or check of a real server."""
    if node.keyword in CHECKERS:
        checker = checkers.checker(told, node, server.address)
        server.checkers += [checker] if checker else []
        if checker and checker.kind == "SMTP_CHECK":
            _inherit_early(checker, server, service)
    elif node.keyword == "weight":
        server.weight = _kept(told.number(node, 0, _MOST_WEIGHT), server.weight)
    elif node.keyword == "lvs_method":
        server.forward = forward(told, node, server.forward)
    elif node.keyword == "uthreshold":
        server.upper_threshold = _kept(told.number(node, 0), server.upper_threshold) or 0
    elif node.keyword == "lthreshold":
        server.lower_threshold = _kept(told.number(node, 0), server.lower_threshold) or 0
    elif node.keyword == "inhibit_on_failure":
        value = told.switch(node)
        server.inhibit = server.inhibit if value is None else value
    elif node.keyword == "alpha":
        value = told.switch(node)
        server.pace.alpha = server.pace.alpha if value is None else value
    elif node.keyword in {"notify_up", "notify_down"}:
        _notify(told, node, server)
    elif node.keyword == "virtualhost":
        server.host = told.word(node)
        told.carried(node)
    elif not read_pace(told, node, server.pace):
        _common(told, node, server)


def _inherit_early(checker: Checker, server: RealServer, service: VirtualServer) -> None:
    """Give SMTP_CHECK its timeout: it inherits only what is written above it."""
    above = server.pace.connect_timeout or service.pace.connect_timeout or DEFAULT_TIMEOUT
    checker.pace.connect_timeout = checker.pace.connect_timeout or above


def _kept(value: int | None, before: int | None) -> int | None:
    return before if value is None else value


def _notify(told: Told, node: Node, server: RealServer) -> None:
    if getattr(server, node.keyword):
        told.ignored(node, f"keepalived keeps the first {node.keyword}")
    else:
        setattr(server, node.keyword, told.script(node))
