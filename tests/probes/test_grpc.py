"""grpc checks: real servers of grpcio, and answers written by hand."""

import asyncio
import contextlib
import signal
import struct
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import Carrier, GrpcCheck, Tls
from lvs_healthd.probes.exchange import Farewell
from lvs_healthd.probes.grpc import grpc_exchanges
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probes.proxy import HEADERS as PROXY_HEADERS
from tests.pacing import EXTENDED
from tests.probes.http2_peer import SETTINGS, Fields, Peer, frame, over_network, talk, talk_raw
from tests.probes.http_talk import outcomes
from tests.probes.peers import answering, free_port, stream_server
from tests.processes import is_stopped

SERVER = Path(__file__).with_name("grpc_server.py")


def check(**keys: object) -> GrpcCheck:
    fields = {"name": "grpc", "address": "127.0.0.1", "port": 1, "authority": "x.example", "timeout": Seconds(2.0)}
    return GrpcCheck(**fields | keys)  # type: ignore[arg-type]


async def outcome(asked: GrpcCheck) -> Outcome:
    (found,) = await outcomes(asked)
    return found


class Server:
    """A running server of grpcio."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    async def line(self) -> None:
        assert self.process.stdout is not None
        async with asyncio.timeout(30):
            assert await self.process.stdout.readline()

    async def set(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode() + b"\n")
        await self.line()

    async def freeze(self) -> None:
        """Stop its threads, and wait until none of them can answer any more."""
        self.process.send_signal(signal.SIGSTOP)
        while not is_stopped(self.process.pid):
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def grpcio(*services: str, pem: str = "-") -> AsyncIterator[Server]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(SERVER), str(port), pem, *services),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        server = Server(process, port)
        await server.line()
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.kill()
        await process.communicate()


async def test_server_that_is_healthy_and_then_is_not_and_is_stopped_and_ends() -> None:
    async with grpcio("=SERVING", "shop.Cart=NOT_SERVING") as server:
        port = server.port
        healthy = await outcome(check(port=port))
        assert (healthy.kind, healthy.detail) == (OutcomeKind.UP, "SERVING")
        for name, detail in {
            "shop.Cart": "its state is NOT_SERVING, expected SERVING",
            "shop.Käse": 'its health service does not know the service "shop.K\\xc3\\xa4se": grpc-status is NOT_FOUND',
        }.items():
            found = await outcome(check(port=port, service=name))
            assert (found.kind, found.reason, found.detail) == (OutcomeKind.DOWN, Reason.BAD_ANSWER, detail)
        await server.set("shop.Cart=SERVING")
        assert (await outcome(check(port=port, service="shop.Cart"))).detail == "SERVING"
        for state in ("NOT_SERVING", "UNKNOWN"):
            await server.set(f"={state}")
            assert (await outcome(check(port=port))).detail == f"its state is {state}, expected SERVING"
        await server.freeze()
        stopped = await outcome(check(port=port, timeout=Seconds(0.3)))
        told = stopped.detail.removesuffix(EXTENDED)
        assert (stopped.reason, told) == (Reason.TIMEOUT, "connected, but no answer in 300ms")
    assert (await outcome(check(port=port))).reason is Reason.REFUSED


async def test_server_without_a_health_service_says_unimplemented() -> None:
    async with grpcio("none") as server:
        found = await outcome(check(port=server.port))
    assert found.kind is OutcomeKind.DOWN
    assert found.detail.startswith("it has no health service (grpc.health.v1): grpc-status is UNIMPLEMENTED")


async def test_server_over_tls(tmp_path: Path) -> None:
    authority, ca, chain = trustme.CA(), tmp_path / "ca.pem", tmp_path / "server.pem"
    authority.cert_pem.write_to_path(str(ca))
    authority.issue_cert("grpc.example").private_key_and_cert_chain_pem.write_to_path(str(chain))
    async with grpcio("=SERVING", pem=str(chain)) as server:
        port, over = server.port, Carrier.TLS
        found = await outcome(check(port=port, over=over, tls=Tls(sni="grpc.example", ca=str(ca))))
        nameless = await outcome(check(port=port, over=over, tls=Tls(ca=str(ca))))
        plain = await outcome(check(port=port))
    assert (found.kind, found.detail) == (OutcomeKind.UP, "SERVING")
    assert found.certificate_end is not None
    assert nameless.detail.endswith("; set authority or sni to the name that clients ask for")
    assert plain.kind is OutcomeKind.DOWN


# Answers written by hand


HEAD: Fields = [(":status", "200"), ("content-type", "application/grpc")]
WELL: Fields = [("grpc-status", "0")]


def message(data: bytes, *, compressed: bool = False) -> bytes:
    return bytes((compressed,)) + len(data).to_bytes(4, "big") + data


def says(*body: bytes, head: Fields = HEAD, trailers: Fields | None = WELL) -> Callable[..., None]:
    return lambda peer, stream, _fields, _body: peer.say(stream, head, *body, trailers=trailers)


def judged(*body: bytes, head: Fields = HEAD, trailers: Fields | None = WELL, cut: int | None = None) -> str:
    made = talk(grpc_exchanges(check()), says(*body, head=head, trailers=trailers), cut=cut)
    assert isinstance(made.last, Farewell)
    return made.outcome.detail


def test_question_is_what_clients_send() -> None:
    asked: list[tuple[dict[str, str], bytes]] = []

    def answer(peer: Peer, stream: int, fields: dict[str, str], body: bytes) -> None:
        asked.append((fields, body))
        says(message(b"\x08\x01"))(peer, stream, fields, body)

    talk(grpc_exchanges(check(timeout=Seconds(1.5))), answer)
    talk(grpc_exchanges(check(service="s" * 200, over=Carrier.TLS)), answer)
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":authority": "x.example",
        ":path": "/grpc.health.v1.Health/Check",
        "te": "trailers",
        "grpc-timeout": "1500m",
        "content-type": "application/grpc",
        "user-agent": "lvs-healthd",
    }
    assert asked[0] == (fields, b"\0\0\0\0\0")
    assert asked[1][0][":scheme"] == "https"
    assert asked[1][1] == message(b"\x0a\xc8\x01" + b"s" * 200)


@pytest.mark.parametrize("cut", [None, 1])
@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ((message(b"\x08\x01"),), "SERVING"),
        ((b"\0\0\0", b"\0\2\x08", b"\x01"), "SERVING"),
        ((message(b"\x12\x03abc\x1d1234\x2112345678\x08\x01"),), "SERVING"),  # fields of later versions
        ((message(b""),), "its state is UNKNOWN, expected SERVING"),
        ((message(b"\x08\x02"),), "its state is NOT_SERVING, expected SERVING"),
        ((message(b"\x08\x03"),), "its state is SERVICE_UNKNOWN, expected SERVING"),
        ((message(b"\x08\x81\x01"),), "its state is 129, expected SERVING"),
        ((message(b"\x08"),), 'not a HealthCheckResponse: "\\x08"'),
        ((message(b"\x08" + b"\xff" * 11),), 'not a HealthCheckResponse: "\\x08' + "\\xff" * 11 + '"'),
        ((message(b"\x0a\x09abc"),), 'not a HealthCheckResponse: "\\x0a\\x09abc"'),
        ((message(b"\x0f"),), 'not a HealthCheckResponse: "\\x0f"'),
        ((b"\0\0\0",), 'not a message: "\\x00\\x00\\x00"'),
        (
            (message(b"\x08\x01") * 2,),
            'not a message: "\\x00\\x00\\x00\\x00\\x02\\x08\\x01\\x00\\x00\\x00\\x00\\x02\\x08\\x01"',
        ),
        ((message(b"\x08\x01", compressed=True),), "the message is compressed, although the question asks for none"),
        ((b"x" * 5000,), "an answer of more than 4096 bytes"),
    ],
)
def test_message(body: tuple[bytes, ...], detail: str, cut: int | None) -> None:
    assert judged(*body, cut=cut) == detail


@pytest.mark.parametrize(
    ("head", "trailers", "detail"),
    [
        (HEAD, [("grpc-status", "14"), ("grpc-message", "no backend")], 'grpc-status is UNAVAILABLE: "no backend"'),
        (HEAD, [("grpc-status", "16")], "grpc-status is UNAUTHENTICATED"),
        (HEAD, [("grpc-status", "99")], 'grpc-status is "99"'),
        (HEAD, [("grpc-status", "²")], 'grpc-status is "\\xc2\\xb2"'),
        (HEAD, [("x", "y")], "grpc-status is missing"),
        (HEAD, None, "no gRPC answer: it ends without grpc-status"),
        # "Trailers-Only"
        (
            [*HEAD, ("grpc-status", "5")],
            None,
            "its health service does not know the state of the server as a whole: grpc-status is NOT_FOUND",
        ),
        (
            [*HEAD, ("grpc-status", "12"), ("grpc-message", "Method not found!")],
            None,
            'it has no health service (grpc.health.v1): grpc-status is UNIMPLEMENTED: "Method not found!"',
        ),
        ([*HEAD, ("grpc-status", "0")], None, "grpc-status is OK, but there is no answer"),
        ([(":status", "404"), ("content-type", "text/html")], None, "HTTP status 404, and gRPC has 200"),
        ([(":status", "2\x1b[1m\xff")], None, r'HTTP status "2\x1b[1m\xc3\xbf", and gRPC has 200'),
        ([(":status", "9" * 9999)], None, f'HTTP status "{"9" * 40}"…, and gRPC has 200'),
        (
            [(":status", "200"), ("content-type", "text/html")],
            None,
            'no gRPC answer: its content-type is "text/html"',
        ),
    ],
)
def test_status_of_the_call(head: Fields, trailers: Fields | None, detail: str) -> None:
    assert judged(head=head, trailers=trailers) == detail


def test_trailers_say_whether_the_message_counts() -> None:
    assert judged(message(b"\x08\x01"), trailers=[("grpc-status", "13")]) == "grpc-status is INTERNAL"


def test_same_failure_is_the_same_object() -> None:
    first, second = (talk(grpc_exchanges(check()), says(message(b"\x08\x02"))).outcome for _ in range(2))
    assert first is second


def test_connection_that_ends_early() -> None:
    exchange = grpc_exchanges(check())()
    exchange.connected()
    exchange.received(frame(SETTINGS))
    assert exchange.closed().detail == "connection closed without an answer"
    assert exchange.expired("1s").detail == "connected, but no answer in 1s"
    head = b"\x88\x0f\x10\x10application/grpc"
    exchange.received(frame(1, head, flags=4, stream=1))
    assert exchange.closed().detail == "connection closed before the end of the answer"
    assert exchange.expired("1s").detail == "answer incomplete after 1s"
    lost = Outcome(OutcomeKind.DOWN, Reason.RESET, "connection reset by the server")
    assert exchange.failed(lost).detail == "the connection was reset before the end of the answer"
    exchange.end()


def test_refused_stream() -> None:
    made = talk_raw(grpc_exchanges(check()), [frame(SETTINGS), frame(3, struct.pack("!I", 7), stream=1)])
    assert made.outcome.detail == "the server gave the request up (RST_STREAM): REFUSED_STREAM"


@given(st.binary(max_size=60), st.binary(max_size=20))
def test_whatever_a_message_holds_there_is_an_outcome(data: bytes, rest: bytes) -> None:
    assert judged(message(data), *([rest] if rest else []))


@pytest.mark.parametrize("version", [1, 2])
async def test_header_of_the_proxy_protocol_comes_first(version: int) -> None:
    server = over_network(says(message(b"\x08\x01")), PROXY_HEADERS[version])
    async with stream_server(server) as port:
        assert (await outcome(check(port=port, proxy_protocol=version))).detail == "SERVING"


async def test_server_of_http_1_1_is_named() -> None:
    async with stream_server(answering(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as port:
        found = await outcome(check(port=port))
    assert found.detail == 'no HTTP/2, but "HTTP/1.1 400 Bad Request"'
