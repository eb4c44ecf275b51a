"""Formats a table as `ipvsadm -Sn` does, so that `ipvsadm -R` can read it.

The format follows ipvsadm 1.31, ipvsadm.c: print_service_entry, print_largeconn, parse_netmask. ipvsadm leaves out
thresholds and connection timeouts. This module does write thresholds, because `-R` accepts them. It writes no comments,
because `-R` does not understand them.
"""

import ipaddress
import socket
from collections.abc import Iterator

from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceKey, ServiceRecord, Table
from lvs_healthd.ipvs.words import (
    AF_INET6,
    CHECKSUM_FLAGS,
    CHECKSUM_OPTIONS,
    METHOD_OPTIONS,
    PROTOCOL_OPTIONS,
    SVC_F_ONEPACKET,
    SVC_F_PERSISTENT,
    TUNNEL_F_CSUM,
    TUNNEL_GRE,
    TUNNEL_GUE,
    TUNNEL_IPIP,
    TUNNEL_NAMES,
    ForwardingMethod,
    names_of_flags,
)


def saved(table: Table, *, thresholds: bool = True) -> Iterator[str]:
    """Format a table, service by service, in ipvsadm's order.

    table: the table, which may change during the iteration.
    thresholds: whether to write thresholds too. Without them, the output is exactly ipvsadm's.

    Each text holds the lines of a service and its servers, each of which ends in a newline.
    """
    for key in sorted(table, key=service_order):
        entry = table.get(key)
        if entry is None:
            continue
        which = _service(key)
        lines = [f"-A {which}{_service_options(entry.service)}\n"]
        for server in sorted(entry.destinations, key=server_order):
            record = entry.destinations[server]
            limits = _thresholds(record) if thresholds else ""
            lines.append(f"-a {which} -r {_endpoint(server)}{_server_options(record)}{limits}\n")
        yield "".join(lines)


def service_order(key: ServiceKey) -> tuple[int, int, int, bytes, int]:
    """Return the key by which ipvsadm sorts services."""
    address = socket.inet_pton(key.family, key.address) if key.address else b""
    return key.fwmark, key.family, key.protocol, address, key.port


def server_order(key: DestinationKey) -> tuple[int, bytes, int]:
    """Return the key by which ipvsadm sorts the servers of a service."""
    return key.family, socket.inet_pton(key.family, key.address), key.port


def _service(key: ServiceKey) -> str:
    if key.fwmark:
        return f"-f {key.fwmark}" + (" -6" if key.family == AF_INET6 else "")
    return f"{PROTOCOL_OPTIONS[key.protocol]} {_endpoint(key)}"


def _endpoint(key: ServiceKey | DestinationKey) -> str:
    address = f"[{key.address}]" if key.family == AF_INET6 else key.address
    return f"{address}:{key.port}"


def _service_options(record: ServiceRecord) -> str:
    text = f" -s {record.scheduler}"
    if record.flags & SVC_F_PERSISTENT:
        text += f" -p {record.timeout}{_netmask(record)}"
    if record.persistence_engine:
        text += f" --pe {record.persistence_engine}"
    if record.flags & SVC_F_ONEPACKET:
        text += " -o"
    flags = names_of_flags(record.scheduler, record.flags)
    return f"{text} -b {','.join(flags)}" if flags else text


def _netmask(record: ServiceRecord) -> str:
    bits = record.netmask
    if record.key.family == AF_INET6:
        return f" -M {bits}" if bits != 128 else ""  # 128: one address
    if bits < 0:
        return f" -M {ipaddress.IPv4Address(-bits)}"
    return f" -M {ipaddress.IPv4Network((0, bits)).netmask}" if bits != 32 else ""  # 32: one address


def _server_options(record: DestinationRecord) -> str:
    # A method that cannot be set is written as -g, as ipvsadm does.
    method = METHOD_OPTIONS.get(record.forward, METHOD_OPTIONS[ForwardingMethod.DROUTE])
    tunnel = f" --tun-type {_tunnel(record)}" if record.forward is ForwardingMethod.TUNNEL else ""
    return f" {method} -w {record.weight}{tunnel}"


def _tunnel(record: DestinationRecord) -> str:
    checksum = CHECKSUM_OPTIONS[
        TUNNEL_F_CSUM if record.tunnel_flags & TUNNEL_F_CSUM else record.tunnel_flags & CHECKSUM_FLAGS
    ]
    name = TUNNEL_NAMES.get(record.tunnel_type, TUNNEL_NAMES[TUNNEL_IPIP])
    if record.tunnel_type == TUNNEL_GUE:
        return f"{name} --tun-port {record.tunnel_port} {checksum}"
    return f"{name} {checksum}" if record.tunnel_type == TUNNEL_GRE else name


def _thresholds(record: DestinationRecord) -> str:
    upper = f" -x {record.upper_threshold}" if record.upper_threshold else ""
    return upper + (f" -y {record.lower_threshold}" if record.lower_threshold else "")
