"""Sockets with a way of their own: where a probe comes from, and whose fault it is when it cannot leave."""

import asyncio
import socket
import threading

import msgspec
import pytest

from lvs_healthd.config.basics import Endpoint, Family, Protocol, Seconds
from lvs_healthd.config.check_model import TcpCheck, UdpCheck
from lvs_healthd.config.check_ways import DataPath, PathWay, Way
from lvs_healthd.decide.paths import PORT_TAKEN
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.probing.once import run_once
from lvs_healthd.runtime.capabilities import give_up_capabilities
from tests.probes.peers import datagram_server, free_port, stream_server


async def outcome_of(check: TcpCheck | UdpCheck) -> Outcome:
    return (await run_once([check]))[probe_key(check)].outcome


def tcp(port: int, **way: object) -> TcpCheck:
    return TcpCheck(
        name="tcp",
        address="127.0.0.1",
        port=port,
        timeout=Seconds(2.0),
        send=b"hello",
        expect=b"bye",
        way=Way(**way),  # type: ignore[arg-type]
    )


async def test_probe_comes_from_its_source_again_and_again() -> None:
    seen = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        await reader.readexactly(5)
        writer.write(b"bye")

    async with stream_server(note) as port:
        for _ in range(3):
            assert (await outcome_of(tcp(port, source="127.0.0.9"))).kind is OutcomeKind.UP
        assert (await outcome_of(tcp(port, interface="lo"))).kind is OutcomeKind.UP
    assert seen == ["127.0.0.9"] * 3 + ["127.0.0.1"]


async def test_udp_probe_comes_from_its_source() -> None:
    async with datagram_server(b"pong") as port:
        check = UdpCheck(
            name="udp",
            address="127.0.0.1",
            port=port,
            send=b"ping",
            expect=b"pong",
            way=Way(source="127.0.0.9", dscp=46),
        )
        assert (await outcome_of(check)).kind is OutcomeKind.UP


async def test_server_that_refuses_is_down_whatever_the_way() -> None:
    assert (await outcome_of(tcp(free_port(), source="127.0.0.9", dscp=8))).reason is Reason.REFUSED


@pytest.mark.parametrize(
    ("way", "told"),
    [
        ({"source": "192.0.2.77"}, "cannot probe from source 192.0.2.77: Cannot assign requested address"),
        ({"interface": "none0"}, "cannot probe by interface none0: No such device"),
    ],
)
async def test_way_that_this_host_does_not_have_is_our_own_fault(way: dict[str, str], told: str) -> None:
    found = await outcome_of(tcp(1, **way))
    assert (found.kind, found.reason, found.detail) == (OutcomeKind.UNSURE, Reason.LOCAL_NETWORK, told)


def test_mark_without_the_right_is_our_own_fault() -> None:
    found: list[Outcome] = []

    def probe() -> None:
        give_up_capabilities()  # only of this thread
        found.append(asyncio.run(outcome_of(tcp(1, mark=7))))

    thread = threading.Thread(target=probe)
    thread.start()
    thread.join()
    assert [each.kind for each in found] == [OutcomeKind.UNSURE]
    assert found[0].detail == "cannot set mark 7 without CAP_NET_ADMIN or CAP_NET_RAW: Operation not permitted"


def path_way(**keys: object) -> PathWay:
    path = DataPath(protocol=Protocol.TCP, family=Family.IPV4, server=Endpoint("198.51.100.11", 0), forward="dr")
    return PathWay(path=path, **keys)  # type: ignore[arg-type]


async def test_udp_probe_through_a_service_comes_from_its_own_port_each_time() -> None:
    seen = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.setblocking(False)
        own = free_port()
        check = UdpCheck(
            name="udp",
            address="127.0.0.1",
            port=server.getsockname()[1],
            send=b"ping",
            expect=b"pong",
            way=path_way(source="127.0.0.9", source_port=own),
        )

        def answer() -> None:
            data, peer = server.recvfrom(100)
            seen.append(peer)
            server.sendto(b"pong", peer)
            assert data == b"ping"

        asyncio.get_running_loop().add_reader(server, answer)
        for _ in range(3):
            assert (await outcome_of(check)).kind is OutcomeKind.UP
        asyncio.get_running_loop().remove_reader(server)
    assert seen == [("127.0.0.9", own)] * 3


async def test_port_that_another_program_has_is_our_fault() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.9", 0))
        own = other.getsockname()[1]
        way = path_way(source="127.0.0.9", source_port=own)
        check = UdpCheck(name="udp", address="127.0.0.1", port=9, send=b"ping", expect=b"pong", way=way)
        found = await outcome_of(check)
    assert found.kind is OutcomeKind.UNSURE
    assert found.detail.startswith(f"{PORT_TAKEN}{own} of 127.0.0.9")


async def test_probe_through_a_service_ends_with_a_reset_though_it_was_answered() -> None:
    """IPVS forgets such a connection much sooner."""
    ended = asyncio.get_running_loop().create_future()

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(5)
        writer.write(b"bye")
        try:
            ended.set_result(await reader.read())
        except ConnectionResetError as error:
            ended.set_result(error)

    async with stream_server(note) as port:
        found = await outcome_of(msgspec.structs.replace(tcp(port), way=path_way(source="127.0.0.9")))
        assert found.kind is OutcomeKind.UP
        assert isinstance(await ended, ConnectionResetError)
