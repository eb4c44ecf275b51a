"""What the kernel cannot combine with fullnat and synproxy. The configuration refuses these combinations."""

import contextlib
import select
import socket
from collections.abc import Iterator

import pytest

from lab.netns import Namespace
from lab.topology import Topology
from lvs_healthd.config.basics import Endpoint, Protocol
from lvs_healthd.config.model import Config, Forward, RealServer, Service
from lvs_healthd.director import aspects
from lvs_healthd.director.keeper import Keeper
from lvs_healthd.runtime.netns import Netns

PORT, OTHER_PORT = 5300, 5301

DEADLINE_S = 10.0
"""For a packet that comes; emulated."""
SILENCE_S = 3.0
"""For one that does not: much longer than the same takes where it works."""


@pytest.fixture
def dr() -> Iterator[Topology]:
    with Topology.dr(servers=1) as topology:
        yield topology


@pytest.fixture(autouse=True)
def clean(nat: Topology) -> Iterator[None]:
    yield
    nat.ipvsadm.clear()
    nat.director.run(["nft", "flush ruleset"])


async def keep(director: Namespace, *services: Service) -> None:
    """Set the rules and sysctls that these services need, although no configuration may contain such services."""
    netns = Netns(director.name)
    keeper = Keeper(aspects(netns), netns, lambda _: None)
    keeper.want(Config(services=services), shadow=False)
    await keeper.turn()
    assert keeper.last_error == ""


def bound(machine: Namespace, kind: socket.SocketKind, address: str, port: int) -> socket.socket:
    with machine.entered():
        result = socket.socket(socket.AF_INET, kind)
    result.settimeout(DEADLINE_S)
    result.bind((address, port))
    return result


async def test_by_fullnat_answers_to_datagrams_that_are_scheduled_one_by_one_find_no_way_back(nat: Topology) -> None:
    server = nat.servers[0]
    for port, options in ((PORT, "-o"), (OTHER_PORT, "")):
        nat.ipvsadm.restore(f"-A -u {nat.vip}:{port} -s rr {options}\n-a -u {nat.vip}:{port} -r {server.address} -m\n")
    await keep(nat.director, *(fullnat(nat.vip, port, server.address) for port in (PORT, OTHER_PORT)))
    with contextlib.ExitStack() as stack:
        sockets = {port: bound(server, socket.SOCK_DGRAM, server.address, port) for port in (PORT, OTHER_PORT)}
        clients = {port: bound(nat.client, socket.SOCK_DGRAM, nat.client_address, 0) for port in sockets}
        for each in (*sockets.values(), *clients.values()):
            stack.enter_context(each)
        for port in (PORT, OTHER_PORT):  # the one that works is the last: when it has an answer, the other would too
            clients[port].sendto(b"question", (nat.vip, port))
            question, asker = sockets[port].recvfrom(100)
            assert (question, asker[0] != nat.client_address) == (b"question", True)
            sockets[port].sendto(b"answer", asker)
        assert clients[OTHER_PORT].recvfrom(100) == (b"answer", (nat.vip, OTHER_PORT))
        clients[PORT].setblocking(False)
        with pytest.raises(BlockingIOError):
            clients[PORT].recv(100)


def fullnat(vip: str, port: int, server: str) -> Service:
    return Service(
        name=str(port),
        endpoint=Endpoint(vip, port),
        protocol=Protocol.UDP,
        real_servers=(RealServer(endpoint=Endpoint(server, port), forward=Forward.FULLNAT),),
    )


@pytest.mark.parametrize("synproxy", [False, True])
async def test_by_dr_a_proxied_handshake_never_reaches_the_server(dr: Topology, synproxy: bool) -> None:
    server = dr.servers[0]
    dr.ipvsadm.restore(f"-A -t {dr.vip}:{PORT} -s rr\n-a -t {dr.vip}:{PORT} -r {server.address} -g\n")
    real = RealServer(endpoint=Endpoint(server.address, PORT), forward=Forward.DR)
    service = Service(name="web", endpoint=Endpoint(dr.vip, PORT), synproxy=synproxy, real_servers=(real,))
    await keep(dr.director, service)
    with (
        bound(server, socket.SOCK_STREAM, dr.vip, PORT) as listening,
        bound(dr.client, socket.SOCK_STREAM, dr.client_address, 0) as client,
    ):
        listening.listen()
        client.connect((dr.vip, PORT))
        client.send(b"question")
        is_accepted = bool(select.select([listening], [], [], SILENCE_S if synproxy else DEADLINE_S)[0])
        assert is_accepted is not synproxy
