"""Further directors that are well: the doctor has nothing to say of them. And what it says of some that are not.

test_doctor.py, test_doctor_dr.py, test_doctor_tun.py, test_doctor_pair.py and test_examples.py have more.
"""

import asyncio
import contextlib
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from lab.netns import RealServer
from lab.nginx import Nginx
from lab.topology import Topology
from lab.wait import wait_until
from tests.daemon_process import daemon, run_cli
from tests.kernel.doctoring import Doctor, service
from tests.kernel.pair_directors import Connection

RS1, RS2, VIP = "198.51.100.11", "198.51.100.12", "192.0.2.100"
SERVICES = (
    service("kept", f"{VIP}:80", [f"{RS1}:80", f"{RS2}:80"], 'persistence = "300s"'),
    service("shield", f"{VIP}:81", [f"{RS1}:81", f"{RS2}:81"], "synproxy = true"),
    service("marked", "fwmark = 7", [RS1, RS2], 'check = { type = "tcp", port = 82 }'),
    service("drained", f"{VIP}:83", [f"{RS1}:83", f"{RS2}:83"], 'persistence = "300s"'),
)
FIREWALL = f"""
table inet filter {{
    chain prerouting {{
        type filter hook prerouting priority mangle; policy accept;
        ip daddr {VIP} tcp dport 82 meta mark set 7
    }}
    chain input {{
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iifname "lo" accept
        meta l4proto {{ icmp, icmpv6 }} accept
        ip daddr {VIP} tcp dport {{ 80, 81, 82, 83 }} accept
    }}
    chain forward {{
        type filter hook forward priority filter; policy drop;
        ct state established,related accept
        iifname "servers" oifname "clients" accept
    }}
}}
"""


@pytest.fixture(scope="module")
def served(nat: Topology) -> Iterator[Topology]:
    nat.director.run(["sysctl", "-qw", "net.ipv4.vs.expire_nodest_conn=1"])
    with Nginx.serving(nat.servers[0], ports=(80, 81, 82, 83)), Nginx.serving(nat.servers[1], ports=(80, 81, 82, 83)):
        yield nat


def ask(nat: Topology, *ports: int) -> None:
    for port in ports:
        nat.client.run(["curl", "-sf", "-o", "/dev/null", "--max-time", "10", f"http://{VIP}:{port}/"])


@pytest.mark.long
async def test_persistence_synproxy_a_mark_a_firewall_and_a_drained_server_are_no_trouble(
    served: Topology, tmp_path: Path
) -> None:
    doctor = Doctor(served, tmp_path, [*SERVICES, "\n[ipvs.sysctl]\nexpire_nodest_conn = true\n"])
    own = tmp_path / "own.toml"
    own.write_text(doctor.file.read_text().replace(f'netns = "{served.director.name}"', ""))
    served.director.run(["nft", "--file", "-"], stdin=FIREWALL)
    try:
        async with daemon(own, namespace=served.director) as process:
            for name, port in (("kept", 80), ("shield", 81), ("marked", 0), ("drained", 83)):
                for address in (RS1, RS2):
                    server = f"{address}:{port}"
                    await process.until("table.changed", operation="add_server", service=name, server=server)
            await asyncio.to_thread(doctor.healthy)  # nobody has asked yet
            await asyncio.to_thread(ask, served, *(port for port in (80, 81, 82, 83) for _ in range(3)))
            await asyncio.to_thread(doctor.healthy)
            code, *said = await run_cli("drain", "drained", f"{RS1}:83", "--config", str(own))
            assert code == 0, said
            await process.until("table.changed", operation="set_server", service="drained", server=f"{RS1}:83")
            await asyncio.to_thread(ask, served, 83)
            await asyncio.to_thread(doctor.healthy)
            # The doctor does look: a server that answers nothing is found by the same one.
            served.director.run(["nft", "flush", "chain", "inet", "filter", "forward"])
            assert (await asyncio.to_thread(doctor, "kept")).names == {"answers-dropped"}
    finally:
        served.director.run(["nft", "flush", "ruleset"])
        served.ipvsadm.clear()
        served.director.run(["sysctl", "-qw", "net.ipv4.vs.conntrack=0"])


