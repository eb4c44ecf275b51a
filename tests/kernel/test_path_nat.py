"""Checks through the service by nat: a server whose way back does not lead through the director is found and named."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from lab.topology import Topology
from tests.kernel.paths import PORT, UDP_CHECKS, Running, marks, running, served, service

pytestmark = pytest.mark.asyncio(loop_scope="module")

DROP_ALL = (
    "nft add table inet own",
    "nft add chain inet own input { type filter hook input priority 0 ; policy drop ; }",
)
MAPPED = 8080
"""The port of a service whose servers have another one."""


@pytest.fixture(scope="module")
def routed() -> Iterator[Topology]:
    with Topology.nat(servers=2) as topology, served(topology, vips=False):
        yield topology


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(routed: Topology, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    own = [server.address for server in routed.servers]
    own6 = [f"[{server.address6}]" for server in routed.servers]
    services = [
        service("web", f"{routed.vip}:80", own, keys='forward = "nat"'),
        service("mapped", f"{routed.vip}:{MAPPED}", [f"{each}:80" for each in own], keys='forward = "nat"'),
        service("dns", f"{routed.vip}:{PORT}", own, keys='forward = "nat"', checks=UDP_CHECKS),
        service("web6", f"[{routed.vip6}]:80", own6, keys='forward = "nat"'),
    ]
    async with running(routed, tmp_path_factory.mktemp("daemon"), services) as found:
        for name, servers, port in (("web", own, 80), ("mapped", own, 80), ("dns", own, PORT), ("web6", own6, 80)):
            for server in servers:
                await found.until("real_server.up", service=name, server=f"{server}:{port}")
        yield found


@pytest.mark.long
async def test_services_of_the_same_servers_share_their_mark_services(up: Running) -> None:
    found = sorted(marks(up.topology).values())
    assert found.count("-r 198.51.100.11:80 -m -w 1") == 1
    assert found.count("-r 198.51.100.11:5300 -m -w 1") == 1
    assert len(found) == 6


@pytest.mark.long
async def test_server_without_a_route_through_the_director(up: Running) -> None:
    first = up.topology.servers[0]
    await up.on(first, "ip route delete default")
    for name, port in (("web", 80), ("mapped", 80), ("dns", PORT)):
        reason = await up.path_down(name, f"{first.address}:{port}")
        assert "not by nat: its way back does not lead through the director" in reason
    assert {line["server"].partition(":")[0] for line in up.since("real_server.down")} == {first.address}
    await up.on(first, "ip route add default via 198.51.100.1")
    await up.all_up()


@pytest.mark.long
async def test_ipv6_server_without_a_route_through_the_director(up: Running) -> None:
    first = up.topology.servers[0]
    await up.on(first, "ip -6 route delete default")
    reason = await up.path_down("web6", f"[{first.address6}]:80")
    assert "its way back does not lead through the director" in reason
    await up.on(first, "ip -6 route add default via 2001:db8:2::1")
    await up.all_up()


@pytest.mark.long
async def test_dead_server_is_down_by_its_plain_check_as_well(up: Running) -> None:
    """The first check that fails often enough takes it out, and nothing says that it answers on its own address."""
    first = up.topology.servers[0]
    await up.on(
        first,
        "nft add table inet own",
        "nft add chain inet own input { type filter hook input priority 0; policy drop; }",
    )
    for name, port in (("web", 80), ("dns", PORT)):
        line = await up.until("real_server.down", service=name, server=f"{first.address}:{port}")
        assert "answers on its own address" not in line["reason"]
    await up.on(first, "nft delete table inet own")
    await up.all_up()


@pytest.mark.long
async def test_missing_mark_services_are_written_again_and_remove_nobody(up: Running) -> None:
    await up.all_sure()
    before = marks(up.topology)
    await up.on(up.topology.director, *(f"ipvsadm -D {mark}" for mark in before))
    await up.unsure("web", "mark service")
    await up.nobody_goes_down()
    assert marks(up.topology) == before


@pytest.mark.long
async def test_firewall_of_the_director_removes_nobody(up: Running) -> None:
    await up.all_sure()
    director = up.topology.director
    await up.on(
        director,
        "nft add table inet own",
        "nft add chain inet own input { type filter hook input priority 0 ; }",
        # The second one is about udp, in which no answer is invalid.
        "nft add rule inet own input ct state invalid drop",
        "nft add rule inet own input ip daddr 192.0.2.1 drop",
    )
    for name in ("web", "dns", "web6"):
        assert "no server passes by nat" in await up.unsure(name, "this director is at fault")
    await up.nobody_goes_down()
    await up.on(director, "nft delete table inet own")
