"""Checks through the service by tunnels: each fault of the way is found and named, and ours removes nobody."""

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from lab.topologies.tun import GUE_PORT, MODULES
from lab.topology import Topology
from tests.kernel.paths import PORT, UDP_CHECKS, Running, marks, running, served, service

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACCEPT = "sysctl -qw net.ipv4.conf.eth0.accept_local="
GUE = f'forward = "tun"\ntun_type = "gue"\ntun_port = {GUE_PORT}'
GRE = 'forward = "tun"\ntun_type = "gre"'


@pytest.fixture(scope="module")
def tunnelled() -> Iterator[Topology]:
    with Topology.tun(servers=2) as topology, served(topology, vips=True):
        topology.director.run((ACCEPT + "1").split())
        for server in topology.servers:
            # A server sends one ICMP error a second to each host, and other probes than the one looked at may get it.
            server.run(["sysctl", "-qw", "net.ipv4.icmp_ratelimit=0"])
        yield topology


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def up(tunnelled: Topology, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    own = [server.address for server in tunnelled.servers]
    own6 = [f"[{server.address6}]" for server in tunnelled.servers]
    vip = tunnelled.vip
    services = [
        service("web", f"{vip}:80", own, keys='forward = "tun"'),
        service("dns", f"{vip}:{PORT}", own, keys='forward = "tun"', checks=UDP_CHECKS),
        service("gue", f"{vip}:81", [f"{each}:81" for each in own], keys=GUE),
        service("gre", f"{vip}:82", [f"{each}:82" for each in own], keys=GRE),
        service("across", f"{vip}:83", [f"{each}:83" for each in own6], keys='forward = "tun"'),
    ]
    async with running(tunnelled, tmp_path_factory.mktemp("daemon"), services, workers=2) as found:
        for name, servers, port in (
            *(("web", own, 80), ("dns", own, PORT), ("gue", own, 81), ("gre", own, 82), ("across", own6, 83)),
        ):
            for server in servers:
                await found.until("real_server.up", service=name, server=f"{server}:{port}")
        yield found


@pytest.mark.long
async def test_each_kind_of_tunnel_has_a_mark_service_of_its_own(up: Running) -> None:
    found = sorted(marks(up.topology).values())
    first = up.topology.servers[0].address
    assert len(found) == 10
    assert sum(f"-r {first}:0 -i -w 1" in each for each in found) == 4
    assert sum(f"--tun-type gue --tun-port {GUE_PORT}" in each for each in found) == 2


@pytest.mark.long
async def test_tunnel_device_that_is_down(up: Running) -> None:
    first = up.topology.servers[0]
    # While sit0 is up, it swallows the packets for tunl0, and nobody refuses them.
    await up.on(first, "ip link set sit0 down", "ip link set tunl0 down")
    for name, port in (("web", 80), ("dns", PORT)):
        reason = await up.path_down(name, f"{first.address}:{port}")
        assert "not by ipip: tunnel not unwrapped, because its device is missing or down?" in reason
    await up.on(first, "ip link set sit0 up", "ip link set tunl0 up")
    await up.all_up()


@pytest.mark.long
async def test_tunnel_whose_packets_rp_filter_drops(up: Running) -> None:
    first = up.topology.servers[0]
    await up.on(first, "sysctl -qw net.ipv4.conf.tunl0.rp_filter=1")
    for name, port in (("web", 80), ("dns", PORT)):
        assert "rp_filter drops what comes out of the tunnel" in await up.path_down(name, f"{first.address}:{port}")
    await up.on(first, "sysctl -qw net.ipv4.conf.tunl0.rp_filter=0")
    await up.all_up()


@pytest.mark.long
async def test_vip_missing_on_a_server(up: Running) -> None:
    first = up.topology.servers[0]
    await up.on(first, f"ip address delete {up.topology.vip}/32 dev lo")
    for name, port in (("web", 80), ("gue", 81), ("gre", 82)):
        assert f"{up.topology.vip} missing on the server" in await up.path_down(name, f"{first.address}:{port}")
    await up.on(first, f"ip address add {up.topology.vip}/32 dev lo")
    await up.all_up()


@pytest.mark.long
async def test_director_that_accepts_no_answers_removes_nobody(up: Running) -> None:
    await up.all_sure()
    await up.on(up.topology.director, ACCEPT + "0")
    for name in ("web", "dns", "gue", "gre"):
        await up.unsure(name, "sysctl -w net.ipv4.conf.eth0.accept_local=1")
    await up.nobody_goes_down()
    await up.on(up.topology.director, ACCEPT + "1")
    await up.all_sure()


@pytest.mark.long
async def test_protocol_that_no_server_knows_is_named_and_removes_nobody(up: Running, tmp_path: Path) -> None:
    """The last test of this file, because it ends the daemon, and takes the module from all machines.

    A daemon of its own has only this kind of tunnel: the kernel knows an ICMP error by the server's address alone, and
    may take it for that of another kind.
    """
    topology = up.topology
    await up.process.stop()
    own = [server.address for server in topology.servers]
    async with running(topology, tmp_path, [service("gre", f"{topology.vip}:80", own, keys=GRE)]) as alone:
        for server in own:
            await alone.until("real_server.up", service="gre", server=f"{server}:80")
        alone.began = len(alone.process.lines)
        modules = ["ip6_gre", "ip_gre", "gre"]
        if subprocess.run(["modprobe", "--remove", *modules], check=False).returncode != 0:
            pytest.skip("somebody else uses the kernel's modules for GRE")
        try:
            reason = await alone.unsure("gre", "lacks its module")
            assert "tunnel not unwrapped" in reason
            await alone.nobody_goes_down()
        finally:
            subprocess.run(["modprobe", "--all", *MODULES], check=True)
