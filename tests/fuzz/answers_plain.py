"""Answers in the other protocols without TLS, to begin with, and the checks that they are given to."""

from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from lvs_healthd.config.check_model import (
    AgentCheck,
    Carrier,
    ConversationStep,
    DnsCheck,
    PingCheck,
    TcpCheck,
    UdpCheck,
)
from tests.fuzz.answers_http import WORDS, answer, chunked
from tests.fuzz.control import PART, Control, repeating, with_control
from tests.fuzz.subject import Subject, conversations, seeded

_PLACE: dict[str, Any] = {"name": "check", "address": "192.0.2.1", "port": 1}
_LINE = r"(?m)^220 [^\n]*\n"
GREETED = (
    ConversationStep(expect_regex=_LINE),
    ConversationStep(send=b"EHLO x\r\n"),
    ConversationStep(expect=b"250 ok\r\n"),
    ConversationStep(send=b"QUIT\r\n"),
)


# ---- tcp and udp -----------------------------------------------------------------------------------------------------

_TCP = (
    TcpCheck(**_PLACE, send=b"PING\r\n", expect=b"+PONG"),
    TcpCheck(**_PLACE, expect_regex=r"^220[ -].*\n", max_answer=512),
    TcpCheck(**_PLACE, send=b"AUTH secret-of-ours\r\n", expect=b"OK"),
)
_STEPS = (
    TcpCheck(**_PLACE, steps=GREETED),
    TcpCheck(**_PLACE, steps=(ConversationStep(send=b"a"), *(ConversationStep(expect_regex=r"\A[0-9]+;"),) * 3)),
    TcpCheck(
        **_PLACE, steps=(ConversationStep(expect=b"login:"), ConversationStep(send=b"x"), *GREETED), max_answer=99
    ),
)
_UDP = (
    UdpCheck(**_PLACE, send=b"ping", expect=b"pong"),
    UdpCheck(**_PLACE, send=b"\x1b" + bytes(47), expect_regex=r"\A[\x1c\x24]", max_answer=4096),
    UdpCheck(**_PLACE, send=b"x"),
)
_UDP_STEPS = (
    UdpCheck(
        **_PLACE,
        steps=(
            *(ConversationStep(send=b"\0\1x\0octet\0"), ConversationStep(expect_regex=r"\A\x00\x03\x00\x01")),
            *(ConversationStep(send=b"\0\4\0\1"), ConversationStep(expect=b"end"), ConversationStep(send=b"\0\4\0\2")),
        ),
    ),
    UdpCheck(**_PLACE, steps=(ConversationStep(send=b"a"), ConversationStep(expect_regex="[bc]+d")), max_answer=64),
)
_SPOKEN = (
    *(
        b"+PONG\r\n",
        b"-ERR\r\n",
        b"220-wait\r\n220 mail.example ESMTP\r\n250-SIZE\r\n250 ok\r\n",
        b"1;22;333;",
        b"login: ",
    ),
    *(b"220 mail" + PART + b"\r\n" + PART + b"250 ok\r\n221 bye\r\n", b"", b"AUTH secret-of-ours OK", b"\xff\xfb\x01"),
)
_SPOKEN_LONG = (
    *(
        b"220 mail\r\n" + b"250-EXTENSION 1 2 3\r\n" * 40 + b"250 ok\r\n",
        b"220-hello\r\n" * 60 + b"220 x\r\n250 ok\r\n",
    ),
    *(b"1;" * 600, b"login:" + b" \xff\xfd\x18" * 300),
)
_DATAGRAMS = (
    *(b"pong", b"\x1c" + bytes(47), b"\0\3\0\1data" + PART + b"\0\5\0\0oops\0" + PART + b"end", b"bbbcd", PART * 120),
    (b"x" + PART) * 101,
)
_HEAVY = tuple(
    repeating(b"", part, variant=variant, size=size)
    for variant in range(3)
    for part, size in ((b"220-x\n", 0), (b"1;", 0), (b"b", 0), (b"b", 16), (b"220 x", 16))
)
_SPOKEN_WORDS = (
    b"220 ",
    b"220-",
    b"250 ok\r\n",
    b"\r\n",
    b"+PONG",
    b";",
    b"login:",
    b"pong",
    b"\0\3\0\1",
    b"end",
    PART,
)


