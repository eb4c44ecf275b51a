"""dns checks: judged by hand with messages that dnspython writes, and asked over real sockets."""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import Carrier, DnsCheck, Tls
from lvs_healthd.probes.dns import dns_exchanges
from lvs_healthd.probes.exchange import MOST_DATAGRAMS, Exchange, Farewell, Step
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down
from lvs_healthd.probing.once import run_once
from tests.probes.peers import free_port, stream_server


def check(**keys: Any) -> DnsCheck:
    defaults: dict[str, Any] = {"name": "dns", "address": "127.0.0.1", "port": 53, "timeout": Seconds(1.0)}
    return DnsCheck(**defaults | {"query": "www.example.org"} | keys)


Change = Callable[[dns.message.Message], None]


def answer_to(query: bytes, *records: str, code: str = "NOERROR", flags: int = dns.flags.RA) -> bytes:
    """Return an answer to a query, with these records about its name: "A 192.0.2.1"."""
    asked = dns.message.from_wire(query)
    made = dns.message.make_response(asked)
    made.set_rcode(dns.rcode.from_text(code))
    made.flags |= flags
    name = asked.question[0].name
    for record in records:
        kind, _, value = record.partition(" ")
        made.answer.append(dns.rrset.from_text(name, 300, "IN", kind, value))
    wire: bytes = made.to_wire(max_size=65535)
    return wire


def judged(asking: DnsCheck, *records: str, **answer: Any) -> Step:
    exchange, query = begun(asking)
    return exchange.received(answer_to(query, *records, **answer))


def begun(asking: DnsCheck) -> tuple[Exchange, bytes]:
    exchange = dns_exchanges(asking)()
    query = exchange.connected()
    assert isinstance(query, bytes)
    return exchange, query


def test_the_question_is_what_is_configured_and_each_probe_has_its_own_identifier() -> None:
    queries = {begun(check(query="Example.ORG.", query_type="SOA", recursion=False))[1] for _ in range(8)}
    assert len(queries) > 1
    message = dns.message.from_wire(queries.pop())
    assert [each.to_text() for each in message.question] == ["Example.ORG. IN SOA"]
    assert message.flags == 0
    assert dns.message.from_wire(begun(check())[1]).flags == dns.flags.RD


@pytest.mark.parametrize(
    ("keys", "records", "answer", "detail"),
    [
        ({}, ["A 192.0.2.1"], {}, "NOERROR, 1 A record"),
        ({}, ["A 192.0.2.1", "A 192.0.2.2"], {}, "NOERROR, 2 A records"),
        ({}, ["CNAME web.example.org.", "A 192.0.2.1"], {}, "NOERROR, 1 A record"),
        ({"min_answers": 0}, [], {}, "NOERROR"),
        ({"rcode": ("NXDOMAIN", "NOERROR")}, [], {"code": "NXDOMAIN"}, "NXDOMAIN"),
        ({"authoritative": True}, ["A 192.0.2.1"], {"flags": dns.flags.AA}, "NOERROR, 1 A record"),
        ({"answer": "192.0.2.2"}, ["A 192.0.2.1", "A 192.0.2.2"], {}, "NOERROR, 2 A records"),
        ({"query_type": "TXT", "answer": "v=1"}, ['TXT "a v=1 b"'], {}, "NOERROR, 1 TXT record"),
        ({"query_type": "ANY"}, ["A 192.0.2.1", "AAAA 2001:db8::1"], {}, "NOERROR, 2 ANY records"),
        ({}, ["A 192.0.2.1"], {"flags": dns.flags.TC}, "NOERROR, 1 A record"),
    ],
)
def test_answer_that_is_expected(keys: dict[str, Any], records: list[str], answer: Any, detail: str) -> None:
    found = judged(check(**keys), *records, **answer)
    assert isinstance(found, Outcome)
    assert (found.kind, found.detail) == (OutcomeKind.UP, detail)


