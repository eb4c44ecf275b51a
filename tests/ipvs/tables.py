"""Records for tests of the table: short names for common ones, and a small world for random writes.

This module does not import hypothesis, because the kernel tests use it too: in their emulated guest that import alone
takes ten seconds.
"""

import itertools
import random

import msgspec

from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    Operation,
    ServiceEntry,
    ServiceKey,
    ServiceRecord,
    Table,
    Verb,
)
from lvs_healthd.ipvs.words import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SVC_F_ONEPACKET,
    SVC_F_PERSISTENT,
    ForwardingMethod,
)

WEB = ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.100", 80)
DNS = ServiceKey(AF_INET6, IPPROTO_UDP, "2001:db8::53", 53)
MARK = ServiceKey(AF_INET, fwmark=7)


def service(key: ServiceKey = WEB, scheduler: str = "wrr", **fields: int | str) -> ServiceRecord:
    netmask = 128 if key.family == AF_INET6 else 32
    return ServiceRecord(key, scheduler, **{"netmask": netmask, **fields})  # type: ignore[arg-type]  # test shorthand


def server(
    address: str,
    weight: int = 1,
    *,
    port: int = 80,
    forward: ForwardingMethod = ForwardingMethod.MASQ,
    **fields: int,
) -> DestinationRecord:
    family = AF_INET6 if ":" in address else AF_INET
    return DestinationRecord(DestinationKey(family, address, port), forward, weight, **fields)


def entry(record: ServiceRecord, *servers: DestinationRecord) -> ServiceEntry:
    return ServiceEntry(record, {one.key: one for one in servers})


def table(*entries: ServiceEntry) -> Table:
    return {one.service.key: one for one in entries}


def copy(source: Table) -> Table:
    return {key: ServiceEntry(one.service, dict(one.destinations)) for key, one in source.items()}


# A small world, in which random operations hit the same records again and again

WORLD_KEYS = (
    WEB,
    DNS,
    MARK,
    ServiceKey(AF_INET6, fwmark=7),
    ServiceKey(AF_INET, IPPROTO_UDP, "192.0.2.100", 80),
)
WORLD_SERVICES = [
    ServiceRecord(key, scheduler, flags, timeout, netmask)
    for key in WORLD_KEYS
    for scheduler, (flags, timeout), netmask in itertools.product(
        ["rr", "wlc", "no-such"],
        [(0, 0), (SVC_F_PERSISTENT, 300), (SVC_F_ONEPACKET, 0)],
        [0, 64, 128] if key.family == AF_INET6 else [0, 24, 32],
    )
]
WORLD_ADDRESSES = ["198.51.100.1", "198.51.100.2", "2001:db8::1", "0.0.0.0", "224.0.0.5", "fe80::1", "ff02::1"]
WORLD_SERVERS = [
    server(
        address,
        weight,
        port=port,
        forward=forward,
        upper_threshold=upper,
        lower_threshold=lower,
        tunnel_type=tunnel_type,
        tunnel_port=tunnel_port,
    )
    for address, port, forward, weight, (upper, lower), (tunnel_type, tunnel_port) in itertools.product(
        WORLD_ADDRESSES,
        [80, 8080],
        [ForwardingMethod.MASQ, ForwardingMethod.DROUTE, ForwardingMethod.TUNNEL],
        [0, 1, 2, 65535, 2**31],
        [(0, 0), (10, 5), (5, 10)],
        [(0, 0), (1, 6080), (1, 0), (2, 0)],
    )
]
WORLD_VERBS = [*Verb, Verb.ADD_SERVICE, *[Verb.ADD_SERVER] * 4]
"""Adds are more frequent than the rest, so that there is something to edit and delete."""


def random_operation(source: random.Random) -> Operation:
    """Draw one write. Unknown schedulers are rare, because the kernel runs modprobe for each."""
    verb = source.choice(WORLD_VERBS)
    is_about_server = verb in (Verb.ADD_SERVER, Verb.SET_SERVER, Verb.DELETE_SERVER)
    record = source.choice(WORLD_SERVICES)
    if record.scheduler == "no-such" and source.random() < 0.9:
        record = msgspec.structs.replace(record, scheduler="rr")
    return Operation(verb, record, source.choice(WORLD_SERVERS) if is_about_server else None)
