"""Turns an IPVS table into a configuration that yields the same table, for `lvs-healthd import`.

A table holds no checks, so each service gets the simplest check. If the port to probe is a guess, a remark says so.
"""

import ipaddress
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import tomli_w

from lvs_healthd.config.model import Ipvs
from lvs_healthd.importers.draft import Imported
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, ServiceKey, ServiceRecord, Table
from lvs_healthd.ipvs.words import (
    AF_INET6,
    CHECKSUM_FLAGS,
    CHECKSUM_NAMES,
    IPPROTO_SCTP,
    IPPROTO_UDP,
    METHOD_NAMES,
    METHOD_OPTIONS,
    PROTOCOL_NAMES,
    SVC_F_ONEPACKET,
    SVC_F_PERSISTENT,
    TUNNEL_GUE,
    TUNNEL_IPIP,
    TUNNEL_NAMES,
    ForwardingMethod,
    names_of_flags,
)

GUESSED_PORT = 80
"""The port to probe when the table does not show one."""

PATH_SCHEDULER = "rr"
"""The scheduler of the services of path probes."""

_SETTABLE = frozenset(METHOD_OPTIONS)
"""The forwarding methods that a configuration can set. The kernel's table may hold others."""


def imported(table: Table, source: str) -> Imported:
    """Return a configuration that yields a table.

    table: the table to import.
    source: where the table comes from, for the comment at the top of the configuration.
    """
    remarks: list[str] = []
    services = []
    of_probes = {key: None for key, entry in table.items() if is_of_path_probes(key, entry)}
    if of_probes:
        more = f" and {len(of_probes) - 1} more" if len(of_probes) > 1 else ""
        remarks.append(f"{next(iter(of_probes))}{more}: left out, because path probes of lvs-healthd use such services")
    for key, entry in table.items():
        if key in of_probes:
            continue
        if not entry.destinations:
            remarks.append(f"{key} has no real server and is left out")
            continue
        kept = with_ports_that_work(key, entry, remarks)
        services.append(_service(key, kept))
        remarks.extend(_remarks(key, kept))
    head = f"# Made from {source} by `lvs-healthd import`. Look at the checks: a table does not hold any.\n\n"
    return Imported(head + tomli_w.dumps({"service": services}), tuple(remarks))


def is_of_path_probes(key: ServiceKey, entry: ServiceEntry) -> bool:
    """Return whether a service looks like one that a daemon has added for its path probes (`plan.mark_services`)."""
    first, last = Ipvs().path_marks
    record = entry.service
    is_plain = record.scheduler == PATH_SCHEDULER and not record.flags
    return first <= key.fwmark <= last and is_plain and len(entry.destinations) == 1


def with_ports_that_work(key: ServiceKey, entry: ServiceEntry, remarks: list[str]) -> ServiceEntry:
    """Remove servers' ports that the kernel lists but never uses: see docs/configuration.md, `real_server`."""
    if key.port:
        return entry
    is_persistent = bool(entry.service.flags & SVC_F_PERSISTENT)
    kept: dict[DestinationKey, DestinationRecord] = {}
    for record in entry.destinations.values():
        is_mapped = key.fwmark and record.forward is ForwardingMethod.MASQ and not is_persistent
        server = record.key if is_mapped else msgspec.structs.replace(record.key, port=0)
        if server != record.key:
            loss = "" if server not in kept else "; it is there twice without the port, and the first is kept"
            remarks.append(f"{key}: the kernel does not use the port of {record.key}; it is left out{loss}")
        kept.setdefault(server, msgspec.structs.replace(record, key=server))
    return ServiceEntry(entry.service, kept)


def _remarks(key: ServiceKey, entry: ServiceEntry) -> Iterator[str]:
    if _is_port_open(entry):
        yield f"{key}: its check goes to port {GUESSED_PORT}, a guess; set the port that shows its servers' health"
    if key.protocol == IPPROTO_SCTP:
        yield f"{key}: its check is TCP, because there is none for SCTP; set a port where its servers speak TCP"
    if key.protocol == IPPROTO_UDP:
        yield (
            f"{key}: its check is content with silence, and sees only closed ports and hosts that are gone from the "
            "director's own network; give it something to expect"
        )
    if any(record.weight == 0 for record in entry.destinations.values()):
        yield f"{key}: has servers of weight 0, which stay configured but get no connections"
    methods = {record.forward for record in entry.destinations.values()}
    if methods - _SETTABLE:
        yield f'{key}: has servers of a method that cannot be set; forward = "dr" replaces it'


