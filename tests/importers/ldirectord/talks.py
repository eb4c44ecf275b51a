"""Servers that answer in this way or that, and what ldirectord finds of them (made by `oracle_outcomes.py`)."""

import re
from typing import NamedTuple

PORT = "PORT"
"""Stands for the server's port in the lines of a virtual."""

LDAP_BOUND = bytes.fromhex("300c02010161070a010004000400")
LDAP_REFUSED = bytes.fromhex("300c02010161070a013104000400")
LDAP_ENTRY = bytes.fromhex("300c02010264070403623d313000")
LDAP_DONE = bytes.fromhex("300c02010265070a010004000400")
LDAP_NONE = bytes.fromhex("300c02010265070a012004000400")


class Talk(NamedTuple):
    """A server, and the check that asks it."""

    name: str
    lines: str
    """The lines of the virtual, apart by semicolons."""
    greeting: bytes
    """What the server says at once."""
    replies: tuple[tuple[bytes, bytes], ...]
    """Expressions for what it hears, with its answers. The first that matches counts."""
    is_up: bool
    """What ldirectord finds."""
    closes: bool = False
    """Whether the server closes the connection after an answer."""


def reply(talk: Talk, heard: bytes) -> bytes:
    """Return what a server answers."""
    return next((answer for pattern, answer in talk.replies if re.search(pattern, heard)), b"")


