"""Gives each way of a path probe its firewall mark, and the mark service that goes with it."""

from collections.abc import Collection, Mapping
from itertools import chain

from lvs_healthd.config.check_model import data_path
from lvs_healthd.config.check_ways import DataPath
from lvs_healthd.config.model import Config, Service
from lvs_healthd.config.per_service import PerService
from lvs_healthd.ipvs.records import ServiceEntry, ServiceKey, Table
from lvs_healthd.plan.leases import Leases
from lvs_healthd.plan.mark_services import found_again, mark_service

REST_S = 330.0
"""How long a mark or a source port rests before another probe gets it, seconds. IPVS remembers for 300 s where the
datagrams of a port go (IP_VS_UDP_S_NORMAL in net/netfilter/ipvs/ip_vs_proto_udp.c)."""
_UDP_MARGIN_S = 30.0
"""How much longer than a configured udp timeout a number rests, seconds."""


def use_range(marks: Leases, config: Config) -> None:
    """Let marks be of the configured range from now on, and rest as long as the configured timeout makes necessary."""
    first, last = config.ipvs.path_marks
    marks.numbers = range(first, last + 1)
    marks.rest_s = max(REST_S, (config.ipvs.timeouts.udp or 0.0) + _UDP_MARGIN_S)


def assign(
    marks: Leases, config: Config, actual: Table, owned: Collection[ServiceKey], now: float
) -> tuple[dict[DataPath, ServiceEntry], list[ServiceKey]]:
    """Give every way in a configuration its mark. Return their mark services, and somebody else's on marks of ours.

    marks: the marks that are held and rest. Changed.
    actual: the kernel's table.
    owned: the services that are ours.
    now: Unix time, seconds.
    """
    ways = _ways(config)
    theirs = {key: entry for key, entry in actual.items() if key.fwmark and key not in owned}
    # Services that are exactly as ours would be are ours, though the state file was lost.
    again = {str(path): mark for path, mark in found_again(theirs, ways.values(), marks.numbers).items()}
    taken = {key.fwmark for key in theirs}
    marks.hold(
        ways,
        now,
        is_free=lambda way, mark: mark not in taken or again.get(way) == mark,
        preferred=again.get,
    )
    given = {path: mark for way, path in ways.items() if (mark := marks.of(way)) is not None}
    others = [key for key in theirs if key.fwmark in marks.numbers and key.fwmark not in again.values()]
    return {path: mark_service(path, mark) for path, mark in given.items()}, others


def _ways(config: Config) -> Mapping[str, DataPath]:
    """Return the ways of all checks that go through a service, by their names, in the order of the configuration."""
    return {str(path): path for path in chain.from_iterable(_ways_to_servers.of(config.services))}


def _find_ways(service: Service) -> tuple[DataPath, ...]:
    checks = [check for server in service.real_servers for check in server.checks if check.way is not None]
    return tuple([path for check in checks if (path := data_path(check)) is not None])


_ways_to_servers = PerService(_find_ways)