def _service(key: ServiceKey, entry: ServiceEntry) -> dict[str, Any]:
    values = service_values(key, entry)
    servers = values.pop("real_server")
    return {**values, "check": _check(key, entry), "real_server": servers}


def service_values(key: ServiceKey, entry: ServiceEntry) -> dict[str, Any]:
    """Return what the configuration says of a service that is in a table, without its checks."""
    record = entry.service
    servers = list(entry.destinations.values())
    # What most servers use is written once, at the service.
    common = Counter(_forwarding(server) for server in servers).most_common(1)[0][0]
    return {
        **_identity(key),
        "scheduler": record.scheduler,
        **_flags(record),
        **dict(common),
        **_persistence(record),
        **({"one_packet": True} if record.flags & SVC_F_ONEPACKET else {}),
        "real_server": [_server(key, server, common) for server in servers],
    }


def _identity(key: ServiceKey) -> dict[str, Any]:
    if key.fwmark:
        return {"fwmark": key.fwmark, "family": "ipv6" if key.family == AF_INET6 else "ipv4"}
    address = f"[{key.address}]" if key.family == AF_INET6 else key.address
    return {"address": f"{address}:{key.port}", "protocol": PROTOCOL_NAMES[key.protocol]}


def _flags(record: ServiceRecord) -> dict[str, Any]:
    flags = names_of_flags(record.scheduler, record.flags)
    return {"scheduler_flags": flags} if flags else {}


def _persistence(record: ServiceRecord) -> dict[str, Any]:
    if not record.flags & SVC_F_PERSISTENT:
        return {}
    written: dict[str, Any] = {"persistence": f"{record.timeout}s"}
    if record.netmask < 0:
        written["persistence_mask"] = str(ipaddress.IPv4Address(-record.netmask))
    elif record.netmask != (128 if record.key.family == AF_INET6 else 32):
        written["persistence_mask"] = record.netmask
    if record.persistence_engine:
        written["persistence_engine"] = record.persistence_engine
    return written


_Forwarding = tuple[tuple[str, str | int], ...]
"""How packets are forwarded to a server, as keys and values of the configuration file."""


def _forwarding(record: DestinationRecord) -> _Forwarding:
    forward = METHOD_NAMES[record.forward if record.forward in _SETTABLE else ForwardingMethod.DROUTE]
    if forward != "tun":
        return (("forward", forward),)
    written: list[tuple[str, str | int]] = [("forward", forward), ("tun_type", TUNNEL_NAMES[record.tunnel_type])]
    if record.tunnel_type == TUNNEL_GUE:
        written.append(("tun_port", record.tunnel_port))
    if record.tunnel_type != TUNNEL_IPIP:
        written.append(("tun_checksum", CHECKSUM_NAMES[record.tunnel_flags & CHECKSUM_FLAGS]))
    return tuple(written)


def _check(key: ServiceKey, entry: ServiceEntry) -> dict[str, Any]:
    check: dict[str, Any] = {"type": "udp" if key.protocol == IPPROTO_UDP else "tcp"}
    return check | {"port": GUESSED_PORT} if _is_port_open(entry) else check


def _is_port_open(entry: ServiceEntry) -> bool:
    """Return whether the port to probe is an open question, because a server in the table has no port."""
    return not all(server.port for server in entry.destinations)


def _server(service: ServiceKey, record: DestinationRecord, common: _Forwarding) -> dict[str, Any] | str:
    key = record.key
    has_own_port = key.port != service.port
    address = str(key) if has_own_port else f"[{key.address}]" if key.family == AF_INET6 else key.address
    own: dict[str, Any] = {}
    if record.weight != 1:
        own["weight"] = record.weight
    forwarding = _forwarding(record)
    if forwarding != common:
        own |= dict(forwarding)
    if record.upper_threshold:
        own["upper_threshold"] = record.upper_threshold
    if record.lower_threshold:
        own["lower_threshold"] = record.lower_threshold
    return {"address": address, **own} if own else address
