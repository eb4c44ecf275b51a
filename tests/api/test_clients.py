"""Clients that hoard connections, read slowly or send too much cost little and are dropped soon."""

import asyncio
import socket
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from lvs_healthd.api import ApiServer, rate
from lvs_healthd.api import clients as connections
from lvs_healthd.api import server as server_module
from lvs_healthd.api.app import PART_BYTES
from lvs_healthd.api.clients import MAX_CONNECTIONS
from tests.api.conftest import ShownApp

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(server: ApiServer) -> Streams:
    assert server.address is not None
    return await asyncio.open_connection(server.address.address, server.address.port)


async def close(*streams: Streams) -> None:
    for _, writer in streams:
        writer.transport.abort()
    await asyncio.sleep(0)


async def test_idle_connections_are_bounded_and_the_newest_is_always_served(
    server: ApiServer, client: aiohttp.ClientSession
) -> None:
    hoard = [await connect(server) for _ in range(3 * MAX_CONNECTIONS)]
    async with client.get("/healthz") as response:
        assert response.status == 200
    assert len(server.tcp_clients) <= MAX_CONNECTIONS
    async with asyncio.timeout(5):
        assert await _read_until_closed(hoard[0][0]) == b""
    await close(*hoard)


async def test_clients_over_tcp_leave_the_control_socket_its_places(server: ApiServer, control: Path) -> None:
    early = await asyncio.open_unix_connection(control)
    hoard = [await connect(server) for _ in range(2 * MAX_CONNECTIONS)]
    early[1].write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert (await early[0].readline()).startswith(b"HTTP/1.1 200")
    await close(early, *hoard)


async def test_answer_under_way_is_never_cut_off_for_newer_clients(server: ApiServer, shown: ShownApp) -> None:
    shown.metrics = b"x" * 30_000_000
    reading = await connect(server)
    reading[1].write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert (await reading[0].readline()).startswith(b"HTTP/1.1 200")
    hoard = [await connect(server) for _ in range(2 * MAX_CONNECTIONS)]
    async with asyncio.timeout(20):
        assert await _read_until_closed(hoard[0][0]) == b""  # so they were too many
        length = 0
        while part := await reading[0].read(1_000_000):
            length += len(part)
    assert length > 30_000_000
    await close(reading, *hoard)


async def test_when_every_connection_is_being_answered_the_newest_is_refused(
    server: ApiServer, shown: ShownApp
) -> None:
    shown.metrics = b"x" * 12_000_000
    readers = []
    for _ in range(MAX_CONNECTIONS):
        readers.append(await connect(server))
        readers[-1][1].write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await readers[-1][0].readline()).startswith(b"HTTP/1.1 200")
    late = await connect(server)
    async with asyncio.timeout(5):
        assert await _read_until_closed(late[0]) == b""
    assert len(server.tcp_clients) == MAX_CONNECTIONS
    await close(late, *readers)


async def test_what_waits_for_a_slow_client_is_never_more_than_one_part(server: ApiServer, shown: ShownApp) -> None:
    shown.metrics = b"x" * 30_000_000
    readers = [await connect(server) for _ in range(8)]
    for reader, writer in readers:
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    highest = 0
    for _ in range(200):  # so that the kernel's buffers fill up
        await asyncio.sleep(0.002)
        transports = [each.transport for each in server.tcp_clients._open]
        highest = max(highest, *(each.get_write_buffer_size() for each in transports if each is not None))
    framing = len(f"{PART_BYTES:x}\r\n\r\n")
    assert 0 < highest <= PART_BYTES + framing
    await close(*readers)


