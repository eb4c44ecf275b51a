"""grpc checks: one question to the health service of a gRPC server (grpc.health.v1.Health/Check). Sans-I/O.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and doc/health-checking.md. The message is so small that
it needs no library for protocol buffers.
"""

import functools
import re
from collections.abc import Callable
from typing import NamedTuple

from lvs_healthd.config.check_model import Carrier, GrpcCheck
from lvs_healthd.probes.exchange import Farewell, SingleExchange, Step, quote, what_happened
from lvs_healthd.probes.http2 import Connection, Data, End, Event, Fields, Headers, Request
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, up

_PATH = b"/grpc.health.v1.Health/Check"
_MOST_BYTES = 4096
"""The longest answer that is read. A HealthCheckResponse has two bytes after its length."""
_PREFIX_BYTES = 5
"""Before each message are a byte that says whether it is compressed, and its length in four bytes."""
_SERVICE_FIELD, _STATUS_FIELD = b"\x0a", 1
_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
"""The kinds of fields in protocol buffers."""
_MOST_VARINT_BYTES = 10
_SERVING = 1
_STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
"""The values of HealthCheckResponse.ServingStatus."""
_CODES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
"""The names of the values of grpc-status."""
_OK, _NOT_FOUND, _UNIMPLEMENTED = "OK", "NOT_FOUND", "UNIMPLEMENTED"
_STATUS = re.compile(rb"[0-9]{3}")
_SHOWN = 80
"""How many bytes of the server's own message are shown."""
_MOST_TIMEOUT_MS = 99_999_999
"""The largest value of grpc-timeout: eight digits."""

_PASSED = up("SERVING")


def grpc_exchanges(check: GrpcCheck) -> Callable[[], SingleExchange]:
    """Return a factory that begins a conversation for each probe of this check."""
    question = _Question(check.service, _request(check))
    return lambda: _Asking(question)


class _Question(NamedTuple):
    """What a check asks for."""

    service: str
    request: Request


def _request(check: GrpcCheck) -> Request:
    name = check.service.encode()
    message = _SERVICE_FIELD + _varint(len(name)) + name if name else b""
    scheme = b"https" if check.over is Carrier.TLS else b"http"
    timeout = b"%dm" % min(int(check.timeout * 1000), _MOST_TIMEOUT_MS)
    fields = [
        *((b":method", b"POST"), (b":scheme", scheme), (b":authority", check.authority.encode()), (b":path", _PATH)),
        *((b"te", b"trailers"), (b"grpc-timeout", timeout)),
        *((b"content-type", b"application/grpc"), (b"user-agent", b"lvs-healthd")),
    ]
    return Request(fields, b"\0" + len(message).to_bytes(4, "big") + message)


def _varint(number: int) -> bytes:
    """Encode a number as protocol buffers do: seven bits in a byte, the lowest first."""
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*parts, number))


class _Asking:
    """The question of one probe, and its answer."""

    __slots__ = ("_answer", "_connection", "_has_head", "_question")

    def __init__(self, question: _Question) -> None:
        self._question = question
        self._connection = Connection(())
        self._answer = bytearray()
        self._has_head = False

    def connected(self) -> Step:
        return self._connection.ask(self._question.request) or self._connection.to_send()

    def received(self, data: bytes) -> Step:
        for event in self._connection.feed(data):
            if isinstance(event, Outcome):
                return event
            outcome = self._take(event)
            if outcome is not None:
                return Farewell(self._connection.leave(), outcome, peer_may_close=True)
        return self._connection.to_send() or None

    def closed(self) -> Outcome:
        return down(Reason.CLOSED_EARLY, f"connection closed {self._where()}")

    def failed(self, outcome: Outcome) -> Outcome:
        if not self._has_head or outcome.kind is OutcomeKind.UNSURE:
            return outcome
        return down(outcome.reason, f"{what_happened(outcome)} {self._where()}")

    def expired(self, timeout: str) -> Outcome:
        what = "answer incomplete after" if self._has_head else "connected, but no answer in"
        return down(Reason.TIMEOUT, f"{what} {timeout}")

    def end(self) -> None:
        self._connection.end()

    def _where(self) -> str:
        return "before the end of the answer" if self._has_head else "without an answer"

    def _take(self, event: Event) -> Outcome | None:
        match event:
            case Headers(fields=fields) if not self._has_head:
                self._has_head = True
                return _judged_head(fields, self._question.service)
            case Headers(fields=fields):
                return _judged_end(fields, self._question.service) or _judged_answer(bytes(self._answer))
            case Data(data=data):
                self._answer += data
                if len(self._answer) > _MOST_BYTES:
                    return down(Reason.TOO_LARGE, f"an answer of more than {_MOST_BYTES} bytes")
            case End():
                return down(Reason.BAD_ANSWER, "no gRPC answer: it ends without grpc-status")
        return None


