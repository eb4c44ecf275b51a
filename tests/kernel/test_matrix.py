"""Everything that a configuration can say about a table, in every combination, against the kernel and ipvsadm.

There is a service for each combination of a service's keys. It has a server for each combination of a server's keys. So
every combination of the former meets every combination of the latter. Thresholds and weights only take turns: they are
numbers on which nothing else depends, and combining them too would make three times as many servers.
"""

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from lab.ipvsadm import Ipvsadm
from lab.netns import Namespace
from lvs_healthd.config.basics import Endpoint, Family, Protocol, Seconds
from lvs_healthd.config.model import Forward, RealServer, Service, TunChecksum, TunType
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.records import DestinationRecord, Operation, ServiceEntry, Table, Verb
from lvs_healthd.ipvs.saved import saved
from lvs_healthd.plan.records import PlannedServer, planned
from tests.kernel.fresh_network import director, fresh_network

__all__ = ["director"]

DEADLINE_S = 60.0
"""An emulated kernel takes its time to run modprobe."""

PLAIN_SCHEDULERS = ("rr", "wrr", "lc", "wlc", "lblc", "lblcr", "dh", "sed", "nq", "fo", "ovf")
FLAGS: dict[str, tuple[tuple[str, ...], ...]] = {
    **dict.fromkeys(PLAIN_SCHEDULERS, ((), ("flag-1",), ("flag-2",), ("flag-3",), ("flag-1", "flag-2", "flag-3"))),
    "sh": ((), ("sh-port",), ("sh-fallback",), ("sh-port", "sh-fallback")),
    "mh": ((), ("mh-port",), ("mh-fallback",), ("mh-port", "mh-fallback")),
}
MASKS = {Family.IPV4: (24, -0xFF00FF00), Family.IPV6: (64, 1)}
TUNNELS = (
    (TunType.IPIP, 0, TunChecksum.OFF),
    *((TunType.GRE, 0, checksum) for checksum in (TunChecksum.OFF, TunChecksum.ON)),
    *((TunType.GUE, 6080, checksum) for checksum in TunChecksum),
)
THRESHOLDS = ((0, 0), (1000, 0), (1000, 500))
WEIGHTS = (1, 0, 65535)
TURNS = len(THRESHOLDS) * len(WEIGHTS)

KINDS = (*Protocol, "fwmark")
COMBINATIONS = {"tcp": 3_350, "udp": 6_686, "sctp": 3_350, "fwmark": 6_672}
"""How many there are, of each family: 40 116 altogether. A change of this file should change them on purpose."""


@pytest.fixture
def network() -> Iterator[Namespace]:
    """A new network for each test, because the kernel keeps removed servers for minutes, which slows down additions."""
    with fresh_network() as namespace:
        yield namespace


SHORT = (("tcp", Family.IPV4), ("udp", Family.IPV6))


@pytest.mark.parametrize(
    ("kind", "family"),
    [
        # In a guest, each takes a quarter of a minute. Two of them have everything in them.
        pytest.param(kind, family, marks=() if (kind, family) in SHORT else pytest.mark.long)
        for kind in KINDS
        for family in Family
    ],
)
async def test_every_combination_is_written_read_back_and_shown_by_ipvsadm(
    director: Ipvsadm, family: Family, kind: str
) -> None:
    wanted = table_of(family, kind)
    assert sum(len(entry.destinations) for entry in wanted.values()) == COMBINATIONS[kind]
    client = IpvsClient(deadline_s=DEADLINE_S)
    await client.open()
    try:
        operations = [*_writes(wanted)]
        assert [result for result in await client.apply(operations) if not result.ok] == []
        found = await client.read()
    finally:
        client.close()
    assert found.keys() == wanted.keys()
    assert [key for key in wanted if found[key] != wanted[key]] == []
    shown = director.saved().splitlines()
    assert shown == "".join(saved(wanted, thresholds=False)).splitlines()


