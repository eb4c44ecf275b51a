"""The mark services of path probes: one service by firewall mark for each way to a real server. Pure.

Packets with the mark of such a service reach its only server, by that server's forwarding method, whatever service they
are addressed to. IPVS looks for the mark before it looks for the address (net/netfilter/ipvs/ip_vs_ctl.c,
ip_vs_service_find).
"""

from collections.abc import Iterable

import msgspec

from lvs_healthd.config.basics import Family
from lvs_healthd.config.check_ways import DataPath
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, ServiceKey, ServiceRecord, Table
from lvs_healthd.ipvs.words import AF_INET, AF_INET6, CHECKSUMS, METHODS, TUNNEL_IPIP, TUNNELS

SCHEDULER = "rr"
"""Any scheduler would do for a single server. rr is the one that ipvsadm's users have loaded already."""

NAME = "path probes "
"""What the name of a mark service begins with in logs and listings. The mark follows."""

WHY = "the way of path probes"
"""The reason for the server of a mark service."""

_ONE_CLIENT = {AF_INET: 32, AF_INET6: 128}
"""The netmask that the kernel expects of a service without persistence, by address family, bits."""


def mark_service(path: DataPath, mark: int) -> ServiceEntry:
    """Return the mark service for one way to a real server."""
    family = _number(path.family)
    server = DestinationKey(_number(path.server.family), path.server.address, path.server.port)
    record = DestinationRecord(
        server,
        METHODS[path.forward],
        1,
        tunnel_type=TUNNELS[path.tun_type] if path.tun_type else TUNNEL_IPIP,
        tunnel_port=path.tun_port,
        tunnel_flags=CHECKSUMS[path.tun_checksum] if path.tun_checksum else 0,
    )
    service = ServiceRecord(ServiceKey(family, fwmark=mark), SCHEDULER, netmask=_ONE_CLIENT[family])
    return ServiceEntry(service, {server: record})


def found_again(table: Table, paths: Iterable[DataPath], marks: range) -> dict[DataPath, int]:
    """Return the marks of the mark services that a table already holds for these ways.

    Such services are there although nobody remembers them: the state file was lost.
    """
    wanted = {_without_mark(mark_service(path, 0)): path for path in paths}
    found: dict[DataPath, int] = {}
    for key, entry in table.items():
        if key.fwmark in marks and (path := wanted.get(_without_mark(entry))) is not None:
            found.setdefault(path, key.fwmark)
    return found


def _without_mark(entry: ServiceEntry) -> tuple[ServiceRecord, tuple[DestinationRecord, ...]]:
    key = msgspec.structs.replace(entry.service.key, fwmark=0)
    return msgspec.structs.replace(entry.service, key=key), tuple(entry.destinations.values())


def _number(family: Family) -> int:
    return AF_INET6 if family is Family.IPV6 else AF_INET
