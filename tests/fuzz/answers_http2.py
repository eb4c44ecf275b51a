"""Answers of servers that speak HTTP/2 and gRPC, to begin with, and the checks that they are given to."""

from collections.abc import Iterable

from hpack import Encoder

from lvs_healthd.config.check_model import GrpcCheck
from tests.fuzz.answers_http import BODY, http
from tests.fuzz.control import PART, Control, repeating
from tests.fuzz.subject import Subject, conversations, seeded
from tests.probes.http2_peer import (
    CONTINUATION,
    DATA,
    HEADERS,
    PING,
    PRIORITY,
    PUSH,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    goaway,
)

END_STREAM, END_HEADERS = 0x1, 0x4

Fields = Iterable[tuple[str, str]]

_WRITTEN, _LONG = 0x1, 0x80
"""Bits of `manner`: the answer is a list of short frames; the frames have two bytes of length."""


def said(fields: Fields, *body: bytes, trailers: Fields = (), stream: int = 1) -> bytes:
    """Return a whole answer as frames."""
    encoder = Encoder()
    flags = END_HEADERS | (0 if body or trailers else END_STREAM)
    frames = [frame(HEADERS, encoder.encode(fields), flags=flags, stream=stream)]
    frames += [frame(DATA, part, stream=stream) for part in body[:-1]]
    frames += [frame(DATA, part, flags=0 if trailers else END_STREAM, stream=stream) for part in body[-1:]]
    if trailers:
        frames.append(frame(HEADERS, encoder.encode(trailers), flags=END_HEADERS | END_STREAM, stream=stream))
    return b"".join(frames)


def framed(_asked: bytes, answer: bytes, control: Control) -> bytes:
    """Write an answer as frames if the control wants it, so that changes in it leave the lengths of frames right.

    Each frame then is its type, flags, stream and length in a byte each, and its payload.
    """
    if not control.manner & _WRITTEN:
        return answer
    frames = [frame(SETTINGS)]
    position = 0
    while position + 4 <= len(answer):
        kind, flags, stream, length = answer[position : position + 4]
        length *= 64 if control.manner & _LONG else 1
        payload = answer[position + 4 : position + 4 + length]
        frames.append(frame(kind % 11, payload, flags=flags, stream=stream & 7))
        position += 4 + length
    return b"".join(frames)


def _short(data: bytes) -> bytes:
    """Return frames in the form that `framed` reads. Those whose payload is too long for it are left out."""
    found, position = b"", 0
    while position < len(data):
        length = int.from_bytes(data[position : position + 3], "big")
        if length < 256:
            found += bytes((data[position + 3], data[position + 4], data[position + 8], length))
            found += data[position + 9 : position + 9 + length]
        position += 9 + length
    return found


