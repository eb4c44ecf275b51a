"""From where path probes leave: never from a service's address, and with nat never from the servers' network."""

import ipaddress
from collections.abc import Mapping

import pytest

from lvs_healthd.config.basics import Endpoint, Family, Protocol
from lvs_healthd.config.check_ways import DataPath
from lvs_healthd.director.links import Route
from lvs_healthd.director.path_exits import Exit, OwnAddress, Question, Surroundings, exits, leave

VIP, VIP6 = "192.0.2.100", "2001:db8:1::100"
RS, RS6 = "198.51.100.11", "2001:db8:2::11"
FRONT, INNER = 2, 3
SERVICES = frozenset({VIP, VIP6})


def own(address: str, interface: int) -> OwnAddress:
    network = ipaddress.ip_network(address, strict=False)
    return OwnAddress(address.partition("/")[0], network, interface)


ADDRESSES = (
    own(f"{VIP}/32", FRONT),
    own("192.0.2.1/24", FRONT),
    own("198.51.100.1/24", INNER),
    own(f"{VIP6}/128", FRONT),
    own("2001:db8:1::1/64", FRONT),
    own("2001:db8:2::1/64", INNER),
)
ROUTES = {
    VIP: Route(1, VIP, is_local=True),
    VIP6: Route(1, VIP6, is_local=True),
    RS: Route(INNER, "198.51.100.1", is_local=False),
    RS6: Route(INNER, "2001:db8:2::1", is_local=False),
}


def around(
    addresses: tuple[OwnAddress, ...] = ADDRESSES,
    *,
    accept_local: tuple[str, ...] = ("inner",),
    routes: Mapping[str, Route | None] | None = None,
) -> Surroundings:
    names = {1: "lo", FRONT: "front", INNER: "inner"}
    return Surroundings(addresses, names, {**ROUTES, **(routes or {})}, frozenset(accept_local))


def question(forward: str = "dr", server: str = RS, service: str = VIP, **keys: str) -> Question:
    family = Family.IPV6 if ":" in service else Family.IPV4
    path = DataPath(protocol=Protocol.TCP, family=family, server=Endpoint(server, 0), forward=forward)
    return Question(path, service, **keys)


def test_dr_leaves_from_where_the_kernel_would_send_to_the_server() -> None:
    assert leave(question(), around(), SERVICES) == Exit("198.51.100.1", "")
    assert leave(question(server=RS6, service=VIP6), around(), SERVICES) == Exit("2001:db8:2::1", "")


def test_service_address_that_the_kernel_would_use_is_replaced_by_another_one_of_the_interface() -> None:
    found = around(routes={RS: Route(FRONT, VIP, is_local=False)}, accept_local=("front",))
    assert leave(question(), found, SERVICES) == Exit("192.0.2.1", "")


def test_tunnel_across_families_leaves_from_an_address_of_the_services_family() -> None:
    assert leave(question("tun", server=RS6), around(), SERVICES) == Exit("198.51.100.1", "")


def test_director_with_nothing_but_services() -> None:
    found = leave(question(), around((own(f"{VIP}/32", FRONT),)), SERVICES)
    assert "no ipv4 address but those of virtual services" in found.trouble


def test_nat_leaves_from_outside_the_servers_network_by_the_interface_that_leads_there() -> None:
    assert leave(question("nat"), around(), SERVICES) == Exit("192.0.2.1", "inner")


def test_nat_over_ipv6_leaves_the_interface_to_the_kernel() -> None:
    assert leave(question("nat", RS6, VIP6), around(), SERVICES) == Exit("2001:db8:1::1", "")
    refused = leave(question("nat", RS6, VIP6, interface="inner"), around(), SERVICES)
    assert "leave interface out" in refused.trouble


def test_nat_with_one_network_needs_to_be_told() -> None:
    found = leave(question("nat"), around((own(f"{VIP}/32", INNER), own("198.51.100.1/24", INNER))), SERVICES)
    assert "no address outside the network of 198.51.100.11" in found.trouble
    assert "write one as source" in found.trouble


def test_nat_may_leave_from_an_address_on_lo() -> None:
    addresses = (own("198.51.100.1/24", INNER), own("203.0.113.7/32", 1))
    assert leave(question("nat"), around(addresses), SERVICES) == Exit("203.0.113.7", "inner")


def test_nat_refuses_a_source_on_the_servers_network() -> None:
    found = leave(question("nat", source="198.51.100.1"), around(), SERVICES)
    assert "source 198.51.100.1 is on the network of 198.51.100.11" in found.trouble


@pytest.mark.parametrize("forward", ["dr", "nat"])
def test_source_and_interface_of_the_check_come_first(forward: str) -> None:
    asked = question(forward, source="203.0.113.7", interface="front")
    assert leave(asked, around(accept_local=("front",)), SERVICES) == Exit("203.0.113.7", "front")


@pytest.mark.parametrize("forward", ["dr", "tun"])
def test_answers_of_dr_and_tunnels_are_dropped_without_accept_local(forward: str) -> None:
    found = leave(question(forward), around(accept_local=("front",)), SERVICES)
    assert found.sysctl == "net.ipv4.conf.inner.accept_local"
    assert found.trouble.endswith("sysctl -w net.ipv4.conf.inner.accept_local=1")
    assert not leave(question(forward), around(accept_local=("all",)), SERVICES).trouble


def test_accept_local_is_not_needed_elsewhere() -> None:
    without = around(accept_local=())
    assert not leave(question("nat"), without, SERVICES).trouble
    assert not leave(question(server=RS6, service=VIP6), without, SERVICES).trouble
    standby = around(accept_local=(), routes={VIP: Route(FRONT, "192.0.2.1", is_local=False)})
    assert not leave(question(), standby, SERVICES).trouble


def test_command_for_an_interface_whose_name_has_a_dot() -> None:
    found = Surroundings(ADDRESSES, {INNER: "eth1.7"}, {**ROUTES}, frozenset())
    assert leave(question(), found, SERVICES).trouble.endswith("sysctl -w net/ipv4/conf/eth1.7/accept_local=1")


def test_server_without_a_route_and_server_that_is_this_director() -> None:
    assert f"no route to {RS}" in leave(question(), around(routes={RS: None}), SERVICES).trouble
    here = around(routes={RS: Route(1, RS, is_local=True)})
    assert "is this director itself" in leave(question(), here, SERVICES).trouble


def test_this_hosts_kernel_answers() -> None:
    """A server on the loopback address is this host itself, whatever else its network is."""
    asked = question(server="127.0.0.1")
    assert "is this director itself" in exits({asked}, SERVICES)[asked].trouble
