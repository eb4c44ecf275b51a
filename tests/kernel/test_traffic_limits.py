"""What the kernel does to traffic, whatever a health checker writes. Our refusals and advice rest on these facts."""

import contextlib
import itertools
import select
import socket
from collections.abc import Iterator

import pytest

from lab import nft
from lab.netns import Namespace, RealServer
from lab.topologies.wiring import set_sysctls
from lab.topology import Topology

PORT = 5300
MARKED_PORT = 5301
MARK = 77

SOURCE_PORTS = itertools.count(4000)
"""A new one for each test: IPVS remembers what the datagrams of a port were to it, for five minutes."""

DEADLINE_S = 10.0
"""For a packet that comes; emulated."""

SIP = b"OPTIONS sip:lab SIP/2.0\r\nCall-ID: 1@lab\r\n\r\n"


@pytest.fixture(autouse=True)
def clean_table(nat: Topology) -> Iterator[None]:
    yield
    nat.ipvsadm.clear()


@pytest.fixture
def dr() -> Iterator[Topology]:
    with Topology.dr(servers=2) as topology:
        yield topology


def bound(machine: Namespace, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    with machine.entered():
        result = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    result.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    result.settimeout(DEADLINE_S)
    result.bind((address, port))
    return result


@contextlib.contextmanager
def on_servers(
    topology: Topology, kind: socket.SocketKind, *addresses: str
) -> Iterator[dict[socket.socket, RealServer]]:
    """Open a socket on each real server, bound to the server's address in this list."""
    with contextlib.ExitStack() as stack:
        yield {
            stack.enter_context(bound(server, kind, address, PORT)): server
            for server, address in zip(topology.servers, addresses, strict=True)
        }


def reached(sockets: dict[socket.socket, RealServer]) -> socket.socket:
    """Wait until one of these sockets receives something, and return which."""
    ready, _, _ = select.select(list(sockets), [], [], DEADLINE_S)
    assert len(ready) == 1, f"{len(ready)} of them within {DEADLINE_S:g} s"
    found: socket.socket = ready[0]
    return found


@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
@pytest.mark.parametrize(
    ("options", "is_translated"),
    [("", True), ("-o", False), ("-o -p 300 --pe sip", True)],
    ids=["connection", "one packet", "one packet, sip engine"],
)
def test_with_nat_and_one_packet_the_answer_comes_from_the_real_server_itself(
    nat: Topology, family: str, options: str, is_translated: bool
) -> None:
    is_ipv4 = family == "IPv4"
    vip = nat.vip if is_ipv4 else nat.vip6
    own = [server.address if is_ipv4 else server.address6 for server in nat.servers]
    written = [vip, *own] if is_ipv4 else [f"[{address}]" for address in (vip, *own)]
    nat.ipvsadm.restore(
        f"-A -u {written[0]}:{PORT} -s rr {options}\n"
        + "".join(f"-a -u {written[0]}:{PORT} -r {address}:{PORT} -m\n" for address in written[1:])
    )
    client_address = nat.client_address if is_ipv4 else nat.client_address6
    with (
        on_servers(nat, socket.SOCK_DGRAM, *own) as servers,
        bound(nat.client, socket.SOCK_DGRAM, client_address, next(SOURCE_PORTS)) as client,
    ):
        client.sendto(SIP, (vip, PORT))
        server = reached(servers)
        question, asker = server.recvfrom(4096)
        assert (question, asker[0]) == (SIP, client_address)
        server.sendto(question, asker)
        _, answerer = client.recvfrom(4096)
        assert answerer[:2] == (vip if is_translated else server.getsockname()[0], PORT)


@pytest.mark.parametrize(("options", "port"), [("", PORT), ("-p 300", MARKED_PORT)], ids=["nat", "persistent"])
def test_behind_a_mark_nat_maps_the_port_unless_clients_are_persistent(nat: Topology, options: str, port: int) -> None:
    nft.mark(nat.director, {f"udp dport {MARKED_PORT}": MARK})
    server = nat.servers[0]
    nat.ipvsadm.restore(f"-A -f {MARK} -s rr {options}\n-a -f {MARK} -r {server.address}:{PORT} -m\n")
    with (
        bound(server, socket.SOCK_DGRAM, server.address, PORT) as mapped,
        bound(server, socket.SOCK_DGRAM, server.address, MARKED_PORT) as kept,
        bound(nat.client, socket.SOCK_DGRAM, nat.client_address, next(SOURCE_PORTS)) as client,
    ):
        client.sendto(b"hello", (nat.vip, MARKED_PORT))
        reached_port = reached({mapped: server, kept: server}).getsockname()[1]
    assert reached_port == port


@pytest.mark.parametrize("expire", [0, 1])
def test_datagrams_from_a_port_of_a_removed_server_are_lost_unless_expire_nodest_conn(
    nat: Topology, expire: int
) -> None:
    set_sysctls(nat.director, {"net.ipv4.vs.expire_nodest_conn": expire})
    nat.ipvsadm.restore(
        f"-A -u {nat.vip}:{PORT} -s rr\n"
        + "".join(f"-a -u {nat.vip}:{PORT} -r {server.address}:{PORT} -m\n" for server in nat.servers)
    )
    with (
        on_servers(nat, socket.SOCK_DGRAM, *(server.address for server in nat.servers)) as servers,
        bound(nat.client, socket.SOCK_DGRAM, nat.client_address, next(SOURCE_PORTS)) as client,
        bound(nat.client, socket.SOCK_DGRAM, nat.client_address, 0) as other_client,
    ):
        client.sendto(b"first", (nat.vip, PORT))
        removed = reached(servers)
        assert removed.recv(4096) == b"first"
        nat.ipvsadm("-d", "-u", f"{nat.vip}:{PORT}", "-r", f"{servers[removed].address}:{PORT}")
        for number in range(3):
            client.sendto(b"same port %d" % number, (nat.vip, PORT))
        # This one is sent last. When it has arrived, no other packet is still on its way.
        other_client.sendto(b"new port", (nat.vip, PORT))
        (other,) = servers.keys() - {removed}
        came = []
        while b"new port" not in came:
            came.append(other.recv(4096))
        assert came == [*([b"same port 0", b"same port 1", b"same port 2"] if expire else []), b"new port"]
        removed.setblocking(False)
        with pytest.raises(BlockingIOError):
            removed.recv(4096)


@pytest.mark.parametrize(
    ("taken_out", "expire", "stays"),
    [("-e {} -m -w 0", 0, True), ("-e {} -m -w 0", 1, False), ("-d {}", 0, False)],
    ids=["weight 0", "weight 0, expire_quiescent_template", "removed"],
)
def test_persistent_client_stays_with_a_server_at_weight_0_unless_expire_quiescent_template(
    nat: Topology, taken_out: str, expire: int, *, stays: bool
) -> None:
    set_sysctls(nat.director, {"net.ipv4.vs.expire_quiescent_template": expire})
    nat.ipvsadm.restore(
        f"-A -u {nat.vip}:{PORT} -s rr -p 300\n"
        + "".join(f"-a -u {nat.vip}:{PORT} -r {server.address}:{PORT} -m\n" for server in nat.servers)
    )
    with on_servers(nat, socket.SOCK_DGRAM, *(server.address for server in nat.servers)) as servers:
        found: list[socket.socket] = []
        for step in ("before", "after"):
            if step == "after":
                where = f"-u {nat.vip}:{PORT} -r {servers[found[0]].address}:{PORT}"
                nat.ipvsadm(*taken_out.format(where).split())
            with bound(nat.client, socket.SOCK_DGRAM, nat.client_address, next(SOURCE_PORTS)) as client:
                client.sendto(step.encode(), (nat.vip, PORT))
                found.append(reached(servers))
                assert found[-1].recv(4096) == step.encode()
    set_sysctls(nat.director, {"net.ipv4.vs.expire_quiescent_template": 0})
    assert (found[0] is found[1]) is stays


@pytest.mark.parametrize("expire", [0, 1])
def test_new_connection_from_a_port_of_a_removed_server_is_lost_with_dr_unless_expire_nodest_conn(
    dr: Topology, expire: int
) -> None:
    # The director sees only half of each connection. So for two minutes, an ended connection looks like one that is
    # ending.
    set_sysctls(dr.director, {"net.ipv4.vs.expire_nodest_conn": expire})
    dr.ipvsadm.restore(
        f"-A -t {dr.vip}:{PORT} -s rr\n"
        + "".join(f"-a -t {dr.vip}:{PORT} -r {server.address}:{PORT} -g\n" for server in dr.servers)
    )
    with on_servers(dr, socket.SOCK_STREAM, dr.vip, dr.vip) as servers:
        for server in servers:
            server.listen()
        port = next(SOURCE_PORTS)
        with bound(dr.client, socket.SOCK_STREAM, dr.client_address, port) as client:
            client.connect((dr.vip, PORT))
            removed = reached(servers)
            removed.accept()[0].close()
            assert client.recv(1) == b""
        dr.ipvsadm("-d", "-t", f"{dr.vip}:{PORT}", "-r", f"{servers[removed].address}:{PORT}")
        with (
            bound(dr.client, socket.SOCK_STREAM, dr.client_address, port) as client,
            bound(dr.client, socket.SOCK_STREAM, dr.client_address, 0) as other_client,
        ):
            client.setblocking(False)
            client.connect_ex((dr.vip, PORT))
            other_client.connect((dr.vip, PORT))
            is_connected = bool(select.select([], [client], [], 0)[1])
            assert is_connected == bool(expire)