_GREETING = frame(SETTINGS, b"\0\x03\0\0\0\x64\0\x04\0\0\xff\xff") + frame(SETTINGS, flags=1)
_OK = [(":status", "200"), ("content-type", "text/html"), ("x-state", "ready")]
_MOVED = [(":status", "301"), ("location", "/next"), ("content-length", "0")]
_ANSWERS = tuple(
    _GREETING + each
    for each in (
        *(said(_OK, BODY), said(_OK), said([(":status", "503")]), said(_OK, b"a", b"", b"b", trailers=[("t", "r")])),
        *(said([(":status", "100")]) + said(_OK, BODY), frame(PING, bytes(8)) + said(_OK, BODY) + goaway(1)),
        *(goaway(0, 11), frame(RST_STREAM, b"\0\0\0\7", stream=1), frame(PUSH, b"\0\0\0\2\x88", flags=4, stream=1)),
        *(frame(WINDOW_UPDATE, b"\0\0\1\0") + said(_OK, BODY), frame(PRIORITY, bytes(5), stream=3)),
        frame(HEADERS, b"\x88", stream=1) + frame(CONTINUATION, b"\x40\x01a\x01b", flags=4, stream=1),
        frame(HEADERS, b"\x3f\xe1\x1f\x20\x88", flags=5, stream=1),
        PART.join((said(_MOVED), said(_OK, BODY, stream=3))),
        PART.join((frame(SETTINGS, b"\0\x03\0\0\0\1") + said(_MOVED), said(_MOVED, stream=3), said(_OK, stream=5))),
    )
)
_GRPC_OK = [(":status", "200"), ("content-type", "application/grpc")]
_DONE = [("grpc-status", "0"), ("grpc-message", "")]
_CALLS = tuple(
    _GREETING + each
    for each in (
        *(said(_GRPC_OK, b"\0\0\0\0\2\x08\x01", trailers=_DONE), said(_GRPC_OK, b"\0\0\0\0\2\x08\x02", trailers=_DONE)),
        *(said([*_GRPC_OK, ("grpc-status", "12"), ("grpc-message", "no")]), said(_GRPC_OK, trailers=_DONE)),
        said(_GRPC_OK, b"\0\0\0\0\x15\x12\1x\x19" + bytes(8) + b"\x25" + bytes(4) + b"\x08\x81\0", trailers=_DONE),
        *(said(_GRPC_OK, b"\1\0\0\0\1x", trailers=_DONE), said([(":status", "404"), ("content-type", "text/html")])),
        said(_GRPC_OK, trailers=[("grpc-status", "5"), ("grpc-message", "unknown")]),
    )
)
_WORDS = (
    *(frame(SETTINGS), frame(SETTINGS, b"\0\x03\0\0\0\0"), frame(SETTINGS, b"\0\x01\0\0\0\0"), frame(PING, bytes(8))),
    *(frame(SETTINGS, b"\0\x04\0\0\0\0"), goaway(0), goaway(2**31 - 1), frame(WINDOW_UPDATE, b"\x7f\xff\xff\xff")),
    *(b"\x20", b"\x3f\xe1\x1f", b"\x88", b"\x40\x01a\x01b", b"\x08\x03301", b"\x00\x08location\x02/x", b"\xbe", PART),
    *(b"\x00\x0bgrpc-status\x010", b"\x00\x0econtent-length\x015", b"HTTP/1.1 200 OK\r\n\r\n", b"\0\0\0\0\2\x08\x01"),
    *(b"\x00\x0ccontent-type\x10application/grpc", b"\x00\x0econtent-encoding\x04gzip"),
)

HTTP2 = (
    http(http_version="2"),
    http(http_version="2", body="ok", expect_headers=(("x-state", "ready"),)),
    http(http_version="2", redirects=2, body="ok"),
    http(http_version="2", redirects=2, method="POST", send_body="x" * 70000),
    http(http_version="2", json=(("status", '"ok"'),), headers=(("Authorization", "Bearer secret-of-ours"),)),
)
GRPC = (
    GrpcCheck(name="grpc", address="192.0.2.1", port=50051, authority="web.example:50051"),
    GrpcCheck(name="grpc", address="192.0.2.1", port=50051, authority="web.example:50051", service="a.B"),
)
_FILES = ("probes/http2.py", "probes/http2_frames.py")


_EXPENSIVE = (
    *(
        frame(PING, bytes(8)),
        frame(SETTINGS),
        frame(SETTINGS, b"\0\x04\0\0\0\1" * 30),
        frame(WINDOW_UPDATE, b"\0\0\0\1"),
    ),
    *(frame(HEADERS, b"\x08\x03103" + b"\x90" * 99, flags=4, stream=1), frame(HEADERS, b"\x88", flags=4, stream=3)),
    *(frame(PRIORITY, bytes(5), stream=3), frame(DATA, b"x", stream=1), frame(CONTINUATION, b"\x90" * 99, stream=1)),
)
"""Frames that take long to read when they are repeated."""

_HEAVY = tuple(repeating(_GREETING, each, variant=variant) for each in _EXPENSIVE for variant in range(2))


def _seeds(answers: tuple[bytes, ...], variants: int) -> tuple[bytes, ...]:
    return seeded(answers, variants) + seeded(map(_short, answers), variants, manner=_WRITTEN)


SUBJECTS = (
    Subject(
        *("http2", (*_FILES, "probes/http_over_2.py"), conversations(HTTP2, framed)),
        *(_seeds(_ANSWERS, len(HTTP2)), _WORDS, _HEAVY),
    ),
    Subject(
        *("grpc", (*_FILES, "probes/grpc.py"), conversations(GRPC, framed)),
        *(_seeds((*_CALLS, *_ANSWERS), len(GRPC)), _WORDS, _HEAVY),
    ),
)
