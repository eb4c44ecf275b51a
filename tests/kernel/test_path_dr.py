"""Checks through the service by direct routing: each fault of the way is found and named, and ours removes nobody."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from lab.topology import Topology
from tests.daemon_process import daemon
from tests.kernel.paths import NO_VERDICT_S, PORT, UDP_CHECKS, Running, marks, running, served, service

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCEPT = "sysctl -qw net.ipv4.conf.eth0.accept_local="


@pytest.fixture(scope="module")
def dr() -> Iterator[Topology]:
    with Topology.dr(servers=2) as topology, served(topology, vips=True):
        topology.director.run((ACCEPT + "1").split())
        yield topology


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(dr: Topology, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    own = [server.address for server in dr.servers]
    own6 = [f"[{server.address6}]" for server in dr.servers]
    services = [
        service("web", f"{dr.vip}:80", own, keys='forward = "dr"'),
        service("dns", f"{dr.vip}:{PORT}", own, keys='forward = "dr"', checks=UDP_CHECKS),
        service("web6", f"[{dr.vip6}]:80", own6, keys='forward = "dr"'),
    ]
    async with running(dr, tmp_path_factory.mktemp("daemon"), services) as found:
        for name, servers, port in (("web", own, 80), ("dns", own, PORT), ("web6", own6, 80)):
            for server in servers:
                await found.until("real_server.up", service=name, server=f"{server}:{port}")
        yield found


@pytest.mark.long
async def test_each_server_has_a_mark_service_that_no_listing_shows(up: Running) -> None:
    found = marks(up.topology)
    # One for each server over tcp, one over udp, and one over IPv6.
    assert sorted(found.values()) == sorted(
        [
            *["-r 198.51.100.11:0 -g -w 1", "-r 198.51.100.12:0 -g -w 1"] * 2,
            *["-r [2001:db8:2::11]:0 -g -w 1", "-r [2001:db8:2::12]:0 -g -w 1"],
        ]
    )
    mark = next(iter(found)).split()[1]
    assert mark not in await up.cli("table")
    assert mark in await up.cli("table", "--all")
    assert mark not in await up.cli("export")
    assert mark in await up.cli("export", "--all")
    assert mark not in await up.cli("export", "--actual")
    assert mark not in await up.cli("status")


@pytest.mark.parametrize("forwards", [0, 1], ids=["drops", "loops"])
@pytest.mark.long
async def test_vip_missing_on_a_server(up: Running, forwards: int) -> None:
    first = up.topology.servers[0]
    await up.on(first, f"sysctl -qw net.ipv4.ip_forward={forwards}", f"ip address delete {up.topology.vip}/32 dev lo")
    for name, port in (("web", 80), ("dns", PORT)):
        reason = await up.path_down(name, f"{first.address}:{port}")
        assert f"not by dr: {up.topology.vip} missing on the server" in reason
    assert {line["server"].partition(":")[0] for line in up.since("real_server.down")} == {first.address}
    await up.on(first, f"ip address add {up.topology.vip}/32 dev lo", "sysctl -qw net.ipv4.ip_forward=0")
    await up.all_up()


@pytest.mark.long
async def test_vip6_missing_on_a_server(up: Running) -> None:
    first = up.topology.servers[0]
    await up.on(first, f"ip address delete {up.topology.vip6}/128 dev lo")
    reason = await up.path_down("web6", f"[{first.address6}]:80")
    assert f"{up.topology.vip6} missing on the server" in reason
    await up.on(first, f"ip address add {up.topology.vip6}/128 dev lo")
    await up.all_up()


@pytest.mark.long
async def test_missing_mark_services_are_written_again_and_remove_nobody(up: Running) -> None:
    before = marks(up.topology)
    await up.on(up.topology.director, *(f"ipvsadm -D {mark}" for mark in before))
    await up.unsure("web", "mark service")
    await up.unsure("dns", "mark service")
    await up.until("table.drift", found="missing")
    await up.nobody_goes_down()
    assert marks(up.topology) == before


@pytest.mark.long
async def test_server_is_never_up_by_the_answer_of_another_one(up: Running) -> None:
    """Without its mark service, the probe of a server that is down reaches the other one, which answers."""
    first, director = up.topology.servers[0], up.topology.director
    await up.on(first, f"ip address delete {up.topology.vip}/32 dev lo")
    for name, port in (("web", 80), ("dns", PORT)):
        await up.path_down(name, f"{first.address}:{port}")
    own = [mark.split() for mark, server in marks(up.topology).items() if first.address in server]
    up.began = len(up.process.lines)
    for _ in range(3):
        for mark in own:
            director.run(["ipvsadm", "-D", *mark], check=False)
        await up.nobody_goes_down()
    assert up.since("real_server.up") == []
    assert up.since("table.drift") != []
    await up.on(first, f"ip address add {up.topology.vip}/32 dev lo")
    await up.all_up()


@pytest.mark.long
async def test_director_that_accepts_no_answers_removes_nobody_and_says_what_to_type(up: Running) -> None:
    await up.on(up.topology.director, ACCEPT + "0")
    command = "sysctl -w net.ipv4.conf.eth0.accept_local=1"
    for name in ("web", "dns"):
        assert command in await up.unsure(name, "accept_local")
    advice = await up.until("setting.advice", setting="net.ipv4.conf.eth0.accept_local")
    assert command in advice["advice"]
    await up.nobody_goes_down()
    assert command in await up.cli("status")
    await up.on(up.topology.director, ACCEPT + "1")
    await up.all_sure()


@pytest.mark.long
async def test_firewall_of_the_director_removes_nobody(up: Running) -> None:
    director = up.topology.director
    await up.on(
        director,
        "nft add table inet own",
        "nft add chain inet own input { type filter hook input priority 0 ; }",
        # The second one is about udp, in which no answer is invalid.
        "nft add rule inet own input ct state invalid drop",
        f"nft add rule inet own input ip saddr {up.topology.vip} drop",
    )
    for name in ("web", "dns", "web6"):
        reason = await up.unsure(name, "this director is at fault")
        assert "no server passes by dr" in reason
    await up.nobody_goes_down()
    await up.on(director, "nft delete table inet own")


@pytest.mark.long
async def test_new_daemon_takes_the_same_marks(up: Running) -> None:
    """The last test of this file, because it ends the daemon."""
    before = marks(up.topology)
    assert await up.process.stop() == 0
    assert marks(up.topology) == before
    file = up.folder / "config.toml"
    async with daemon(file, namespace=up.topology.director) as again:
        await again.until("daemon.started")
        await asyncio.sleep(NO_VERDICT_S)
        assert again.of("table.changed") == []
        assert marks(up.topology) == before
