"""The doctor on a real director by dr: an ARP thief, a server without the address, and healthy ones that look odd."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.nginx import Nginx
from lab.topology import Topology
from tests.kernel.doctoring import Doctor, listening, service

RS1, RS2, HERE, VIP, VIP6 = "198.51.100.11", "198.51.100.12", "198.51.100.2", "198.51.100.100", "2001:db8:2::100"
TABLE = f"""
-A -t {VIP}:80 -s rr
-a -t {VIP}:80 -r {RS1}:80 -g -w 1
-a -t {VIP}:80 -r {RS2}:80 -g -w 1
-A -t [{VIP6}]:80 -s rr
-a -t [{VIP6}]:80 -r [2001:db8:2::11]:80 -g -w 1
-A -u {VIP}:514 -s rr -o
-a -u {VIP}:514 -r {RS1}:514 -g -w 1
-A -t {VIP}:81 -s rr
-a -t {VIP}:81 -r {HERE}:81 -g -w 1
"""
SERVICES = (
    service("web", f"{VIP}:80", [f"{RS1}:80", f"{RS2}:80"], 'forward = "dr"'),
    service("web6", f"[{VIP6}]:80", ["[2001:db8:2::11]:80"], 'forward = "dr"'),
    service("logs", f"{VIP}:514", [f"{RS1}:514"], 'protocol = "udp"\none_packet = true\nforward = "dr"\ncheck = "udp"'),
    service("local", f"{VIP}:81", [f"{HERE}:81"], 'forward = "dr"'),
)


@pytest.fixture(scope="module")
def doctor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doctor]:
    with (
        Topology.dr(servers=2) as topology,
        Nginx.serving(topology.servers[0]),
        Nginx.serving(topology.servers[1]),
        listening(topology.servers[0], 514),
    ):
        topology.ipvsadm.restore(TABLE)
        doctor = Doctor(topology, tmp_path_factory.mktemp("doctor"), SERVICES)
        doctor.on("sysctl -qw net.ipv4.vs.expire_nodest_conn=1", "sysctl -qw net.ipv4.ip_forward=0")
        yield doctor


@pytest.mark.long
def test_healthy_dr_with_traffic_is_silent(doctor: Doctor) -> None:
    """Without forwarding, with one-packet scheduling, with IPv6, and on a director that is a real server itself."""
    client = doctor.topology.client
    for url in (f"http://{VIP}/", f"http://{VIP}/", f"http://[{VIP6}]/"):
        client.run(["curl", "-sf", "-o", "/dev/null", "--max-time", "10", url])
    client.run(["bash", "-c", f"exec 3>/dev/udp/{VIP}/514; for i in 1 2 3 4 5 6; do echo x >&3; done"])
    doctor.healthy()


@pytest.mark.long
def test_server_that_answers_arp_for_the_address(doctor: Doctor) -> None:
    thief = doctor.topology.servers[1]
    thief.run(["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=0"])
    try:
        found = doctor("web")
    finally:
        thief.run(["sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1"])
    assert found.names == {"server-answers-arp"}, found.whole
    finding = found.findings["server-answers-arp"]
    assert (finding["sureness"], finding["server"], finding["on"]) == ("certain", RS2, RS2)
    assert doctor("web").findings == {}


@pytest.mark.parametrize("forwards", [0, pytest.param(1, marks=pytest.mark.long)], ids=["drops", "loops"])
@pytest.mark.long
def test_server_without_the_address(doctor: Doctor, forwards: int) -> None:
    first = doctor.topology.servers[0]
    first.run(["sysctl", "-qw", f"net.ipv4.ip_forward={forwards}"])
    first.run(["ip", "address", "delete", f"{VIP}/32", "dev", "lo"])
    try:
        found = doctor("web")
    finally:
        first.run(["ip", "address", "add", f"{VIP}/32", "dev", "lo"])
        first.run(["sysctl", "-qw", "net.ipv4.ip_forward=0"])
    assert found.names == {"address-missing"}, found.whole
    finding = found.findings["address-missing"]
    assert (finding["sureness"], finding["server"], finding["on"]) == ("likely", f"{RS1}:80", RS1)
    assert f"ip address add {VIP}/32 dev lo" in str(finding["command"])


@pytest.mark.long
def test_server_behind_a_router(doctor: Doctor, tmp_path: Path) -> None:
    doctor.topology.ipvsadm.restore(f"-A -t {VIP}:82 -s rr\n-a -t {VIP}:82 -r 192.0.2.2:82 -g\n")
    far = Doctor(doctor.topology, tmp_path, [service("far", f"{VIP}:82", ["192.0.2.2:82"], 'forward = "dr"')])
    found = far("far")
    doctor.topology.ipvsadm("-D", "-t", f"{VIP}:82")
    assert found.names == {"dr-behind-router"}, found.whole


@pytest.mark.long
def test_shadow_mode_beside_another_programs_table_is_silent(doctor: Doctor, tmp_path: Path) -> None:
    """What is configured and not in the table is not missing: somebody else's table is left as it is."""
    more = (*SERVICES, service("new", f"{VIP}:8080", [f"{RS1}:8080"], 'forward = "dr"'))
    Doctor(doctor.topology, tmp_path, more, mode="shadow").healthy()


@pytest.mark.long
def test_table_without_a_configuration_is_looked_at_too(doctor: Doctor, tmp_path: Path) -> None:
    Doctor(doctor.topology, tmp_path, []).healthy()
