"""Every kind of check against every kind of fault, on real sockets: down for the right reason, and never late.

The peers that are not reached at all are in tests/kernel, because they need networks of their own.
"""

import asyncio
import datetime as dt
import ssl
import time
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import (
    AgentCheck,
    AnyCheck,
    Carrier,
    ConversationStep,
    DnsCheck,
    GrpcCheck,
    HttpCheck,
    HttpsCheck,
    TcpCheck,
    Tls,
    UdpCheck,
)
from lvs_healthd.probes.outcome import OutcomeKind, Reason
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.probing.deadlines import TICK_S
from lvs_healthd.probing.once import run_once
from tests.probes.http2_peer import CONTINUATION, DATA, HEADERS, PING, frame
from tests.probes.http2_peer import SETTINGS as SETTINGS_FRAME
from tests.probes.peers import (
    Behaviour,
    answering,
    datagram_server,
    dripping,
    flooding,
    free_port,
    refusing,
    resetting,
    silent,
    stream_server,
)

TIMEOUT_S = Seconds(0.4)
SLACK_S = 1.0
"""For a machine that is busy with other tests."""

ASK, GREETED = ConversationStep(send=b"hello\r\n"), ConversationStep(expect=b"220 ")
AROUND: dict[str, Any] = {"address": "127.0.0.1", "timeout": TIMEOUT_S}
Make = Callable[[int], AnyCheck]

STREAMS: dict[str, Make] = {
    "http": lambda port: HttpCheck(name="c", port=port, host="x", body="ok", **AROUND),
    "http json": lambda port: HttpCheck(name="c", port=port, host="x", json=(("a", "1"),), **AROUND),
    "websocket": lambda port: HttpCheck(name="c", port=port, host="x", websocket=True, **AROUND),
    "h2": lambda port: HttpCheck(name="c", port=port, host="x", body="ok", http_version="2", **AROUND),
    "h2 tls": lambda port: HttpsCheck(name="c", port=port, host="x", http_version="2", tls=Tls(verify=False), **AROUND),
    "https": lambda port: HttpsCheck(name="c", port=port, host="x", tls=Tls(verify=False), **AROUND),
    "grpc": lambda port: GrpcCheck(name="c", port=port, authority="x", **AROUND),
    "grpc tls": lambda port: GrpcCheck(
        name="c", port=port, authority="x", over=Carrier.TLS, tls=Tls(verify=False), **AROUND
    ),
    "tcp": lambda port: TcpCheck(name="c", port=port, send=b"PING", expect=b"PONG", **AROUND),
    "tcp steps": lambda port: TcpCheck(name="c", port=port, steps=(GREETED, ASK, GREETED), **AROUND),
    "tcp tls": lambda port: TcpCheck(
        name="c", port=port, tls=Tls(verify=False), steps=(ConversationStep(starttls=True), GREETED), **AROUND
    ),
    "dns tcp": lambda port: DnsCheck(name="c", port=port, query="x.example", over=Carrier.TCP, **AROUND),
    "dns tls": lambda port: DnsCheck(
        name="c", port=port, query="x.example", over=Carrier.TLS, tls=Tls(verify=False), **AROUND
    ),
    "agent": lambda port: AgentCheck(name="c", port=port, **AROUND),
    "agent http": lambda port: AgentCheck(name="c", port=port, path="/", **AROUND),
}

DATAGRAMS: dict[str, Make] = {
    "udp": lambda port: UdpCheck(name="c", port=port, send=b"PING", expect=b"PONG", **AROUND),
    "udp steps": lambda port: UdpCheck(name="c", port=port, steps=(ASK, GREETED), **AROUND),
    "dns udp": lambda port: DnsCheck(name="c", port=port, query="x.example", **AROUND),
}


async def half_closing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close our direction at once, and keep the other one open."""
    writer.write_eof()
    await asyncio.sleep(60)


async def closing(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Accept, then close."""


def saying(data: bytes) -> Behaviour:
    """Return what sends some bytes, and then nothing."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await asyncio.sleep(60)

    return behave


def late(data: bytes) -> Behaviour:
    """Return what sends some bytes when the probe's time is over."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(TIMEOUT_S + 0.3)
        writer.write(data)
        await asyncio.sleep(60)

    return behave