def _values(fields: Fields) -> dict[bytes, bytes]:
    return dict(fields)


def _judged_head(fields: Fields, service: str) -> Outcome | None:
    """Return the outcome of an answer whose first headers decide; None if its message is needed.

    An answer without a message has grpc-status here ("Trailers-Only").
    """
    values = _values(fields)
    status, kind = values[b":status"], values.get(b"content-type", b"")
    if b"grpc-status" in values:
        return _judged_end(fields, service) or down(Reason.BAD_ANSWER, "grpc-status is OK, but there is no answer")
    if status != b"200":
        shown = status.decode() if _STATUS.fullmatch(status) else quote(status)
        return down(Reason.BAD_STATUS, f"HTTP status {shown}, and gRPC has 200")
    if not kind.startswith(b"application/grpc"):
        return down(Reason.BAD_ANSWER, f"no gRPC answer: its content-type is {quote(kind, _SHOWN)}")
    return None


def _judged_end(fields: Fields, service: str) -> Outcome | None:
    """Return the outcome of an answer with these trailers; None if the call itself went well."""
    values = _values(fields)
    code = _code(values.get(b"grpc-status"))
    if code == _OK:
        return None
    message = values.get(b"grpc-message", b"")
    said = f": {quote(message, _SHOWN)}" if message else ""
    return _failed(code, service, said)


def _code(value: bytes | None) -> str:
    """Return the name of a grpc-status."""
    if value is None:
        return "missing"
    text = value.decode("latin-1")
    known = text.isascii() and text.isdigit() and len(text) <= 2 and int(text) < len(_CODES)
    return _CODES[int(text)] if known else quote(value)


@functools.lru_cache(maxsize=1024)
def _failed(code: str, service: str, said: str) -> Outcome:
    """Return the same object for the same failure, so that thousands of servers share it."""
    if code == _UNIMPLEMENTED:
        return down(Reason.BAD_ANSWER, f"it has no health service (grpc.health.v1): grpc-status is UNIMPLEMENTED{said}")
    if code == _NOT_FOUND:
        about = f"the service {quote(service.encode())}" if service else "the state of the server as a whole"
        return down(Reason.BAD_ANSWER, f"its health service does not know {about}: grpc-status is NOT_FOUND{said}")
    return down(Reason.BAD_ANSWER, f"grpc-status is {code}{said}")


def _judged_answer(answer: bytes) -> Outcome:
    """Judge the message of an answer whose grpc-status is OK."""
    length = int.from_bytes(answer[1:_PREFIX_BYTES], "big")
    if len(answer) < _PREFIX_BYTES or len(answer) != _PREFIX_BYTES + length:
        return down(Reason.BAD_ANSWER, f"not a message: {quote(answer)}")
    if answer[0]:
        return down(Reason.BAD_ANSWER, "the message is compressed, although the question asks for none")
    try:
        status = _status(answer[_PREFIX_BYTES:])
    except (IndexError, ValueError):
        return down(Reason.BAD_ANSWER, f"not a HealthCheckResponse: {quote(answer[_PREFIX_BYTES:])}")
    return _PASSED if status == _SERVING else _not_serving(status)


@functools.lru_cache(maxsize=64)
def _not_serving(status: int) -> Outcome:
    return down(Reason.BAD_ANSWER, f"its state is {_STATUSES.get(status, status)}, expected SERVING")


def _status(message: bytes) -> int:
    """Return the field `status` of a HealthCheckResponse, which is 0 if it is not there. Other fields are skipped.

    Raises `IndexError` or `ValueError` for bytes that are no message.
    """
    status = position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, position = _read_varint(message, position)
            status = value if number == _STATUS_FIELD else status
            continue
        length = {_FIXED_64: 8, _FIXED_32: 4}.get(kind)
        if kind == _BYTES:
            length, position = _read_varint(message, position)
        if length is None or position + length > len(message):
            raise ValueError("no such field")
        position += length
    return status


def _read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it. Raises `IndexError` and `ValueError`."""
    number = 0
    for count in range(_MOST_VARINT_BYTES):
        byte = data[position + count]
        number |= (byte & 0x7F) << 7 * count
        if not byte & 0x80:
            return number, position + count + 1
    raise ValueError("a number that is too long")