def table_of(family: Family, kind: str) -> Table:
    """Return a table with a service of each combination, which has a server of each combination."""
    table: Table = {}
    turns = [planned(_service(family, kind, 1, tuple(_servers(family, kind, turn)))).servers for turn in range(TURNS)]
    for number, keys in enumerate(_service_keys(family, kind), 1):
        record = planned(_service(family, kind, number, (), **keys)).record
        servers = turns[number % TURNS]
        if keys["scheduler"] == "mh":
            # Each write makes the kernel fill a table of 65 521 places again. So such a service has only two servers,
            # and each service has other ones.
            servers = tuple(servers[(2 * number + index) % len(servers)] for index in range(2))
        records = (_at(server, record.key.port) for server in servers)
        table[record.key] = ServiceEntry(record, {each.key: each for each in records})
    return table


def _at(server: PlannedServer, port: int) -> DestinationRecord:
    """Return a server with its service's port, which dr and tun require."""
    return msgspec.structs.replace(server.record, key=msgspec.structs.replace(server.key, port=port))


def _service(family: Family, kind: str, number: int, servers: tuple[RealServer, ...], **keys: Any) -> Service:
    if kind == "fwmark":
        return Service(name="x", fwmark=number, family=family, real_servers=servers, **keys)
    address = "192.0.2.1" if family is Family.IPV4 else "2001:db8::1"
    port = 0 if keys.pop("all_ports", False) else number
    return Service(
        name="x",
        endpoint=Endpoint(address, port),
        protocol=Protocol(kind),
        family=family,
        real_servers=servers,
        **keys,
    )


def _service_keys(family: Family, kind: str) -> Iterator[dict[str, Any]]:
    """Yield each combination of scheduler, flags, persistence and one-packet scheduling."""
    is_udp = kind in {"udp", "fwmark"}
    sticky: dict[str, Any] = {"persistence": Seconds(300.0)}
    network, odd = ({**sticky, "persistence_mask": mask} for mask in MASKS[family])
    persistences: tuple[dict[str, Any], ...] = (
        {},
        sticky,
        network,
        {**network, "persistence_engine": "sip"} if is_udp else odd,
    )
    for scheduler, all_flags in FLAGS.items():
        one_packets = (False, True) if is_udp else (False,)
        for flags, persistence, one_packet in itertools.product(all_flags, persistences, one_packets):
            yield {"scheduler": scheduler, "scheduler_flags": flags, "one_packet": one_packet, **persistence}
    if kind != "fwmark":
        yield {"scheduler": "rr", "persistence": Seconds(300.0), "all_ports": True}


def _servers(family: Family, kind: str, turn: int) -> Iterator[RealServer]:
    """Yield a server for each combination of method, tunnel and family. Thresholds and weights take turns."""
    methods: list[dict[str, Any]] = [{"forward": Forward.NAT}, {"forward": Forward.DR}]
    methods += [
        {"forward": Forward.TUN, "tun_type": kind, "tun_port": port, "tun_checksum": checksum}
        for kind, port, checksum in TUNNELS
    ]
    port = 0 if kind == "fwmark" else 1
    number = 0
    for method in methods:
        crosses = (False, True) if method["forward"] is Forward.TUN else (False,)
        for cross in crosses:
            number += 1
            upper, lower = THRESHOLDS[(number + turn) % len(THRESHOLDS)]
            is_ipv4 = (family is Family.IPV4) is not cross
            yield RealServer(
                endpoint=Endpoint(f"198.51.100.{number}" if is_ipv4 else f"2001:db8:1::{number:x}", port),
                weight=WEIGHTS[(number + turn // len(THRESHOLDS)) % len(WEIGHTS)],
                upper_threshold=upper,
                lower_threshold=lower,
                **method,
            )


def _writes(table: Table) -> Iterator[Operation]:
    for entry in table.values():
        yield Operation(Verb.ADD_SERVICE, entry.service)
        for server in entry.destinations.values():
            yield Operation(Verb.ADD_SERVER, entry.service, server)