def repeating(head: bytes, part: bytes) -> Behaviour:
    """Return what sends `head`, and then a part again and again, as fast as the peer takes it."""

    async def behave(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        chunk = part * (65536 // len(part))
        while True:
            writer.write(chunk)
            await writer.drain()

    return behave


SETTINGS = frame(SETTINGS_FRAME)
ANSWER = frame(HEADERS, b"\x88", flags=0x4, stream=1)
"""The first frames of a server over HTTP/2: its settings, and the headers of an answer with the status 200."""
GARBAGE = bytes(range(256)) * 4
MISUNDERSTOOD = {Reason.BAD_ANSWER, Reason.PROTOCOL_ERROR, Reason.TLS, Reason.TOO_LARGE}
"""The reasons for an answer that the protocol does not know."""
ENDED = {Reason.RESET, Reason.CLOSED_EARLY}
FAULTS: dict[str, tuple[Behaviour, set[Reason]]] = {
    "silent": (silent, {Reason.TIMEOUT}),
    "reset": (resetting, {Reason.RESET}),
    "late": (late(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), {Reason.TIMEOUT}),
    "half close": (half_closing, {Reason.CLOSED_EARLY, Reason.TLS}),
    "close": (closing, {*ENDED, Reason.TLS}),
    "garbage, then reset": (refusing(GARBAGE), MISUNDERSTOOD | ENDED),
    "another protocol": (refusing(b"SSH-2.0-x\r\n"), MISUNDERSTOOD | ENDED),
    "cut short": (refusing(b"HT"), MISUNDERSTOOD | ENDED),
    "drip": (dripping(b"x" * 100, every_s=0.02), MISUNDERSTOOD | {Reason.TIMEOUT}),
    "flood": (flooding(b"", 64 * 1024 * 1024), MISUNDERSTOOD | {Reason.TIMEOUT}),
    "tls stalls": (saying(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76"), MISUNDERSTOOD | {Reason.TIMEOUT}),
    "provisional answer only": (saying(b"HTTP/1.1 100 Continue\r\n\r\n"), MISUNDERSTOOD | {Reason.TIMEOUT}),
    "h2 silent": (saying(SETTINGS), MISUNDERSTOOD | {Reason.TIMEOUT}),
    "h2 pings": (repeating(SETTINGS, frame(PING, b"12345678")), MISUNDERSTOOD | {Reason.TIMEOUT}),
    "h2 settings": (repeating(b"", SETTINGS), MISUNDERSTOOD | {Reason.TIMEOUT}),
    "h2 empty data": (repeating(SETTINGS + ANSWER, frame(DATA, stream=1)), MISUNDERSTOOD | {Reason.TIMEOUT}),
    "h2 data": (repeating(SETTINGS + ANSWER, frame(DATA, b"x" * 16384, stream=1)), MISUNDERSTOOD | {Reason.TIMEOUT}),
    "h2 headers": (
        repeating(SETTINGS + frame(HEADERS, stream=1), frame(CONTINUATION, stream=1)),
        MISUNDERSTOOD | {Reason.TIMEOUT},
    ),
    "h2 slow": (
        dripping(SETTINGS + ANSWER + frame(DATA, b"x", stream=1) * 9, every_s=0.02),
        MISUNDERSTOOD | {Reason.TIMEOUT},
    ),
    "http without end": (flooding(b"HTTP/1.1 200 OK\r\n", 64 * 1024 * 1024), MISUNDERSTOOD | {Reason.TIMEOUT}),
}
"""Each fault with the reasons that are right for it. Which one it is depends on the protocol and the first packet."""


async def judge(check: AnyCheck, reasons: set[Reason]) -> None:
    began = time.monotonic()
    found = (await run_once([check]))[probe_key(check)]
    took_s = time.monotonic() - began
    assert found.outcome.kind is OutcomeKind.DOWN
    assert found.outcome.reason in reasons, found.outcome.detail
    assert found.outcome.detail
    assert took_s < TIMEOUT_S + TICK_S + SLACK_S


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", STREAMS)
async def test_faulty_stream_server_is_down_in_time(kind: str, fault: str) -> None:
    behave, reasons = FAULTS[fault]
    async with stream_server(behave) as port:
        await judge(STREAMS[kind](port), reasons)


@pytest.mark.parametrize("kind", STREAMS)
async def test_closed_port_is_refused(kind: str) -> None:
    await judge(STREAMS[kind](free_port()), {Reason.REFUSED})


WEB = "web.example"
TLS_STREAMS: dict[str, Callable[[int, Tls], AnyCheck]] = {
    "https": lambda port, tls: HttpsCheck(name="c", port=port, host="x", tls=tls, **AROUND),
    "websocket tls": lambda port, tls: HttpsCheck(name="c", port=port, host="x", websocket=True, tls=tls, **AROUND),
    "h2 tls": lambda port, tls: HttpsCheck(name="c", port=port, host="x", http_version="2", tls=tls, **AROUND),
    "grpc tls": lambda port, tls: GrpcCheck(name="c", port=port, authority="x", over=Carrier.TLS, tls=tls, **AROUND),
    "tcp tls": lambda port, tls: TcpCheck(
        name="c", port=port, tls=tls, steps=(ConversationStep(starttls=True), GREETED), **AROUND
    ),
    "dns tls": lambda port, tls: DnsCheck(name="c", port=port, query="x.example", over=Carrier.TLS, tls=tls, **AROUND),
}

AUTHORITY, STRANGER = trustme.CA(), trustme.CA()
CERTIFICATES: dict[str, tuple[trustme.LeafCert, Reason]] = {
    "expired": (AUTHORITY.issue_cert(WEB, not_after=dt.datetime(2020, 1, 2, tzinfo=dt.UTC)), Reason.EXPIRED),
    "for another name": (AUTHORITY.issue_cert("other.example"), Reason.TLS),
    "of an unknown authority": (STRANGER.issue_cert(WEB), Reason.TLS),
}


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    AUTHORITY.cert_pem.write_to_path(path)
    return str(path)


@pytest.mark.parametrize("certificate", CERTIFICATES)
@pytest.mark.parametrize("kind", TLS_STREAMS)
async def test_server_with_a_wrong_certificate_is_down(kind: str, certificate: str, ca_file: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    wrong, reason = CERTIFICATES[certificate]
    wrong.configure_cert(context)
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with stream_server(silent, tls=context) as port:
        await judge(TLS_STREAMS[kind](port, Tls(sni=WEB, ca=ca_file)), {reason})


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("answer", [b"HTTP/1.1 100 Continue\r\n\r\n" + OK, OK + OK])
async def test_web_server_that_says_more_than_one_answer_is_judged_by_its_first_final_one(answer: bytes) -> None:
    async with stream_server(answering(answer)) as port:
        check = STREAMS["http"](port)
        assert (await run_once([check]))[probe_key(check)].outcome.kind is OutcomeKind.UP


@pytest.mark.parametrize("answers", [(b"PONG", b"PONG"), (b"wait", b"PONG")])
async def test_datagram_server_may_answer_twice_or_first_say_that_it_is_at_work(answers: tuple[bytes, ...]) -> None:
    async with datagram_server(*answers) as port:
        check = DATAGRAMS["udp"](port)
        assert (await run_once([check]))[probe_key(check)].outcome.kind is OutcomeKind.UP


@pytest.mark.parametrize("kind", DATAGRAMS)
async def test_datagram_that_comes_too_late_changes_nothing(kind: str) -> None:
    async with datagram_server(b"PONG", after_s=TIMEOUT_S + 0.3) as port:
        await judge(DATAGRAMS[kind](port), {Reason.TIMEOUT})


WRONG = {"silent": (), "wrong": (b"no",), "empty": (b"",), "garbage": (GARBAGE,), "flood": (b"no",) * 1000}


@pytest.mark.parametrize("kind", DATAGRAMS)
@pytest.mark.parametrize("fault", WRONG)
async def test_faulty_datagram_server_is_down_in_time(kind: str, fault: str) -> None:
    answers: tuple[bytes, ...] = WRONG[fault]
    async with datagram_server(*answers) as port:
        await judge(DATAGRAMS[kind](port), {Reason.BAD_ANSWER, Reason.TIMEOUT} if answers else {Reason.TIMEOUT})


@pytest.mark.parametrize("kind", DATAGRAMS)
async def test_closed_datagram_port_is_refused(kind: str) -> None:
    await judge(DATAGRAMS[kind](free_port()), {Reason.REFUSED})
