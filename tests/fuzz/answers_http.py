"""Answers of servers that speak HTTP/1.1, to begin with, and the checks that they are given to."""

import gzip
import json
import zlib
from base64 import b64encode
from hashlib import sha1, sha256
from typing import Any

from lvs_healthd.config.check_model import HttpCheck, Kept
from tests.fuzz.control import PART, Control, repeating
from tests.fuzz.subject import Subject, conversations, seeded

BODY = b'{"status": "ok", "list": [1, 2.5, null, {"deep": true}], "text": "\\u00e4"}'

HEAD = b"HTTP/1.1 200 OK\r\n"


def http(**keys: Any) -> HttpCheck:
    """Return an http check with these keys."""
    fields: dict[str, Any] = {"name": "http", "address": "192.0.2.1", "port": 80, "host": "web.example"}
    return HttpCheck(**fields | keys)


def answer(body: bytes, *headers: bytes) -> bytes:
    """Return a whole answer whose length is given."""
    lines = (b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(body: bytes, size: int = 5, extension: bytes = b"", trailers: bytes = b"") -> bytes:
    """Return a whole answer in chunks."""
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(part), extension, part) for part in parts)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n" + trailers + b"\r\n"


def _redirect(location: bytes, status: int = 301, *headers: bytes, body: bytes = b"") -> bytes:
    lines = (b"HTTP/1.1 %d Moved" % status, b"Location: " + location, b"Content-Length: %d" % len(body), *headers)
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


