"""The lab itself: real requests through real IPVS, and servers that die and hang on demand."""

import socket
import time
from collections.abc import Iterator

import pytest

from lab.load import Load, by_server
from lab.netns import CommandError
from lab.nginx import Nginx
from lab.topology import Topology

RULES = """
-A -t 192.0.2.100:80 -s rr
-a -t 192.0.2.100:80 -r 198.51.100.11:80 -m -w 1
-a -t 192.0.2.100:80 -r 198.51.100.12:80 -m -w 1
-A -t [2001:db8:1::100]:80 -s rr
-a -t [2001:db8:1::100]:80 -r [2001:db8:2::11]:80 -m -w 1
-a -t [2001:db8:1::100]:80 -r [2001:db8:2::12]:80 -m -w 1
"""


@pytest.fixture
def balanced(nat: Topology, web: tuple[Nginx, ...]) -> Iterator[Topology]:
    for server in web:
        # A test that fails half-way must not make the next one fail.
        server.resume()
        if not server.running:
            server.start()
    nat.ipvsadm.restore(RULES)
    yield nat
    nat.ipvsadm.clear()


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_round_robin_reaches_both_servers_in_turn(balanced: Topology, family: str) -> None:
    vip = balanced.vip if family == "IPv4" else balanced.vip6
    with Load.running(balanced.client, vip, workers=1) as load:
        load.wait_for(6, since=0)
        requests = load.stop()
    assert [request.outcome for request in requests] == ["ok"] * len(requests)
    counts = by_server(requests)
    assert counts.keys() == {"rs1", "rs2"}
    assert abs(counts["rs1"] - counts["rs2"]) <= 1


def test_killed_server_refuses_and_serves_again_when_started(balanced: Topology, web: tuple[Nginx, ...]) -> None:
    with Load.running(balanced.client, balanced.vip) as load:
        web[0].kill()
        assert web[0].pids == ()
        after_kill = load.wait_for(8, since=time.monotonic())
        assert {(request.outcome, request.server) for request in after_kill} == {("refused", ""), ("ok", "rs2")}
        web[0].start()
        after_start = load.wait_for(8, since=time.monotonic())
        assert by_server(after_start).keys() == {"rs1", "rs2"}


def test_hung_server_accepts_and_does_not_answer(balanced: Topology, web: tuple[Nginx, ...]) -> None:
    with Load.running(balanced.client, balanced.vip, timeout_s=1) as load:
        web[0].hang()
        hung = load.wait_for(8, since=time.monotonic())
        assert {(request.outcome, request.server) for request in hung} == {("no answer", ""), ("ok", "rs2")}
        web[0].resume()
        resumed = load.wait_for(8, since=time.monotonic())
        assert by_server(resumed).keys() == {"rs1", "rs2"}


def test_client_cannot_reach_the_servers_but_through_the_director(nat: Topology, web: tuple[Nginx, ...]) -> None:
    with nat.client.entered(), pytest.raises(ConnectionRefusedError):
        socket.create_connection((nat.vip, 80), timeout=5)


def test_socket_opened_inside_a_namespace_stays_there(nat: Topology) -> None:
    with nat.servers[0].entered():
        listener = socket.create_server((nat.servers[0].address, 8080))
    with listener, nat.director.entered():
        socket.create_connection((nat.servers[0].address, 8080), timeout=5).close()
    with pytest.raises(OSError, match="Cannot assign requested address"):
        socket.create_server((nat.servers[0].address, 8080))


def test_second_topology_stands_beside_the_first_and_leaves_nothing(nat: Topology) -> None:
    with Topology.nat(servers=1) as other:
        assert {machine.name for machine in other.machines}.isdisjoint(machine.name for machine in nat.machines)
        sleeper = other.client.popen(["sleep", "1000"])
        other.ipvsadm("-A", "-t", "192.0.2.100:443")
        assert nat.ipvsadm.saved() == ""
    assert sleeper.wait(5) != 0
    assert not any(machine.path.exists() for machine in other.machines)
    assert all(machine.path.exists() for machine in nat.machines)


def test_failed_command_says_why(nat: Topology) -> None:
    with pytest.raises(CommandError, match=r"director.*ipvsadm.*-D.*Memory allocation problem|No such service"):
        nat.ipvsadm("-D", "-t", "192.0.2.100:80")