def _http(status: str, body: bytes, more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def _web(name: str, lines: str, answer: bytes, *, is_up: bool) -> Talk:
    return Talk(name, f"service=http;{lines}", b"", ((rb"GET |HEAD ", answer),), is_up, closes=True)


_SMTP = ((rb"EHLO|HELO", b"250 me\r\n"), (rb"QUIT", b"221 bye\r\n"))
_POP = (
    (rb"CAPA", b"-ERR\r\n"),
    (rb"PASS right", b"+OK\r\n"),
    (rb"PASS", b"-ERR no\r\n"),
    (rb"STAT", b"+OK 1 2\r\n"),
    (rb"", b"+OK\r\n"),
)
_LDAP = ((rb"\A0.\x02\x01\x01", LDAP_BOUND),)
_MOVED = _http("302 Found", b"", "Location: /other\r\n")

TALKS = (
    _web("http 200", "", _http("200 OK", b"x"), is_up=True),
    _web("http 204", "", b"HTTP/1.1 204 No Content\r\n\r\n", is_up=True),
    _web("http 503", "", _http("503 Sick", b"x"), is_up=False),
    _web("http body matches", 'receive="o+k"', _http("200 OK", b"it is ook"), is_up=True),
    _web("http body does not match", 'receive="ok"', _http("200 OK", b"no"), is_up=False),
    _web("http dot and newline", 'receive="a.b"', _http("200 OK", b"a\nb"), is_up=False),
    _web("http beginning", 'receive="^b"', _http("200 OK", b"a\nb"), is_up=False),
    _web("http end before a newline", 'receive="b$"', _http("200 OK", b"a\nb\n"), is_up=True),
    _web("http end before two newlines", 'receive="b$"', _http("200 OK", b"a\nb\n\n"), is_up=False),
    _web("http end Z", r'receive="b\Z"', _http("200 OK", b"a\nb\n"), is_up=True),
    _web("http case", 'receive="(?i)OK"', _http("200 OK", b"ok"), is_up=True),
    _web("http header", 'receive="Content"', _http("200 OK", b"ok"), is_up=False),
    _web("http head", "httpmethod=HEAD", _http("200 OK", b""), is_up=True),
    Talk(
        "http moved",
        "service=http",
        b"",
        ((rb"GET /other", _http("200 OK", b"x")), (rb"GET", _MOVED)),
        is_up=True,
    ),
    Talk("smtp", "service=smtp", b"220 me\r\n", _SMTP, is_up=True),
    Talk("smtp in lines", "service=submission", b"220-me\r\n220 too\r\n", _SMTP, is_up=True),
    Talk("smtp busy", "service=smtp", b"421 busy\r\n", (), is_up=False, closes=True),
    Talk("smtp refuses", "service=smtp", b"220 me\r\n", ((rb"EHLO|HELO", b"550 no\r\n"),), is_up=False),
    Talk("pop", 'service=pop;login="u";passwd="right"', b"+OK\r\n", _POP, is_up=True),
    Talk("pop wrong password", 'service=pop;login="u";passwd="wrong"', b"+OK\r\n", _POP, is_up=False),
    Talk("pop busy", 'service=pop;login="u";passwd="right"', b"-ERR busy\r\n", (), is_up=False, closes=True),
    Talk("nntp", "service=nntp", b"200 hi\r\n", (), is_up=True),
    Talk("nntp refuses", "service=nntp", b"502 no\r\n", (), is_up=False),
    Talk("ldap", 'service=ldap;request="b=1"', b"", (*_LDAP, (rb"\x02\x01\x02c", LDAP_ENTRY + LDAP_DONE)), is_up=True),
    Talk(
        "ldap entry and end apart",
        'service=ldap;request="b=1";receive="b="',
        b"",
        (*_LDAP, (rb"\x02\x01\x02c", LDAP_ENTRY + LDAP_DONE)),
        is_up=True,
    ),
    Talk("ldap no entry", 'service=ldap;request="b=1"', b"", (*_LDAP, (rb"\x02\x01\x02c", LDAP_NONE)), is_up=False),
    Talk("ldap success without", 'service=ldap;request="b=1"', b"", (*_LDAP, (rb"\x02c", LDAP_DONE)), is_up=False),
    Talk("ldap refuses", 'service=ldap;request="b=1"', b"", ((rb"", LDAP_REFUSED),), is_up=False),
    Talk(
        "simpletcp", r'service=simpletcp;request="PING\n";receive="PONG"', b"", ((rb"PING\n", b"PONG\n"),), is_up=True
    ),
    Talk("simpletcp other", 'service=simpletcp;request="PING";receive="PONG"', b"", ((rb"", b"x\n"),), False, True),
    Talk("simpletcp a line", 'service=simpletcp;request="A";receive="^P$"', b"", ((rb"", b"x\nP\n"),), True, True),
    Talk("simpletcp half a line", 'service=simpletcp;request="A";receive="^P$"', b"", ((rb"", b"P x\n"),), False, True),
    Talk("simpletcp any", 'service=simpletcp;request="A"', b"", ((rb"", b"x\n"),), True, True),
    Talk("sip", 'service=sip;login="a@b"', b"", ((rb"OPTIONS", b"SIP/2.0 200 OK\r\n\r\n"),), is_up=True),
    Talk("sip 404", 'service=sip;login="a@b"', b"", ((rb"OPTIONS", b"SIP/2.0 404 No\r\n\r\n"),), is_up=False),
    Talk("sip fine", 'service=sip;login="a@b"', b"", ((rb"OPTIONS", b"SIP/2.0 200 Fine\r\n\r\n"),), is_up=False),
    Talk(
        "proxy",
        'service=http_proxy;request="http://www.example.org/a";receive="o.k"',
        b"",
        ((rb"GET http://www.example.org/a HTTP/1", _http("200 OK", b"it is o k")),),
        is_up=True,
        closes=True,
    ),
    Talk(
        "proxy other body",
        'service=http_proxy;request="http://www.example.org/a";receive="o.k"',
        b"",
        ((rb"GET http://www.example.org/a HTTP/1", _http("200 OK", b"no", "X-A: o k\r\n")),),
        is_up=False,
        closes=True,
    ),
    Talk(
        "proxy 502",
        'service=http_proxy;request="http://www.example.org/a"',
        b"",
        ((rb"GET ", _http("502 Bad", b"no")),),
        is_up=False,
        closes=True,
    ),
    Talk("connect", "checktype=connect", b"", (), is_up=True),
)


def text_of(talk: Talk, port: int) -> str:
    """Return the file with the check of a server on loopback."""
    lines = "".join(f"\t{line}\n" for line in talk.lines.split(";") if line)
    seconds = 20 if talk.is_up else 1
    times = f"negotiatetimeout={seconds}\nchecktimeout={seconds}\n"
    return f"{times}virtual=192.0.2.1:7\n\treal=127.0.0.1:{port} gate\n{lines}"