@pytest.mark.long
def test_connections_that_the_kernel_will_forget_are_noted(served: Topology, tmp_path: Path) -> None:
    """As WebSockets are, whose clients say nothing for long."""
    served.ipvsadm.restore(f"-A -t {VIP}:80 -s rr\n-a -t {VIP}:80 -r {RS1}:80 -m\n")
    served.ipvsadm("--set", "40", "0", "0")
    doctor = Doctor(served, tmp_path, [service("web", f"{VIP}:80", [f"{RS1}:80"], "")])
    doctor.healthy()  # the first one takes long, because it imports much
    connection = Connection(served.client, VIP)
    try:
        connection.ask()
        assert "silent" not in doctor("web").whole
        time.sleep(20)  # half of the timeout, in the kernel's own time
        found = doctor("web")
    finally:
        connection.close()
        served.ipvsadm.clear()
        served.ipvsadm("--set", "900", "0", "0")
    assert "1 open connections have been silent for more than 20s; the kernel forgets them after 40s" in found.whole
    assert "silent" not in found.findings


@contextlib.contextmanager
def tls(machine: RealServer, authority: trustme.CA, name: str, folder: Path) -> Iterator[None]:
    """Answer on port 443 of a server with a certificate for this name, whatever name is asked for."""
    file = folder / f"{machine.name}-{name}.pem"
    authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(file)
    process = machine.popen(
        ["openssl", "s_server", "-quiet", "-www", "-accept", "443", "-cert", str(file), "-key", str(file)]
    )
    try:
        wait_until(lambda: b":01BB " in listening(machine), timeout_s=30, what="port 443")
        yield
    finally:
        process.kill()
        process.wait()


def listening(machine: RealServer) -> bytes:
    with machine.entered():
        return b"".join(Path(f"/proc/thread-self/net/{name}").read_bytes() for name in ("tcp", "tcp6"))


@pytest.mark.long
def test_servers_with_certificates_for_different_names_are_found(served: Topology, tmp_path: Path) -> None:
    """A tcp check finds both well, and half of the clients are warned."""
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    first, second = served.servers
    served.ipvsadm.restore(f"-A -t {VIP}:443 -s rr\n-a -t {VIP}:443 -r {RS1}:443 -m\n-a -t {VIP}:443 -r {RS2}:443 -m\n")
    doctor = Doctor(served, tmp_path, [service("tls", f"{VIP}:443", [f"{RS1}:443", f"{RS2}:443"], "")])
    try:
        with tls(first, authority, "www.example.org", tmp_path):
            with tls(second, authority, "www.example.org", tmp_path):
                same = doctor("tls")
            with tls(second, authority, "rs2.example.org", tmp_path):
                other = doctor("tls")
    finally:
        served.ipvsadm.clear()
    assert same.names == set(), same.whole
    assert other.names == {"certificates-differ"}, other.whole
    assert other.findings["certificates-differ"]["seen"] == (
        f"{RS1}:443 shows a certificate for www.example.org, {RS2}:443 one for rs2.example.org"
    )


@pytest.mark.long
def test_another_port_by_dr_is_refused(served: Topology, tmp_path: Path) -> None:
    """ipvsadm sets the service's port without a word, so the server is asked on another one than was meant."""
    doctor = Doctor(served, tmp_path, [service("web", f"{VIP}:8000", [f"{RS1}:80"], 'forward = "dr"')])
    found = doctor()
    assert found.names == {"config-broken"}, found.whole
    assert "port 80 is not the service's 8000, and dr leaves ports as they are" in found.whole
    served.ipvsadm.restore(f"-A -t {VIP}:8000 -s rr\n-a -t {VIP}:8000 -r {RS1}:80 -g\n")
    assert f"-r {RS1}:8000 -g" in served.ipvsadm.saved()
    served.ipvsadm.clear()


@pytest.mark.long
def test_versions_are_told(served: Topology, tmp_path: Path) -> None:
    doctor = Doctor(served, tmp_path, [])
    assert f'"IPVS 1.2.1, Linux {platform.release()}"' in doctor().whole
