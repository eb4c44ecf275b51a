"""The doctor on a real director by nat: it finds each cause, names what mends it, and is silent when all is well."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.nginx import Nginx
from lab.topology import Topology
from lab.udp import UdpServer
from tests.kernel.doctoring import Doctor, listening, service

RS1, RS2, VIP, VIP6 = "198.51.100.11", "198.51.100.12", "192.0.2.100", "2001:db8:1::100"
TRAPS, NAMES = 162, 5300

TABLE = f"""
-A -t {VIP}:80 -s rr
-a -t {VIP}:80 -r {RS1}:80 -m -w 1
-a -t {VIP}:80 -r {RS2}:80 -m -w 1
-A -t [{VIP6}]:80 -s rr
-a -t [{VIP6}]:80 -r [2001:db8:2::11]:80 -m -w 1
-A -u {VIP}:{TRAPS} -s rr
-a -u {VIP}:{TRAPS} -r {RS1}:{TRAPS} -m -w 1
-A -u {VIP}:{NAMES} -s rr
-a -u {VIP}:{NAMES} -r {RS1}:{NAMES} -m -w 1
-A -f 7 -s rr
-a -f 7 -r {RS1}:0 -m -w 1
"""
SERVICES = (
    service("web", f"{VIP}:80", [f"{RS1}:80", f"{RS2}:80"], ""),
    service("web6", f"[{VIP6}]:80", ["[2001:db8:2::11]:80"], ""),
    service("traps", f"{VIP}:{TRAPS}", [f"{RS1}:{TRAPS}"], 'protocol = "udp"\ncheck = "udp"'),
    service(
        "names",
        f"{VIP}:{NAMES}",
        [f"{RS1}:{NAMES}"],
        'protocol = "udp"\ncheck = { type = "udp", send = "?", expect = "rs" }',
    ),
    service("marked", "fwmark = 7", [RS1], 'check = { type = "tcp", port = 80 }'),
)
MARKS = ("add table ip marks", "add chain ip marks pre { type filter hook prerouting priority -150 ; }")


@pytest.fixture(scope="module")
def doctor(nat: Topology, web: tuple[Nginx, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doctor]:
    with UdpServer.serving(nat.servers[0], ports=[NAMES]), listening(nat.servers[0], TRAPS):
        nat.ipvsadm.restore(TABLE)
        doctor = Doctor(nat, tmp_path_factory.mktemp("doctor"), SERVICES)
        doctor.on("sysctl -qw net.ipv4.vs.expire_nodest_conn=1", *(f"nft {each}" for each in MARKS))
        doctor.on(f"nft add rule ip marks pre ip daddr {VIP} tcp dport 8080 meta mark set 7")
        yield doctor
        nat.ipvsadm.clear()


def ask(nat: Topology, url: str = f"http://{VIP}/") -> int:
    command = ["curl", "-s", "-o", "/dev/null", "--max-time", "2", url]
    return nat.client.run(command, check=False).returncode


def send(nat: Topology, port: int) -> None:
    """Send some datagrams from one port of the client, and wait for no answer."""
    nat.client.run(["bash", "-c", f"exec 3>/dev/udp/{VIP}/{port}; for i in 1 2 3 4 5 6; do echo x >&3; done"])


@contextlib.contextmanager
def changed(doctor: Doctor, change: str, back: str) -> Iterator[None]:
    doctor.on(change)
    try:
        yield
    finally:
        doctor.on(back)


def cleared(nat: Topology) -> None:
    """Begin with counters at 0 and without connections, as after a start."""
    nat.ipvsadm.clear()
    nat.ipvsadm.restore(TABLE)
    nat.ipvsadm("-Z")  # a server that still has connections goes on counting when it is added again


@pytest.mark.long
def test_server_whose_route_leads_elsewhere(doctor: Doctor, nat: Topology) -> None:
    # The first test of this file: connections of others would show for minutes that answers came back.
    first = nat.servers[0]
    first.run(["ip", "route", "delete", "default"])
    try:
        silent = doctor("web")  # nobody has asked yet: the echo request tells
        assert any(ask(nat) for _ in range(6))  # half of them go to the other server
        asked = doctor("web")
    finally:
        first.run(["ip", "route", "add", "default", "via", "198.51.100.1"])
    for found in (silent, asked):
        assert found.names == {"answers-elsewhere"}, found.whole
        finding = found.findings["answers-elsewhere"]
        assert (finding["server"], finding["on"]) == (f"{RS1}:80", RS1)
        assert finding["command"] == "ip route replace default via 198.51.100.1"
    assert silent.findings["answers-elsewhere"]["sureness"] == "possible"
    assert asked.findings["answers-elsewhere"]["sureness"] == "likely"
    assert "packets in, 0 out" in str(asked.findings["answers-elsewhere"]["seen"])


def test_healthy_nat_with_traffic_is_silent(doctor: Doctor, nat: Topology) -> None:
    cleared(nat)
    assert [ask(nat) for _ in range(4)] == [0] * 4
    assert ask(nat, f"http://[{VIP6}]/") == 0
    send(nat, TRAPS)
    send(nat, NAMES)
    doctor.healthy()


def test_forwarding_is_off(doctor: Doctor, nat: Topology) -> None:
    cleared(nat)
    with changed(doctor, "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1"):
        assert ask(nat) != 0
        found = doctor("web")
    assert found.code == 3
    assert found.names == {"forwarding-off"}, found.whole
    finding = found.findings["forwarding-off"]
    assert finding["sureness"] == "certain"
    assert "0 back" in str(finding["seen"])
    assert str(finding["command"]).startswith("sysctl -w net.ipv4.ip_forward=1")


@pytest.mark.parametrize(
    ("rules", "hook", "command"),
    [
        pytest.param(
            ("add chain ip f c { type filter hook forward priority 0 ; policy drop ; }",),
            "answers-dropped",
            "nft insert",
            id="policy",
            marks=pytest.mark.long,
        ),
        pytest.param(
            (
                "add chain ip f c { type filter hook forward priority 0 ; }",
                "add rule ip f c ct state established,related accept",
                "add rule ip f c ct state invalid counter drop",
            ),
            "answers-dropped",
            "sysctl -w net.ipv4.vs.conntrack=1",
            id="invalid",
        ),
        pytest.param(
            (
                "add chain ip f c { type filter hook input priority 0 ; policy drop ; }",
                "add rule ip f c tcp dport 22 accept",
            ),
            "input-dropped",
            "nft insert",
            id="input",
            marks=pytest.mark.long,
        ),
    ],
)
def test_own_firewall_drops(doctor: Doctor, nat: Topology, rules: tuple[str, ...], hook: str, command: str) -> None:
    with changed(doctor, "nft add table ip f", "nft delete table ip f"):
        doctor.on(*(f"nft {each}" for each in rules))
        assert ask(nat) != 0
        found = doctor("web")
        assert found.names == {hook}, found.whole
        assert found.findings[hook]["sureness"] == "certain"
        mend = str(found.findings[hook]["command"]).partition("   #")[0]
        assert mend.startswith(command)
        doctor.on(mend)
        # The command mends it (one server of two, where it names a server).
        assert 0 in [ask(nat) for _ in range(2)]
    doctor.on("sysctl -qw net.ipv4.vs.conntrack=0")


@pytest.mark.long
def test_firewall_that_lets_answers_through_is_silent(doctor: Doctor, nat: Topology) -> None:
    with changed(doctor, "nft add table ip f", "nft delete table ip f"):
        doctor.on(
            "nft add chain ip f c { type filter hook forward priority 0 ; policy drop ; }",
            "nft add rule ip f c iifname servers oifname clients accept",
            "nft add rule ip f c ct state invalid drop",
        )
        cleared(nat)
        assert ask(nat) == 0
        assert doctor("web").findings == {}


@pytest.mark.long
def test_server_that_is_not_there(doctor: Doctor, nat: Topology) -> None:
    cleared(nat)
    nat.servers[1].run(["ip", "link", "set", "eth0", "down"])
    try:
        found = doctor("web")
    finally:
        nat.servers[1].run(["ip", "link", "set", "eth0", "up"])
        nat.servers[1].run(["ip", "route", "add", "default", "via", "198.51.100.1"])
    assert found.names == {"server-absent"}, found.whole
    assert (found.findings["server-absent"]["server"], found.findings["server-absent"]["sureness"]) == (
        f"{RS2}:80",
        "certain",
    )


@pytest.mark.long
def test_address_that_is_not_here(doctor: Doctor, nat: Topology) -> None:
    with changed(doctor, f"ip address delete {VIP}/32 dev clients", f"ip address add {VIP}/32 dev clients"):
        found = doctor("web")
    assert found.names == {"address-not-here"}, found.whole
    assert found.findings["address-not-here"]["command"] == f"ip address add {VIP}/32 dev clients"


@pytest.mark.long
def test_public_address_that_somebody_else_translates(nat: Topology, tmp_path: Path) -> None:
    """As on EC2, whose instances have private addresses only."""
    nat.ipvsadm.restore(f"-A -t 52.1.2.3:443 -s rr\n-a -t 52.1.2.3:443 -r {RS1}:443 -m\n")
    doctor = Doctor(nat, tmp_path, [service("cloud", "52.1.2.3:443", [f"{RS1}:443"], "")])
    try:
        with changed(doctor, "ip address add 10.0.0.5/24 dev clients", "ip address delete 10.0.0.5/24 dev clients"):
            found = doctor("cloud")
    finally:
        nat.ipvsadm("-D", "-t", "52.1.2.3:443")
    assert found.names == {"public-address"}, found.whole
    assert 'address = "10.0.0.5:443"' in str(found.findings["public-address"]["command"])


@pytest.mark.long
def test_mark_that_no_rule_sets(doctor: Doctor) -> None:
    with changed(
        doctor,
        "nft flush chain ip marks pre",
        f"nft add rule ip marks pre ip daddr {VIP} tcp dport 8080 meta mark set 7",
    ):
        assert doctor("marked").names == {"mark-unset"}


@pytest.mark.long
def test_persistent_clients_stay_with_a_quiesced_server(doctor: Doctor, nat: Topology) -> None:
    nat.ipvsadm.restore(f"-E -t {VIP}:80 -s rr -p 300\n")
    assert ask(nat) == 0
    nat.ipvsadm.restore(f"-e -t {VIP}:80 -r {RS1}:80 -m -w 0\n-e -t {VIP}:80 -r {RS2}:80 -m -w 0\n")
    found = doctor("web")
    cleared(nat)
    assert {"sticky-clients", "nobody-serves"} <= found.names, found.whole


@pytest.mark.long
def test_bundle_on_a_real_director(doctor: Doctor, tmp_path: Path) -> None:
    target = tmp_path / "bundle.tar.gz"
    assert doctor("names", "--bundle", str(target)).code == 0
    listed = subprocess.run(["tar", "tzf", str(target)], check=True, capture_output=True, text=True).stdout
    assert "lvs-healthd-doctor/routes.jsonl" in listed
    whole = subprocess.run(["tar", "xzOf", str(target)], check=True, capture_output=True, text=True).stdout
    assert f"-A -t {VIP}:80 -s rr" in whole
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.long
def test_client_on_the_servers_network(doctor: Doctor, nat: Topology) -> None:
    """The last test of this file: its connections stay half open for a minute."""
    cleared(nat)
    nat.servers[1].run(["curl", "-s", "--max-time", "2", f"http://{VIP}/"], check=False)
    nat.servers[1].run(["curl", "-s", "--max-time", "2", f"http://{VIP}/"], check=False)
    found = doctor("web")
    assert found.names == {"client-beside-servers"}, found.whole
    assert RS2 in str(found.findings["client-beside-servers"]["seen"])
