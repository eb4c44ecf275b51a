"""The mark service of each way, and how one is recognised."""

import pytest

from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.check_ways import DataPath
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceKey, ServiceRecord, Wanted
from lvs_healthd.ipvs.words import AF_INET, AF_INET6, TUNNEL_F_CSUM, TUNNEL_GUE, ForwardingMethod
from lvs_healthd.plan.mark_services import found_again, mark_service
from lvs_healthd.plan.planner import Planner

SERVER = Endpoint("198.51.100.11", 80)


def way(forward: str = "dr", server: Endpoint = SERVER, **keys: object) -> DataPath:
    given = {"protocol": Protocol.TCP, "family": Family.IPV4, "server": server, "forward": forward, **keys}
    return DataPath(**given)  # type: ignore[arg-type]


def test_it_has_one_server_that_takes_everything_with_the_mark() -> None:
    entry = mark_service(way("nat"), 70000)
    key = DestinationKey(AF_INET, "198.51.100.11", 80)
    assert entry.service == ServiceRecord(ServiceKey(AF_INET, fwmark=70000), "rr", netmask=32)
    assert entry.destinations == {key: DestinationRecord(key, ForwardingMethod.MASQ, 1)}


def test_ipv6_service_may_reach_its_server_by_a_tunnel_over_ipv4() -> None:
    path = way("tun", family=Family.IPV6, tun_type="gue", tun_port=6080, tun_checksum="on")
    entry = mark_service(path, 70000)
    (server,) = entry.destinations.values()
    assert entry.service.key.family == AF_INET6
    assert entry.service.netmask == 128
    assert server.key.family == AF_INET
    assert (server.forward, server.tunnel_type, server.tunnel_port, server.tunnel_flags) == (
        ForwardingMethod.TUNNEL,
        TUNNEL_GUE,
        6080,
        TUNNEL_F_CSUM,
    )


def test_services_that_are_exactly_as_ours_would_be_are_found_again() -> None:
    first, second = way(), way("nat")
    table = {entry.service.key: entry for entry in (mark_service(first, 70001), mark_service(second, 90000))}
    assert found_again(table, [first, second], range(70000, 70010)) == {first: 70001}


@pytest.mark.parametrize("other", [way("nat"), way(server=Endpoint("198.51.100.12", 80)), way(family=Family.IPV6)])
def test_other_service_is_not_taken_for_ours(other: DataPath) -> None:
    entry = mark_service(other, 70001)
    assert found_again({entry.service.key: entry}, [way()], range(70000, 70010)) == {}


def test_planner_wants_mark_services_until_they_are_no_longer_given() -> None:
    planner, entry = Planner(), mark_service(way(), 70001)
    planner.configure([], {}, mark_services={entry.service.key: entry})
    assert planner.wanted.table == {entry.service.key: entry}
    assert planner.wanted.names == {entry.service.key: "path probes 70001"}
    assert [line[0] for line in planner.wanted.why] == [entry.service.key]
    planner.configure([], {})
    assert planner.wanted == Wanted({}, {}, {})
