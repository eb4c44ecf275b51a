"""Servers that repeat what they were sent: no outcome may show a secret, for status and log show outcomes."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, HttpCheck, TcpCheck, UdpCheck
from lvs_healthd.probes.exchange import quote
from lvs_healthd.probing.once import run_once
from tests.pacing import EXTENDED
from tests.probes.peers import stream_server

SECRET = "hunter2secret"


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(65536))
    await writer.drain()
    writer.close()


async def echo_as_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    asked = await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + asked[asked.index(SECRET.encode()) - 10 :])
    await writer.drain()
    writer.close()


async def detail(check: AnyCheck) -> str:
    return next(iter((await run_once([check])).values())).outcome.detail


async def test_tcp_answer_that_repeats_a_password() -> None:
    async with stream_server(echo) as port:
        send = f"AUTH {SECRET}\r\n".encode()
        found = await detail(TcpCheck(name="", address="127.0.0.1", port=port, send=send, expect=b"+OK"))
    assert found == 'unexpected answer "AUTH (hidden)\\x0d\\x0a", then the connection closed'


@pytest.mark.parametrize(
    "keys",
    [
        {"path": f"/?token={SECRET}"},
        {"path": "/", "headers": (("X-Api-Key", SECRET),), "body": "fine"},
        {"path": f"/?a=1&token={SECRET}", "body": "fine"},
    ],
)
async def test_http_answer_that_repeats_the_request(keys: dict[str, object]) -> None:
    async with stream_server(echo_as_body if "body" in keys else echo) as port:
        found = await detail(HttpCheck(name="", address="127.0.0.1", port=port, host="x", **keys))  # type: ignore[arg-type]
    assert "hunter2" not in found
    assert "(hidden)" in found


@pytest.fixture
def udp_echo() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)

        def serve() -> None:
            data, peer = server.recvfrom(65536)
            server.sendto(data, peer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


async def test_udp_answer_that_repeats_a_password(udp_echo: int) -> None:
    send = f"PASS {SECRET}".encode()
    keys = {"send": send, "expect": b"+OK", "timeout": Seconds(0.2)}
    found = await detail(UdpCheck(name="", address="127.0.0.1", port=udp_echo, **keys))  # type: ignore[arg-type]
    assert found.removesuffix(EXTENDED) == 'unexpected answer "PASS (hidden)", and no other in 200ms'


def test_part_of_a_secret_at_the_end_of_what_has_arrived_is_hidden() -> None:
    assert quote(b"-ERR hunter2sec", hidden=(SECRET.encode(),)) == '"-ERR (hidden)"'
    assert quote(b"-ERR hu", hidden=(SECRET.encode(),)) == '"-ERR hu"'
    assert quote(b"x" * 38 + SECRET.encode(), hidden=(SECRET.encode(),)) == f'"{"x" * 38}(h"…'
