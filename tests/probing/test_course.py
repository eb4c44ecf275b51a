"""How a probe went: the times of its phases, and the first bytes that it heard if it did not pass, without secrets."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, ConversationStep, HttpCheck, HttpsCheck, TcpCheck, Tls, UdpCheck
from lvs_healthd.probes.outcome import HEARD_BYTES, Course, OutcomeKind
from lvs_healthd.probing.once import ProbeResult, run_once
from lvs_healthd.probing.workers.protocol import Report, record, recorded
from tests.probes.peers import answering, datagram_server, silent, stream_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SICK = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nsick"
WHERE = {"name": "c", "address": "127.0.0.1", "timeout": Seconds(1.0)}


async def found(check: AnyCheck) -> ProbeResult:
    (result,) = (await run_once([check])).values()
    return result


def in_order(*times: float | None) -> bool:
    known = [each for each in times if each is not None]
    return len(known) == len(times) and known[0] > 0 and known == sorted(known)


async def test_http_probe_tells_its_phases_and_hears_nothing_when_it_passes() -> None:
    async with stream_server(answering(OK)) as port:
        outcome, course = await found(HttpCheck(port=port, host="x", **WHERE))  # type: ignore[arg-type]
    assert outcome.kind is OutcomeKind.UP
    assert in_order(course.connected_s, course.answered_s, course.total_s)
    assert (course.secured_s, course.heard) == (None, "")


async def test_failed_http_probe_tells_what_it_heard() -> None:
    async with stream_server(answering(SICK)) as port:
        _, course = await found(HttpCheck(port=port, host="x", **WHERE))  # type: ignore[arg-type]
    assert course.heard.startswith(r'"HTTP/1.1 503 Service Unavailable\x0d\x0a')


async def test_secrets_that_a_server_repeats_are_hidden() -> None:
    async with stream_server(answering(SICK + b" said the-secret-word")) as port:
        headers = (("X-Token", "the-secret-word"),)
        _, course = await found(HttpCheck(port=port, host="x", headers=headers, **WHERE))  # type: ignore[arg-type]
    assert "sick said" in course.heard
    assert "secret-word" not in course.heard
    async with stream_server(answering(b"-ERR AUTH hunter22 is wrong\r\n", until=b"\r\n")) as port:
        _, course = await found(TcpCheck(port=port, send=b"AUTH hunter22\r\n", expect=b"+OK", **WHERE))  # type: ignore[arg-type]
    assert course.heard.startswith('"-ERR AUTH (hidden) is wrong')


async def test_long_answer_is_cut_and_pieces_are_put_together() -> None:
    async def pieces(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(40):
            writer.write(b"0123456789")
            await writer.drain()
            await asyncio.sleep(0.005)

    async with stream_server(pieces) as port:
        _, course = await found(TcpCheck(port=port, expect=b"never", **WHERE))  # type: ignore[arg-type]
    assert course.heard == f'"{("0123456789" * 40)[:HEARD_BYTES]}"…'


async def test_silent_server_is_connected_and_nothing_more() -> None:
    async with stream_server(silent) as port:
        keys = {**WHERE, "timeout": Seconds(0.5)}
        _, course = await found(HttpCheck(port=port, host="x", **keys))  # type: ignore[arg-type]
    assert in_order(course.connected_s, course.total_s)
    assert (course.answered_s, course.heard) == (None, "")
    _, course = await found(TcpCheck(port=port, **WHERE))  # type: ignore[arg-type]
    assert course.connected_s is None


async def test_datagram_has_no_connection() -> None:
    keys = {**WHERE, "timeout": Seconds(0.5)}
    async with datagram_server(b"no ?") as port:
        outcome, course = await found(UdpCheck(port=port, send=b"?", expect=b"yes", **keys))  # type: ignore[arg-type]
    assert outcome.kind is OutcomeKind.DOWN
    assert (course.connected_s, course.heard) == (None, '"no ?"')
    assert in_order(course.answered_s, course.total_s)


@pytest.fixture
def ca_and_context(tmp_path: Path) -> tuple[str, ssl.SSLContext]:
    authority = trustme.CA()
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return str(path), context


@pytest.mark.parametrize("proxy_protocol", [0, 1])
async def test_tls_is_a_phase_and_what_is_heard_is_decrypted(
    ca_and_context: tuple[str, ssl.SSLContext], proxy_protocol: int
) -> None:
    ca, context = ca_and_context
    async with stream_server(answering(SICK, until=b"\r\n"), tls=None if proxy_protocol else context) as port:
        check = HttpsCheck(port=port, host="x", tls=Tls(ca=ca), proxy_protocol=proxy_protocol, **WHERE)  # type: ignore[arg-type]
        outcome, course = await found(check)
    if proxy_protocol:  # this server speaks no TLS: what it said in the clear tells what it is
        assert (course.secured_s, course.heard[:13]) == (None, '"HTTP/1.1 503')
        return
    assert outcome.kind is OutcomeKind.DOWN
    assert in_order(course.connected_s, course.answered_s, course.secured_s, course.total_s)
    assert course.heard.startswith('"HTTP/1.1 503 ')


async def test_tls_from_a_step_on_is_a_phase_too(ca_and_context: tuple[str, ssl.SSLContext]) -> None:
    ca, context = ca_and_context
    steps = (ConversationStep(starttls=True), ConversationStep(send=b"hello\r\n"), ConversationStep(expect=b"never"))
    async with stream_server(answering(b"good evening", until=b"\r\n"), tls=context) as port:
        _, course = await found(TcpCheck(port=port, tls=Tls(ca=ca), steps=steps, **WHERE))  # type: ignore[arg-type]
    assert in_order(course.connected_s, course.answered_s, course.secured_s, course.total_s)
    assert course.heard == '"good evening"'


def test_course_passes_through_a_worker() -> None:
    courses = [Course(0.5, 0.125, None, 0.25, '"no"'), Course(1.0), Course(0.75, 0.0, 0.25, 0.5)]
    records = b"".join(record(number, 9, course, 100.0) for number, course in enumerate(courses))
    report = Report(records=records, heard=((0, '"no"'),))
    assert list(recorded(report)) == [(number, 9, course, 100.0) for number, course in enumerate(courses)]