# ---- dns -------------------------------------------------------------------------------------------------------------


def _dns(**keys: object) -> DnsCheck:
    return DnsCheck(**_PLACE | {"query": "www.example.org"} | keys)


def _message(*records: str, code: str = "NOERROR", flags: int = dns.flags.AA, kind: str = "A") -> bytes:
    """Return an answer whose identifier is 0, with these records: "A 192.0.2.1"."""
    made = dns.message.make_response(dns.message.make_query("www.example.org", kind, id=0, use_edns=False))
    made.set_rcode(dns.rcode.from_text(code))
    made.flags |= flags
    name = made.question[0].name
    made.answer += [dns.rrset.from_text(name, 300, "IN", *record.split(" ", 1)) for record in records]
    wire: bytes = made.to_wire(max_size=65535)
    return wire


def _identified(asked: bytes, said: bytes, control: Control) -> bytes:
    """Give the messages of an answer the identifier of the query, so that 0 in the input is the right one.

    The control may want that the length before each message of a stream is right.
    """
    is_stream = asked[:1] == b"\0"  # the length of a query is below 256, and the fuzzed identifiers are above
    at = 2 if is_stream else 0
    found = []
    for message in said.split(PART):
        given = message
        if is_stream and control.manner & 1:
            given = min(len(message), 0xFFFF).to_bytes(2, "big") + message
        mark = bytes(a ^ b for a, b in zip(given[at : at + 2], asked[at : at + 2], strict=False))
        found.append(given[:at] + mark + given[at + 2 :])
    return PART.join(found)


_MESSAGES = (
    *(_message("A 192.0.2.1", "A 192.0.2.2"), _message("CNAME x.example.", "A 192.0.2.1"), _message(code="SERVFAIL")),
    *(_message(code="NXDOMAIN"), _message(flags=dns.flags.TC), _message('TXT "v=1 \\" \\200"', kind="TXT")),
    _message(
        "MX 10 mail.example.", "SOA a. b. 1 2 3 4 5", "SRV 0 0 1 x.", "AAAA 2001:db8::1", "CAA 0 issue x", kind="ANY"
    ),
    _message("A 192.0.2.1")[:12] + bytes(99),
)
_DNS: tuple[dict[str, Any], ...] = (
    {},
    {"answer": "192.0.2.2", "authoritative": True},
    {"query_type": "ANY"},
    {"query_type": "TXT", "answer": "v=1"},
)
_OVER_UDP = tuple(_dns(**keys) for keys in _DNS)
_OVER_TCP = tuple(_dns(**keys, over=Carrier.TCP) for keys in _DNS)
_RECORD = b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\0\0\0\0"
_LONG = (
    _message()[:6]
    + b"\1\0\0\0\0\0"
    + _message()[12:]
    + b"".join(_RECORD[:-4] + number.to_bytes(4, "big") for number in range(250))
)
_HEAVY_DNS = tuple(
    with_control(message, variant=variant, manner=1)
    for variant in range(4)
    for message in (_LONG, _LONG[:33] + b"\xc0\x0c" * 2000, _message("TXT " + " ".join(["x"] * 1900), kind="TXT"))
)
_DNS_WORDS = (
    *(b"\xc0\x0c", b"\xc0\x00", b"\x03www\x07example\x03org\x00", b"\0\1\0\1", b"\0\x10\0\1", b"\0\x05\0\1", PART),
    *(b"\0\x29\x04\xd0", b"\x84\x00\0\1\0\1\0\0\0\0", b"\0\xff\0\1", b"\0\x06\0\1", b"\xff\xff", b"\0\x2e\0\1"),
)


# ---- ping and agent --------------------------------------------------------------------------------------------------

_SENT = b"{sent}"
_IPV4_HEADER = b"\x45" + bytes(19)


def _echoed(asked: bytes, said: bytes, _control: Control) -> bytes:
    """Put what the request carries where the input has a place for it."""
    return said.replace(_SENT, asked[4:])


