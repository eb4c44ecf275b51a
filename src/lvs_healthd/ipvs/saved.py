"""A table as `ipvsadm -Sn` writes it and `ipvsadm -R` reads it. Pure.

ipvsadm 1.31, ipvsadm.c: print_service_entry, print_largeconn, parse_netmask. It leaves out thresholds and connection
timeouts; here thresholds are written too, for `-R` takes them. Comments are not written: `-R` does not understand them.
"""

import ipaddress
import socket
from collections.abc import Iterator

from lvs_healthd.ipvs.records import (
    AF_INET6,
    IPPROTO_SCTP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SVC_F_ONEPACKET,
    SVC_F_PERSISTENT,
    SVC_F_SCHED1,
    SVC_F_SCHED2,
    SVC_F_SCHED3,
    TUNNEL_F_CSUM,
    TUNNEL_F_REMCSUM,
    TUNNEL_GRE,
    TUNNEL_GUE,
    DestinationKey,
    DestinationRecord,
    ForwardingMethod,
    ServiceKey,
    ServiceRecord,
    Table,
)

PROTOCOL_OPTIONS = {IPPROTO_TCP: "-t", IPPROTO_UDP: "-u", IPPROTO_SCTP: "--sctp-service"}
SCHEDULER_FLAGS = (SVC_F_SCHED1, SVC_F_SCHED2, SVC_F_SCHED3)
SCHEDULER_FLAG_NAMES = {
    "sh": ("sh-fallback", "sh-port", "flag-3"),
    "mh": ("mh-fallback", "mh-port", "flag-3"),
}
"""How the flags of a scheduler are called, in the order of `SCHEDULER_FLAGS`; any other's are `PLAIN_FLAG_NAMES`.

sh and mh have two. ipvsadm has no name for a third there, and writes "-b" without a value.
"""
PLAIN_FLAG_NAMES = ("flag-1", "flag-2", "flag-3")


def saved(table: Table, *, thresholds: bool = True) -> Iterator[str]:
    """Write a table, a service with its servers at a time, in ipvsadm's order. Lines end in a newline.

    Without `thresholds` it is what ipvsadm itself would write. The table may change between two services.
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


def scheduler_flags(record: ServiceRecord) -> list[str]:
    """Name the scheduler's flags that are set."""
    names = SCHEDULER_FLAG_NAMES.get(record.scheduler, PLAIN_FLAG_NAMES)
    return [name for flag, name in zip(SCHEDULER_FLAGS, names, strict=True) if record.flags & flag]


def service_order(key: ServiceKey) -> tuple[int, int, int, bytes, int]:
    """Return what ipvsadm sorts services by."""
    address = socket.inet_pton(key.family, key.address) if key.address else b""
    return key.fwmark, key.family, key.protocol, address, key.port


def server_order(key: DestinationKey) -> tuple[int, bytes, int]:
    """Return what ipvsadm sorts the servers of a service by."""
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
    flags = scheduler_flags(record)
    return f"{text} -b {','.join(flags)}" if flags else text


def _netmask(record: ServiceRecord) -> str:
    bits = record.netmask
    if record.key.family == AF_INET6:
        return f" -M {bits}" if bits != 128 else ""  # an address
    if bits < 0:
        return f" -M {ipaddress.IPv4Address(-bits)}"
    return f" -M {ipaddress.IPv4Network((0, bits)).netmask}" if bits != 32 else ""  # an address


def _server_options(record: DestinationRecord) -> str:
    weight = f" -w {record.weight}"
    if record.forward is ForwardingMethod.TUNNEL:
        return f" -i{weight} --tun-type {_tunnel(record)}"
    # ipvsadm writes -g for a method that it cannot set.
    return f" {'-m' if record.forward is ForwardingMethod.MASQ else '-g'}{weight}"


def _tunnel(record: DestinationRecord) -> str:
    checksum = "nocsum"
    if record.tunnel_flags & TUNNEL_F_CSUM:
        checksum = "csum"
    elif record.tunnel_flags & TUNNEL_F_REMCSUM:
        checksum = "remcsum"
    if record.tunnel_type == TUNNEL_GUE:
        return f"gue --tun-port {record.tunnel_port} --tun-{checksum}"
    if record.tunnel_type == TUNNEL_GRE:
        return f"gre --tun-{checksum}"
    return "ipip"


def _thresholds(record: DestinationRecord) -> str:
    upper = f" -x {record.upper_threshold}" if record.upper_threshold else ""
    return upper + (f" -y {record.lower_threshold}" if record.lower_threshold else "")