HEADS = (
    HEAD + b"Server: nginx\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.0 503 Unavailable\nRetry-After: 3\n\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/2 200\r\nA: b\r\n folded\r\n\tagain\r\n\r\n",
    HEAD + b"Content-Type: text/html\r\nX-State: ready\r\nX-State: up\r\n\r\n",
    HEAD + b"Content-Length: 5, 5\r\nContent-Length: +7x\r\n\r\nhello",
    b"\r\n\nHTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2\r\n",
)
BODIES = (answer(BODY), answer(b"hello world", b"X-State: ready"), HEAD + b"\r\n" + BODY, answer(b""))
CHUNKS = (chunked(BODY), chunked(BODY, 1), chunked(BODY, 4096, b";a=b", b"T: r\r\n"), chunked(b""))
JSON = tuple(
    answer(body)
    for body in (
        *(BODY, b"\xef\xbb\xbf{}", b"[]", b"null", b'{"status":"\\ud83d\\ude00"}', b'{"status":18446744073709551616}'),
        *(b'{"status":1e308}', b'{"status":-0.0}', b'{"list":[[[[[[[[]]]]]]]]}', b'{"status":"\xff"}'),
        json.dumps({"list": list(range(50)), "status": "x" * 99}).encode(),
    )
)
CODED = (
    *(
        answer(gzip.compress(BODY, mtime=0), b"Content-Encoding: gzip"),
        answer(zlib.compress(BODY), b"Content-Encoding: deflate"),
    ),
    *(chunked(gzip.compress(BODY, mtime=0)).replace(b"\r\n\r\n", b"\r\nContent-Encoding: x-gzip\r\n\r\n", 1),),
    *(answer(BODY, b"Content-Encoding: gzip"), answer(BODY, b"Content-Encoding: br, identity")),
    *(HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(9999), mtime=0),),
)
REDIRECTS = tuple(
    PART.join((redirect, answer(BODY)))
    for redirect in (
        *(
            _redirect(b"/next"),
            _redirect(b"next?a=b#c", 302, b"Connection: close"),
            _redirect(b"http://web.example:80/"),
        ),
        *(
            _redirect(b"https://web.example/"),
            _redirect(b"//[::1]:x/", 307),
            _redirect(b"/a/../../b", 308, body=b"gone"),
        ),
        chunked(b"gone").replace(b"200 OK", b"303 See\r\nLocation: /other", 1),
        PART.join((_redirect(b"/1"), _redirect(b"/2"), _redirect(b"/3"))),
    )
)
SEQUENCES = (
    PART.join((answer(BODY), answer(b"ok"), answer(BODY))),
    PART.join((chunked(BODY), chunked(b"ok"), answer(BODY, b"Connection: close"))),
    PART.join((answer(BODY, b"Connection: close"), answer(b"ok"))),
    PART.join((answer(BODY), _redirect(b"/x"), answer(b"ok"), HEAD + b"\r\n" + BODY)),
)
_ACCEPT = b"{accept}"
WEBSOCKETS = tuple(
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + rest
    for rest in (
        *(_ACCEPT + b"\r\n\r\n", b"x\r\n\r\n", _ACCEPT + b"\r\nSec-WebSocket-Protocol: chat\r\n\r\n"),
        _ACCEPT + b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n\x81\x00",
    )
)
WORDS = (
    *(b"HTTP/1.1 ", b"HTTP/1.0 200", b"HTTP/2 ", b"\r\n\r\n", b"\n\n", b"\r\n ", b"Content-Length: ", b"Location: /"),
    *(b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Content-Encoding: deflate\r\n", b"0\r\n\r\n"),
    *(
        b"Connection: close\r\n",
        b"Connection: keep-alive\r\n",
        b"9223372036854775807",
        b"ffffffffffffffff\r\n",
        b"100 ",
    ),
    *(b"301 ", b"204 ", b"304 ", b"X-State: ", b"http://web.example/", b"\x1f\x8b\x08\x00", b"\x78\x9c", b"\0", PART),
    *(
        b"1\r\nx\r\n",
        b"1\nx\n",
        b"a:\n",
        b'{"status":',
        b"\\u0000",
        b"\\ud800",
        b"e999",
        b"[[",
        b"Upgrade: websocket\r\n",
    ),
    *(b"Sec-WebSocket-Accept: ", _ACCEPT, b"Sec-WebSocket-Protocol: ", b"Sec-WebSocket-Extensions: "),
)


_CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
_EXPENSIVE = (
    *((HEAD, b"a:\n"), (HEAD, b"X-State:\n"), (HEAD + b"X-State: x\n", b" \n"), (b"", b"HTTP/1.1 100\n\n")),
    *((_CHUNKED, b"1\nx\n"), (_CHUNKED, b"1\r\nx\r\n"), (_CHUNKED + b"0\n", b"a\n"), (_CHUNKED, b"1;a\nx\n")),
    *((HEAD + b"Connection: ", b","), (HEAD + b"Transfer-Encoding: ", b","), (HEAD + b"Content-Encoding: ", b",")),
    *((b"HTTP/1.1 301 M\nLocation: /", b"../"), (b"HTTP/1.1 301 M\nLocation: /\n", b"a:\n")),
    (b"HTTP/1.1 301 M\nLocation: /\nTransfer-Encoding: chunked\n\n", b"1\nx\n"),
    *((HEAD + b'\r\n{"list":', b"["), (HEAD + b"\r\n[", b"[],"), (HEAD + b'\r\n{"status":', b"1"), (b"", b"\n")),
)
"""Beginnings of answers, and what takes long to read when it is repeated after them."""


def _expensive(variants: int, end: bytes = b"\n\n") -> tuple[bytes, ...]:
    return tuple(
        repeating(before, part, end, variant=variant) for variant in range(variants) for before, part in _EXPENSIVE
    )


def _accepting(asked: bytes, said: bytes, _control: Control) -> bytes:
    """Put the right answer to the key of a handshake where the input has a place for it (RFC 6455, section 1.3)."""
    key = asked.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
    accept = sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    return said.replace(_ACCEPT, b64encode(accept))


def _coded(_asked: bytes, said: bytes, control: Control) -> bytes:
    """Compress what is said if the control wants it, so that changes in it arrive decoded."""
    if not control.manner & 1:
        return said
    return HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(said, mtime=0)


_STATUS = (http(), http(method="HEAD", status=((200, 299), (503, 503))), http(http_version="1.0"))
_HEADERS = (
    http(expect_headers=(("X-State", "ready"),)),
    http(expect_headers_regex=(("x-state", "^(ready|up)$"),), headers=(("Authorization", "Bearer secret-of-ours"),)),
)
_BODY = (
    http(body="ok"),
    http(body_regex=r"hello\s+world", max_body=40),
    http(absent="deep", body="status"),
    http(absent_regex="x{3}", headers=(("X-Api-Key", "hello"),)),
    http(body="ok", max_body=2**20),
)
_JSON = (
    http(json=(("status", '"ok"'), ("list.3.deep", "true"))),
    http(json=(("list.1", "2.5"), ("status", "1"))),
    http(json=(("status", "null"),), max_body=64),
)
_DIGEST = (http(digest=f"sha256:{sha256(BODY).hexdigest()}"), http(digest=f"md5:{'0' * 32}", max_body=64))
_REDIRECTS = (http(redirects=2, body="ok"), http(redirects=1, method="HEAD"), http(redirects=3, path="/a/b?c"))
_SEQUENCES = (
    http(requests=(http(body="ok"), http(path="/2", body="ok"), http(path="/3", json=(("status", '"ok"'),)))),
    http(requests=(http(), http(method="HEAD"), http(redirects=1), http(expect_headers=(("X-State", "ready"),)))),
)
_WEBSOCKET = (
    http(websocket=True, status=((101, 101),)),
    http(websocket=True, status=((101, 101),), headers=(("Sec-WebSocket-Protocol", "chat, stomp"),)),
)
_KEPT = (
    http(kept=Kept()),
    http(kept=Kept(), body="ok"),
    http(kept=Kept(), method="HEAD"),
    http(kept=Kept(), redirects=2),
)
_READING = ("probes/http.py", "probes/http_answer.py")

SUBJECTS = (
    Subject(
        "http-status", _READING, conversations(_STATUS), seeded(HEADS, len(_STATUS)), WORDS, _expensive(len(_STATUS))
    ),
    Subject(
        *("http-headers", (*_READING, "probes/http_headers.py"), conversations(_HEADERS)),
        *(seeded(HEADS, len(_HEADERS)), WORDS, _expensive(len(_HEADERS))),
    ),
    Subject(
        *("http-body", (*_READING, "probes/http_body.py", "probes/expect.py"), conversations(_BODY)),
        *(seeded((*BODIES, *CHUNKS, *HEADS), len(_BODY)), WORDS, _expensive(len(_BODY))),
    ),
    Subject("http-chunks", _READING, conversations(_BODY), seeded(CHUNKS, len(_BODY)), WORDS, _expensive(len(_BODY))),
    Subject(
        *("http-coding", ("probes/http_coding.py",), conversations(_BODY, _coded)),
        *(seeded(CODED, len(_BODY)) + seeded((BODY,), 2, manner=1), WORDS),
    ),
    Subject(
        "http-json",
        ("probes/http_json.py",),
        conversations(_JSON),
        seeded(JSON, len(_JSON)),
        WORDS,
        _expensive(len(_JSON)),
    ),
    Subject("http-digest", ("probes/http_body.py",), conversations(_DIGEST), seeded(BODIES, len(_DIGEST)), WORDS),
    Subject(
        *("http-redirects", ("probes/http_redirects.py",), conversations(_REDIRECTS)),
        *(seeded((*REDIRECTS, *HEADS), len(_REDIRECTS)), WORDS, _expensive(len(_REDIRECTS))),
    ),
    Subject(
        *("http-requests", ("probes/http_sequence.py", "probes/http_answer.py"), conversations(_SEQUENCES)),
        *(seeded(SEQUENCES, len(_SEQUENCES)), WORDS, _expensive(len(_SEQUENCES))),
    ),
    Subject(
        *("http-kept", ("probes/http_kept.py", "probes/http_answer.py"), conversations(_KEPT)),
        *(seeded((*SEQUENCES, *HEADS), len(_KEPT)), WORDS, _expensive(len(_KEPT))),
    ),
    Subject(
        *("websocket", ("probes/http_websocket.py",), conversations(_WEBSOCKET, _accepting)),
        *(seeded(WEBSOCKETS, len(_WEBSOCKET)), WORDS),
    ),
)