async def test_connection_in_use_outlives_quieter_ones(server: ApiServer) -> None:
    used = await connect(server)
    hoard = []
    for _ in range(2 * MAX_CONNECTIONS):
        hoard.append(await connect(server))
        used[1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = await used[0].readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert await used[0].readexactly(3) == b"ok\n"
    await close(used, *hoard)


async def test_request_that_never_ends_is_cut_off(app: web.Application, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "KEEPALIVE_S", 0.2)
    server = ApiServer(app)
    await server.start("127.0.0.1:0", "")
    reader, writer = await connect(server)
    answer = asyncio.create_task(_read_until_closed(reader))
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    async with asyncio.timeout(5):
        while not answer.done():  # a byte now and then must buy no more time than silence
            writer.write(b"X: y\r\n")
            await asyncio.wait([answer], timeout=0.05)
    assert await answer == b""
    await close((reader, writer))
    await server.stop()


async def test_answer_nobody_reads_is_thrown_away(
    server: ApiServer, shown: ShownApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "STALLED_WRITE_S", 0.1)
    shown.metrics = b"x" * 30_000_000
    stuck = await connect(server)
    stuck[1].write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        while not len(server.tcp_clients):
            await asyncio.sleep(0.01)
        while len(server.tcp_clients):
            await asyncio.sleep(0.01)
    await close(stuck)


@pytest.mark.parametrize("over", ["TCP", "control"])
async def test_answer_that_is_read_a_little_at_a_time_is_thrown_away(
    server: ApiServer, control: Path, shown: ShownApp, monkeypatch: pytest.MonkeyPatch, over: str
) -> None:
    monkeypatch.setattr(rate, "GRACE_S", 0.2)
    monkeypatch.setattr(rate, "LEAST_BYTES_PER_S", 50_000_000)
    shown.metrics = b"x" * 30_000_000
    clients = server.tcp_clients if over == "TCP" else server.control_clients
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET if over == "TCP" else socket.AF_UNIX) as slow:
        slow.setblocking(False)
        assert server.address is not None
        place = (server.address.address, server.address.port) if over == "TCP" else str(control)
        await loop.sock_connect(slow, place)
        await loop.sock_sendall(slow, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(10):
            assert await loop.sock_recv(slow, 10) == b"HTTP/1.1 2"
            while len(clients):
                await loop.sock_recv(slow, 8192)  # the client is never still for long
                await asyncio.sleep(0.01)
    async with aiohttp.ClientSession(f"http://{server.address}") as session, session.get("/healthz") as response:
        assert response.status == 200


async def test_slow_reader_that_keeps_the_pace_gets_the_whole_answer(
    server: ApiServer, shown: ShownApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate, "GRACE_S", 5.0)
    monkeypatch.setattr(rate, "LEAST_BYTES_PER_S", 1_000_000)
    shown.metrics = b"x" * 12_000_000
    reader, writer = await connect(server)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    length = 0
    while part := await reader.read(65536):
        length += len(part)
        await asyncio.sleep(0.001)
    assert length > 12_000_000
    await close((reader, writer))


async def test_large_answer_to_a_reading_client_arrives_whole(client: aiohttp.ClientSession, shown: ShownApp) -> None:
    shown.metrics = b"x" * 20_000_000
    async with client.get("/metrics") as response:
        assert len(await response.read()) == 20_000_000


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00" + b"\xff" * 500 + b"\r\n\r\n",  # TLS on a plain port
    ],
    ids=["long path", "long header", "many headers", "garbage"],
)
async def test_oversized_or_broken_request_is_refused_and_closed(server: ApiServer, request_: bytes) -> None:
    stream = await connect(server)
    stream[1].write(request_)
    async with asyncio.timeout(5):
        answer = await _read_until_closed(stream[0])
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    await close(stream)


async def test_endless_body_is_refused_without_being_taken_in(server: ApiServer) -> None:
    stream = await connect(server)
    stream[1].write(b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4294967296\r\n\r\n" + b"x" * 65536)
    async with asyncio.timeout(5):
        answer = await _read_until_closed(stream[0])
    assert answer.startswith(b"HTTP/1.1 405")
    await close(stream)


async def test_stop_does_not_wait_for_idle_clients(app: web.Application) -> None:
    server = ApiServer(app)
    await server.start("127.0.0.1:0", "")
    idle = [await connect(server) for _ in range(5)]
    start = time.monotonic()
    await server.stop()
    assert time.monotonic() - start < 1.5
    async with asyncio.timeout(1):
        assert await _read_until_closed(idle[0][0]) == b""
    await close(*idle)


async def _read_until_closed(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(1_000_000)
    except ConnectionResetError:
        return b""
