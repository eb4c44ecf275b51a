"""The doctor on a real director by tunnels and fullnat, with a daemon that runs."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.nginx import Nginx
from lab.topologies.tun import GUE_PORT
from lab.topology import Topology
from tests.daemon_process import daemon
from tests.kernel.doctoring import Doctor, service

RS1, RS2, VIP, VIP6 = "203.0.113.11", "203.0.113.12", "198.51.100.100", "2001:db8:2::100"
KEYS = {
    "ipip": 'forward = "tun"',
    "gre": 'forward = "tun"\ntun_type = "gre"',
    "gue": f'forward = "tun"\ntun_type = "gue"\ntun_port = {GUE_PORT}',
}
SERVICES = (
    service("web", f"{VIP}:80", [f"{RS1}:80", f"{RS2}:80"], KEYS["ipip"]),
    service("gre", f"{VIP}:81", [f"{RS1}:81"], KEYS["gre"]),
    service("gue", f"{VIP}:82", [f"{RS1}:82"], KEYS["gue"]),
    service("web6", f"[{VIP6}]:80", ["[2001:db8:3::11]:80"], KEYS["ipip"]),
)
TABLE = f"""
-A -t {VIP}:80 -s rr
-a -t {VIP}:80 -r {RS1}:80 -i -w 1
-a -t {VIP}:80 -r {RS2}:80 -i -w 1
-A -t {VIP}:81 -s rr
-a -t {VIP}:81 -r {RS1}:81 -i -w 1 --tun-type gre
-A -t {VIP}:82 -s rr
-a -t {VIP}:82 -r {RS1}:82 -i -w 1 --tun-type gue --tun-port {GUE_PORT}
-A -t [{VIP6}]:80 -s rr
-a -t [{VIP6}]:80 -r [2001:db8:3::11]:80 -i -w 1
"""


@pytest.fixture(scope="module")
def tun() -> Iterator[Topology]:
    with (
        Topology.tun(servers=2) as topology,
        Nginx.serving(topology.servers[0], ports=(80, 81, 82)),
        Nginx.serving(topology.servers[1]),
    ):
        topology.director.run(["sysctl", "-qw", "net.ipv4.vs.expire_nodest_conn=1"])
        yield topology


@pytest.fixture
def doctor(tun: Topology, tmp_path: Path) -> Iterator[Doctor]:
    tun.ipvsadm.restore(TABLE)
    yield Doctor(tun, tmp_path, SERVICES)
    tun.ipvsadm.clear()


def ask(tun: Topology, *ports: int) -> None:
    for port in ports:
        tun.client.run(["curl", "-sf", "-o", "/dev/null", "--max-time", "10", f"http://{VIP}:{port}/"])


@pytest.mark.long
def test_healthy_tunnels_with_traffic_are_silent(tun: Topology, doctor: Doctor) -> None:
    doctor.healthy()
    ask(tun, 80, 80, 81, 82)
    doctor.healthy()


@pytest.mark.long
def test_server_that_does_not_unwrap(doctor: Doctor) -> None:
    first = doctor.topology.servers[0]
    # sit0 takes packets of IPIP too, and drops them silently.
    for device in ("sit0", "tunl0"):
        first.run(["ip", "link", "set", device, "down"])
    found = doctor("web")
    for device in ("sit0", "tunl0"):
        first.run(["ip", "link", "set", device, "up"])
    assert found.names == {"tunnel-refused"}, found.whole
    finding = found.findings["tunnel-refused"]
    assert (finding["sureness"], finding["server"], finding["on"]) == ("certain", f"{RS1}:80", RS1)


@pytest.mark.long
def test_server_that_checks_sources_strictly_or_lacks_the_address(doctor: Doctor) -> None:
    first = doctor.topology.servers[0]
    first.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=1"])
    strict = doctor("web")
    first.run(["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0"])
    assert strict.names == {"address-missing"}, strict.whole
    assert (strict.findings["address-missing"]["server"], strict.findings["address-missing"]["on"]) == (
        f"{RS1}:80",
        RS1,
    )
    assert "rp_filter=0" in str(strict.findings["address-missing"]["command"])
    first.run(["ip", "address", "delete", f"{VIP}/32", "dev", "lo"])
    gre, gue = doctor("gre"), doctor("gue")
    first.run(["ip", "address", "add", f"{VIP}/32", "dev", "lo"])
    assert (gre.names, gue.names) == ({"address-missing"}, {"address-missing"}), gre.whole + gue.whole


@pytest.mark.long
async def test_healthy_fullnat_with_a_running_daemon_is_silent(tun: Topology, tmp_path: Path) -> None:
    doctor = Doctor(tun, tmp_path, [*SERVICES, service("full", f"{VIP}:8080", [f"{RS1}:80"], 'forward = "fullnat"')])
    own = tmp_path / "own.toml"
    own.write_text(doctor.file.read_text().replace(f'netns = "{tun.director.name}"', ""))
    async with daemon(own, namespace=tun.director) as process:
        for each in ("web", "gre", "gue", "web6", "full"):
            await process.until("real_server.up", service=each)
        await process.until("real_server.up", service="web", server=f"{RS2}:80")
        await process.until("setting.changed", setting="net.ipv4.vs.conntrack")
        await asyncio.to_thread(ask, tun, 80, 81, 82, 8080)
        await asyncio.to_thread(doctor.healthy)
        assert (await asyncio.to_thread(doctor, "full")).has_daemon