@pytest.mark.parametrize(
    ("keys", "records", "answer", "detail"),
    [
        ({}, [], {"code": "SERVFAIL"}, "answer code SERVFAIL, expected NOERROR"),
        ({}, [], {"code": "REFUSED"}, "answer code REFUSED, expected NOERROR"),
        ({"rcode": ("NOERROR", "NXDOMAIN")}, [], {"code": "REFUSED"},
         "answer code REFUSED, expected NOERROR or NXDOMAIN"),
        ({}, [], {}, "no A record in the answer"),
        ({}, ["CNAME web.example.org."], {}, "no A record in the answer"),
        ({"min_answers": 2}, ["A 192.0.2.1"], {}, "1 A record, expected 2 or more, in the answer"),
        ({"authoritative": True}, ["A 192.0.2.1"], {},
         "the answer is not authoritative: the server has not loaded this zone"),
        ({"answer": "192.0.2.9"}, [f"A 192.0.2.{last}" for last in range(1, 6)], {},
         'no A record with "192.0.2.9", but 192.0.2.1, 192.0.2.2, 192.0.2.3, …'),
        ({"min_answers": 0, "answer": "192.0.2.9"}, [], {}, 'no A record with "192.0.2.9", but none'),
        ({}, [], {"flags": dns.flags.TC}, 'no A record in the answer; it is truncated, so write over = "tcp"'),
    ],
)  # fmt: skip
def test_answer_that_is_not_expected(keys: dict[str, Any], records: list[str], answer: Any, detail: str) -> None:
    assert judged(check(**keys), *records, **answer) == down(Reason.BAD_ANSWER, detail)


def test_what_is_no_answer_to_this_query_is_passed_over() -> None:
    exchange, query = begun(check())
    answer = answer_to(query, "A 192.0.2.1")
    other = bytes((answer[0] ^ 1, *answer[1:]))
    elsewhere = answer_to(bytes(query[:2]) + begun(check(query="www.example.net"))[1][2:], "A 192.0.2.1")
    for stranger in (b"", b"short", query, other, elsewhere):
        assert exchange.received(stranger) is None
    assert exchange.expired("1s") == down(Reason.TIMEOUT, "no answer in 1s")
    assert isinstance(exchange.received(answer), Outcome)


def test_server_that_sends_everything_but_an_answer_is_down_before_the_time_is_up() -> None:
    exchange, _ = begun(check())
    outcomes = [exchange.received(b"noise") for _ in range(MOST_DATAGRAMS)]
    told = down(Reason.BAD_ANSWER, "100 datagrams, and no answer among them")
    assert outcomes == [None] * (MOST_DATAGRAMS - 1) + [told]


def test_refusal_without_the_question_is_an_answer() -> None:
    exchange, query = begun(check())
    refusal = query[:2] + bytes((0x81, 0x05)) + bytes(8)
    assert exchange.received(refusal) == down(Reason.BAD_ANSWER, "answer code REFUSED, expected NOERROR")


def test_answer_in_another_spelling_of_the_name_is_one() -> None:
    exchange, query = begun(check())
    answer = answer_to(query, "A 192.0.2.1").replace(b"example", b"EXAMPLE", 1)
    assert isinstance(exchange.received(answer), Outcome)


def test_answer_that_is_too_long_is_not_read() -> None:
    found = judged(check(query_type="TXT"), *(f'TXT "{"x" * 200}{number}"' for number in range(30)))
    assert isinstance(found, Outcome)
    assert found.reason is Reason.TOO_LARGE


def test_answer_that_is_no_message_is_a_protocol_error() -> None:
    exchange, query = begun(check())
    found = exchange.received(answer_to(query, "A 192.0.2.1")[:-2])
    assert isinstance(found, Outcome)
    assert (found.reason, found.detail) == (Reason.PROTOCOL_ERROR, "not a DNS message: FormError")


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 255)), max_size=6), st.integers(0, 120), st.booleans())
def test_whatever_comes_is_an_outcome_or_passed_over(changes: list[tuple[int, int]], cut: int, is_stream: bool) -> None:
    exchange, query = begun(check(over=Carrier.TCP if is_stream else Carrier.UDP))
    answer = bytearray(answer_to(query[2:] if is_stream else query, "CNAME web.example.org.", "A 192.0.2.1"))
    for at, byte in changes:
        answer[at % len(answer)] = byte
    del answer[len(answer) - cut % len(answer) :]
    data = len(answer).to_bytes(2) + answer if is_stream else bytes(answer)
    assert exchange.received(data) is None or isinstance(exchange.received(data), Outcome | Farewell | None)


