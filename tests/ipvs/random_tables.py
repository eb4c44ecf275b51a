"""Random tables that use everything a configuration can express. Made without hypothesis, for the kernel tests."""

import random

from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, ServiceKey, ServiceRecord, Table
from lvs_healthd.ipvs.words import (
    AF_INET,
    AF_INET6,
    IPPROTO_SCTP,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SVC_F_ONEPACKET,
    SVC_F_PERSISTENT,
    TUNNEL_F_CSUM,
    TUNNEL_F_REMCSUM,
    TUNNEL_GRE,
    TUNNEL_GUE,
    ForwardingMethod,
)

SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sh", "sed", "nq", "fo", "ovf", "mh")
"""The schedulers of Debian 12's kernel."""
TUNNELS = (
    {},
    *({"tunnel_type": TUNNEL_GRE, "tunnel_flags": flags} for flags in (0, TUNNEL_F_CSUM)),
    *(
        {"tunnel_type": TUNNEL_GUE, "tunnel_port": 6080, "tunnel_flags": flags}
        for flags in (0, TUNNEL_F_CSUM, TUNNEL_F_REMCSUM)
    ),
)


MOST_SERVICES = 5


def random_table(source: random.Random, number: int = 0) -> Table:
    """Draw a table of one to five services with one to four servers each.

    number: tables with different numbers share no service.
    """
    first = number * MOST_SERVICES
    entries = (_entry(source, first + index) for index in range(source.randint(1, MOST_SERVICES)))
    return {entry.service.key: entry for entry in entries}


def _entry(source: random.Random, index: int) -> ServiceEntry:
    family = source.choice([AF_INET, AF_INET6])
    is_persistent = source.random() < 0.4
    if source.random() < 0.2:
        key = ServiceKey(family, fwmark=source.choice([index + 1, 2**32 - 1 - index]))
    else:
        address = f"192.0.2.{index + 1}" if family == AF_INET else f"2001:db8::{index + 1:x}"
        port = 0 if is_persistent and source.random() < 0.2 else source.randint(1, 65535)
        key = ServiceKey(family, source.choice([IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP]), address, port)
    is_udp = key.fwmark or key.protocol == IPPROTO_UDP
    flags = SVC_F_PERSISTENT if is_persistent else 0
    flags |= SVC_F_ONEPACKET if is_udp and source.random() < 0.3 else 0
    scheduler = source.choice(SCHEDULERS)
    flags |= source.choice([0, 0, 0x08, 0x10, 0x18, *([] if scheduler in {"sh", "mh"} else [0x20])])
    bits = 32 if family == AF_INET else 128
    netmask = source.choice([bits, source.randint(1, bits), *([0, -0xFF00FF00] if family == AF_INET else [])])
    record = ServiceRecord(
        key,
        scheduler,
        flags=flags,
        timeout=source.choice([1, 300, 2_678_400]) if is_persistent else 0,
        netmask=netmask if is_persistent else bits,
        persistence_engine="sip" if is_persistent and is_udp and source.random() < 0.2 else "",
    )
    can_map = bool(key.port or (key.fwmark and not is_persistent))
    servers = [_server(source, key, number, can_map=can_map) for number in range(source.randint(1, 4))]
    return ServiceEntry(record, {server.key: server for server in servers})


def _server(source: random.Random, service: ServiceKey, number: int, *, can_map: bool) -> DestinationRecord:
    forward = source.choice([ForwardingMethod.MASQ, ForwardingMethod.TUNNEL, ForwardingMethod.DROUTE])
    family = service.family
    if forward is ForwardingMethod.TUNNEL and source.random() < 0.2:
        family = AF_INET6 if family == AF_INET else AF_INET
    address = f"198.51.100.{number + 1}" if family == AF_INET else f"2001:db8:1::{number + 1:x}"
    maps_port = forward is ForwardingMethod.MASQ and can_map and source.random() < 0.3
    upper, lower = source.choice([(0, 0), (0, 0), (1000, 0), (1000, 500)])
    return DestinationRecord(
        DestinationKey(family, address, source.randint(1, 65535) if maps_port else service.port),
        forward,
        source.choice([0, 1, 1, 2, 65535]),
        upper_threshold=upper,
        lower_threshold=lower,
        **source.choice(TUNNELS) if forward is ForwardingMethod.TUNNEL else {},
    )