_PINGS = (
    *(
        _IPV4_HEADER + b"\0\0\0\0" + _SENT,
        b"\x46" + bytes(23) + b"\0\0\xff\xff" + _SENT,
        b"\x81\0\0\0" + _SENT,
        b"\x45",
    ),
    *(_IPV4_HEADER + b"\3\1\0\0" + _SENT, (b"\x08\0\0\0" + PART) * 101, b"", PART),
)
_AGENTS = (AgentCheck(**_PLACE), AgentCheck(**_PLACE, send=b"web\n"))
_AGENTS_HTTP = (AgentCheck(**_PLACE, path="/agent", host="web.example"),)
_LINES = (
    *(
        b"up 75%\n",
        b"down # why \xff\n",
        b"ready\tdrain, maxconn:30\r\n",
        b"99999% 100000%\n",
        b"\n",
        b"MAINT\r",
        b"#\n",
    ),
    *(b"up" * 700, b"fail#\n", b"stopped", b"\xb2% up\n"),
)
_AGENT_WORDS = (
    b"up",
    b"down",
    b"fail",
    b"stopped",
    b"ready",
    b"drain",
    b"maint",
    b"75%",
    b"maxconn:",
    b"#",
    b"\n",
    b"\t,",
)

SUBJECTS = (
    Subject(
        *("tcp", ("probes/tcp.py", "probes/expect.py"), conversations(_TCP)),
        *(seeded(_SPOKEN, len(_TCP)), _SPOKEN_WORDS, _HEAVY),
    ),
    Subject(
        *("tcp-steps", ("probes/conversation.py", "probes/expect.py"), conversations(_STEPS)),
        *(seeded((*_SPOKEN, *_SPOKEN_LONG), len(_STEPS)), _SPOKEN_WORDS, _HEAVY),
    ),
    Subject(
        *("udp", ("probes/udp.py",), conversations(_UDP, may_close=False)),
        *(seeded(_DATAGRAMS, len(_UDP)), _SPOKEN_WORDS, _HEAVY),
    ),
    Subject(
        *("udp-steps", ("probes/conversation.py",), conversations(_UDP_STEPS, may_close=False)),
        *(seeded(_DATAGRAMS, len(_UDP_STEPS)), _SPOKEN_WORDS, _HEAVY),
    ),
    Subject(
        *("dns-udp", ("probes/dns.py",), conversations(_OVER_UDP, _identified, may_close=False)),
        *(seeded(_MESSAGES, len(_DNS)), _DNS_WORDS, _HEAVY_DNS),
    ),
    Subject(
        *("dns-tcp", ("probes/dns.py",), conversations(_OVER_TCP, _identified)),
        *(seeded(_MESSAGES, len(_DNS), manner=1) + seeded(_MESSAGES[:2], len(_DNS)), _DNS_WORDS, _HEAVY_DNS),
    ),
    Subject(
        "ping-ipv4",
        ("probes/ping.py",),
        conversations((PingCheck(name="ping", address="192.0.2.1", port=0),), _echoed, may_close=False),
        *(seeded(_PINGS), (_SENT, _IPV4_HEADER, PART)),
    ),
    Subject(
        "ping-ipv6",
        ("probes/ping.py",),
        conversations((PingCheck(name="ping", address="2001:db8::1", port=0),), _echoed, may_close=False),
        *(seeded(_PINGS), (_SENT, b"\x81\0\0\0", PART)),
    ),
    Subject(
        *("agent", ("probes/agent.py",), conversations(_AGENTS)),
        *(seeded(_LINES, len(_AGENTS)), _AGENT_WORDS),
    ),
    Subject(
        *("agent-http", ("probes/agent.py", "probes/http_body.py"), conversations(_AGENTS_HTTP)),
        *(seeded([*map(answer, _LINES), *map(chunked, _LINES)]), _AGENT_WORDS + WORDS),
    ),
)
MESSAGES, identified, SPOKEN = _MESSAGES, _identified, (*_SPOKEN, *_SPOKEN_LONG)