# ---- over a connection -----------------------------------------------------------------------------------------------


def over_tcp(**keys: Any) -> DnsCheck:
    return check(over=Carrier.TCP, **keys)


def test_over_tcp_the_length_goes_first_and_the_answer_may_come_in_pieces() -> None:
    exchange, query = begun(over_tcp())
    assert int.from_bytes(query[:2]) == len(query) - 2
    answer = answer_to(query[2:], "A 192.0.2.1")
    framed = len(answer).to_bytes(2) + answer
    steps = [exchange.received(bytes((byte,))) for byte in framed]
    assert steps[:-1] == [None] * (len(framed) - 1)
    assert isinstance(steps[-1], Farewell)


def test_over_tcp_a_message_that_is_no_answer_may_come_first() -> None:
    exchange, query = begun(over_tcp())
    answer = answer_to(query[2:], code="SERVFAIL")
    other = bytes((answer[0] ^ 1, *answer[1:]))
    found = exchange.received(b"".join(len(each).to_bytes(2) + each for each in (other, answer)))
    assert found == down(Reason.BAD_ANSWER, "answer code SERVFAIL, expected NOERROR")


def test_over_tcp_every_end_says_how_far_it_came() -> None:
    exchange, _ = begun(over_tcp())
    reset = down(Reason.RESET, "connection reset")
    assert exchange.failed(reset) is reset
    assert exchange.closed() == down(Reason.CLOSED_EARLY, "connection closed without an answer")
    assert exchange.expired("1s") == down(Reason.TIMEOUT, "connected, but no answer in 1s")
    assert exchange.received(b"\x00\x20half") is None
    assert exchange.failed(reset) == down(Reason.RESET, "the connection was reset in the middle of the answer")
    assert exchange.closed() == down(Reason.CLOSED_EARLY, "connection closed in the middle of the answer")
    assert exchange.expired("1s") == down(Reason.TIMEOUT, "answer incomplete after 1s")
    assert begun(over_tcp())[0].received(b"\xff\xff") == down(
        Reason.TOO_LARGE, "an answer of 65535 bytes; at most 4096 are read"
    )


async def outcome_of(asking: DnsCheck) -> Outcome:
    return next(iter((await run_once([asking])).values())).outcome


async def answering_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    length = int.from_bytes(await reader.readexactly(2))
    answer = answer_to(await reader.readexactly(length), "A 192.0.2.1")
    writer.write(len(answer).to_bytes(2) + answer)


async def test_server_is_asked_over_udp() -> None:
    class Serve(asyncio.DatagramProtocol):
        def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(b"noise", addr)
            self.transport.sendto(answer_to(data, "A 192.0.2.1"), addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Serve, ("127.0.0.1", 0))
    try:
        found = await outcome_of(check(port=transport.get_extra_info("sockname")[1]))
    finally:
        transport.close()
    assert found.detail == "NOERROR, 1 A record"


async def test_server_is_asked_over_tcp_and_a_closed_port_is_down() -> None:
    async with stream_server(answering_stream) as port:
        assert (await outcome_of(over_tcp(port=port))).detail == "NOERROR, 1 A record"
    assert (await outcome_of(over_tcp(port=free_port()))).reason is Reason.REFUSED


async def test_server_is_asked_over_tls_and_its_certificate_is_verified(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("dns.example").configure_cert(context)
    async with stream_server(answering_stream, tls=context) as port:
        trusted = check(over=Carrier.TLS, port=port, tls=Tls(sni="dns.example", ca=str(ca)))
        found = await outcome_of(trusted)
        nameless = await outcome_of(check(over=Carrier.TLS, port=port, tls=Tls(ca=str(ca))))
    assert found.detail == "NOERROR, 1 A record"
    assert found.certificate_end is not None
    assert nameless.reason is Reason.TLS


def test_messages_of_a_flood_over_tcp_are_counted() -> None:
    exchange = dns_exchanges(check(over=Carrier.TCP))()
    exchange.connected()
    assert exchange.received(b"\0\0" * (MOST_DATAGRAMS - 1)) is None
    found = exchange.received(b"\0\0" * 30000)
    assert isinstance(found, Outcome)
    assert (found.reason, found.detail) == (Reason.BAD_ANSWER, f"{MOST_DATAGRAMS} messages, and no answer among them")
