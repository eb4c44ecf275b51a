"""http checks: one HTTP/1.1 or HTTP/1.0 request and its answer. Sans-I/O.

The outcome is decided as early as the answer allows: at the end of the headers when only the status counts, or as soon
as the body contains the expected text. Only the whole body shows that something is absent. Until the outcome is known,
a body that ends early, trickles in or never ends cannot pass (RFC 9112, section 8).
"""

from collections.abc import Callable
from typing import Self

from lvs_healthd.config.check_model import HttpCheck, HttpsCheck
from lvs_healthd.config.http_values import MOST_HEADER_BYTES
from lvs_healthd.config.secrecy import parts_of_request
from lvs_healthd.probes.credentials import authorization, secret
from lvs_healthd.probes.exchange import Farewell, SingleExchange, Step, quote, what_happened
from lvs_healthd.probes.expect import Search
from lvs_healthd.probes.http_answer import (
    WITHOUT_BODY,
    AnswerError,
    ChunkReader,
    Head,
    HeadReader,
    status_of_ordinary_head,
)
from lvs_healthd.probes.http_body import BodyRules
from lvs_healthd.probes.http_coding import MOST_DECODED, Decoder, decoder, unknown_coding
from lvs_healthd.probes.http_headers import HeaderRules
from lvs_healthd.probes.http_redirects import Redirects, following
from lvs_healthd.probes.http_websocket import UPGRADE, WANTED, close_frame, handshake_fault, new_key, subprotocols
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, up

MAX_HEADERS = MOST_HEADER_BYTES
"""The maximum number of bytes that are read besides the body: headers, interim answers, chunk sizes and extensions, and
trailers."""


def http_exchanges(check: HttpCheck | HttpsCheck) -> "HttpExchanges":
    """Return a factory that begins a conversation for each probe of this check."""
    return HttpExchanges(check)


_SHOWN = 41
"""How many bytes of unfinished headers are kept: one more than `quote` shows, so that `quote` marks the text as cut."""

_WITH_CONTENT = ("POST", "PUT", "PATCH")


class HttpExchanges:
    """One check's request as bytes, and the rules for the answer. All probes of the check share one object.

    keeps_connection: whether to ask the server to keep the connection, because another request follows.
    body: judges the body; None for the check's own conditions.
    """

    __slots__ = (
        *("_authorization", "_begin", "_check", "_keeps_connection", "_known", "_own_hidden", "_passed"),
        *("_secret", "_status", "_value"),
        *("body", "checks_body", "headers", "hidden", "request", "subprotocols", "wanted"),
    )

    def __init__(
        self, check: HttpCheck | HttpsCheck, *, keeps_connection: bool = False, body: BodyRules | None = None
    ) -> None:
        self._check = check
        self._keeps_connection = keeps_connection
        self._secret = secret(check)
        self._value: str | None = None
        """The value of `_secret` in the request below."""
        self._authorization: tuple[tuple[str, str], ...] = ()
        """The header with the secret, if there is one."""
        self._own_hidden: tuple[bytes, ...] = ()
        """What no quoted answer to the request below may show."""
        self.request = b""
        self.hidden: tuple[bytes, ...] = ()
        """What no quoted answer may show. An answer may still be one to the request with the secret before this one."""
        self._compose()
        self._status = check.status
        self.headers = HeaderRules(check)
        self.body = body or BodyRules(check)
        # The answer to HEAD has no body, whatever its headers announce (RFC 9110, section 9.3.2).
        self.checks_body = bool(self.body) and check.method != "HEAD"
        self.wanted = self.headers.names | ({b"content-encoding"} if self.checks_body else frozenset())
        """The headers of the answer that a conversation must know, in lower case."""
        self.subprotocols = subprotocols(check.headers)
        if check.websocket:
            self.wanted |= WANTED
        self._begin = self._conversation()
        self._known: dict[int, Outcome] = {}
        """One outcome for each status seen so far. It is reused, because almost every probe ends in one of them."""
        self._passed: dict[int, Outcome] = {}
        """The same for answers whose body is as expected."""

    def __call__(self) -> SingleExchange:
        """Begin one conversation."""
        return self._begin(self.up_to_date())

    def up_to_date(self) -> Self:
        """Return this object, with the request as it is now: a reload may have read another secret."""
        if self._secret is not None and self._secret.value is not self._value:
            self._compose()
        return self

    def _conversation(self) -> "Callable[[HttpExchanges], SingleExchange]":
        """Return what begins a conversation about the parts of an answer that this check needs."""
        if self._check.websocket:
            return _WebSocketExchange
        simple = _StatusExchange if not self.wanted else _BodyExchange if self.checks_body else _HeadExchange
        if not self._check.redirects:
            return simple
        begin = following(Redirects(self._check, lambda: simple(self), self._request_for, lambda: self.hidden))
        return lambda _: begin()

    def _request_for(self, path: str) -> bytes:
        return request_bytes(self._check, self._authorization, path, keeps_connection=self._keeps_connection)

    def _compose(self) -> None:
        """Make the request, with the secret as it is now."""
        check, value, before = self._check, "", self._own_hidden
        if self._secret is not None:
            value = self._value = self._secret.value
            self._authorization = (("Authorization", authorization(check, self._secret)),)
        self.request = self._request_for(check.path)
        headers = (*check.headers, *self._authorization)
        self._own_hidden = parts_of_request(check.path, headers, check.send_body, value)
        self.hidden = tuple(sorted({*self._own_hidden, *before}, key=len, reverse=True))

    def outcome_of(self, status: int) -> Outcome:
        """Judge an answer by its status alone."""
        return self._known.get(status) or self._judge(status)

    def passed(self, status: int) -> Outcome:
        """Return the outcome of an answer whose body is as expected."""
        known = self._passed.get(status)
        if known is None:
            known = self._passed[status] = up(f"status {status}, body as expected")
        return known

    def _judge(self, status: int) -> Outcome:
        if any(low <= status <= high for low, high in self._status):
            outcome = up(f"status {status}")
        else:
            wanted = ", ".join(f"{low}-{high}" if low != high else str(low) for low, high in self._status)
            outcome = down(Reason.BAD_STATUS, f"status {status}, expected {wanted}")
        self._known[status] = outcome
        return outcome


def request_bytes(
    check: HttpCheck | HttpsCheck,
    more: tuple[tuple[str, str], ...] = (),
    path: str | None = None,
    *,
    keeps_connection: bool = False,
) -> bytes:
    """Return the request. `Connection: close` lets the server close first, so that TIME_WAIT stays on its side.

    more: headers that are sent beside those of the check.
    path: None for that of the check.
    keeps_connection: whether to ask the server to keep the connection, as a check that follows redirects always does.
    """
    connection = "Upgrade" if check.websocket else "keep-alive" if check.redirects or keeps_connection else "close"
    lines = [f"{check.method} {check.path if path is None else path} HTTP/{check.http_version}", f"Host: {check.host}"]
    given = {name.lower() for name, _ in check.headers}
    for name, value in (("User-Agent", "lvs-healthd"), ("Accept", "*/*"), ("Connection", connection)):
        if name.lower() not in given:
            lines.append(f"{name}: {value}")
    body = check.send_body.encode()
    if body or check.method in _WITH_CONTENT:
        lines.append(f"Content-Length: {len(body)}")  # RFC 9110, section 8.6; some servers refuse a request without it
    upgrade = UPGRADE if check.websocket else ()
    lines += [f"{name}: {value}" for name, value in (*check.headers, *more, *upgrade)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class _StatusExchange:
    """One request and its answer up to the end of the headers, for checks that need nothing more."""

    __slots__ = ("_head", "_headers_seen", "_reader", "_rules", "_start")

    def __init__(self, rules: HttpExchanges) -> None:
        self._rules = rules
        self._reader: HeadReader | None = None
        """None as long as the short cut, `status_of_ordinary_head`, is enough."""
        self._headers_seen = 0
        self._start = b""
        self._head: Head | None = None

    def connected(self) -> Step:
        return self._rules.request

    def received(self, data: bytes) -> Step:
        if self._reader is None:
            status = status_of_ordinary_head(data)
            if status:
                return self._rules.outcome_of(status)
            self._reader = HeadReader()
        try:
            head = self._reader.feed(data)
        except AnswerError as error:
            return down(Reason.PROTOCOL_ERROR, error.in_words(self._rules.hidden))
        if head is not None:
            return self._judge(head)
        self._start += data[: _SHOWN - len(self._start)]
        self._headers_seen += len(data)
        if self._headers_seen > MAX_HEADERS:
            return down(Reason.TOO_LARGE, f"headers longer than {MAX_HEADERS} bytes")
        return None

    def closed(self) -> Outcome:
        if not self._headers_seen:
            return down(Reason.CLOSED_EARLY, "connection closed without an answer")
        return down(Reason.CLOSED_EARLY, f"connection closed within the headers: {self._quoted()}")

    def failed(self, outcome: Outcome) -> Outcome:
        if not self._headers_seen or outcome.kind is OutcomeKind.UNSURE:
            return outcome
        return down(outcome.reason, f"{what_happened(outcome)} within the headers: {self._quoted()}")

    def expired(self, timeout: str) -> Outcome:
        if self._headers_seen:
            return down(Reason.TIMEOUT, f"headers incomplete after {timeout} ({self._headers_seen} bytes)")
        return down(Reason.TIMEOUT, f"connected, but no answer in {timeout}")

    def end(self) -> None:
        """Drop nothing: nothing refers back to this object."""

    def _quoted(self) -> str:
        return quote(self._start, hidden=self._rules.hidden)

    def _judge(self, head: Head) -> Step:
        """Return the outcome of an answer whose head is complete; None if the body is needed too."""
        return self._rules.outcome_of(head.status)


class _HeadExchange(_StatusExchange):
    """One request and its answer up to the end of the headers, for checks that examine more than the status."""

    __slots__ = ()

    def __init__(self, rules: HttpExchanges) -> None:
        super().__init__(rules)
        self._reader = HeadReader(rules.wanted)

    def _judge(self, head: Head) -> Step:
        rules = self._rules
        outcome = rules.outcome_of(head.status)
        if not rules.headers.names or outcome.kind is not OutcomeKind.UP:
            return outcome
        return rules.headers.fault(head.fields, rules.hidden) or outcome


class _WebSocketExchange(_HeadExchange):
    """The opening handshake of a WebSocket, and the frame that closes it."""

    __slots__ = ("_key",)

    def connected(self) -> Step:
        self._key = new_key()
        head = self._rules.request.removesuffix(b"\r\n")  # the request has no body
        return head + b"Sec-WebSocket-Key: " + self._key + b"\r\n\r\n"

    def _judge(self, head: Head) -> Step:
        outcome = super()._judge(head)
        if not isinstance(outcome, Outcome) or outcome.kind is not OutcomeKind.UP:
            return outcome
        fault = handshake_fault(self._key, head.fields, self._rules.subprotocols, self._rules.hidden)
        return fault or Farewell(close_frame(), outcome, peer_may_close=True)


class _BodyExchange(_HeadExchange):
    """One request and its whole answer, for checks that examine the body."""

    __slots__ = (
        *("_body", "_chunks", "_decoder", "_hash", "_is_complete", "_is_cut"),
        *("_left", "_most", "_text", "_unwanted"),
    )

    def __init__(self, rules: HttpExchanges) -> None:
        super().__init__(rules)
        self._text = Search(rules.body.text)
        self._unwanted = None if rules.body.absent is None else Search(rules.body.absent)
        self._body = bytearray()
        self._most = rules.body.max_body
        """How many bytes of the body are kept."""
        self._decoder: Decoder | None = None
        self._hash = rules.body.begin_hash() if rules.body.needs_end else None
        self._chunks: ChunkReader | None = None
        self._left: int | None = None
        """Bytes of the body that have not arrived; None if the body ends only with the connection."""
        self._is_complete = False
        self._is_cut = False
        """Whether more of the body has arrived than is kept."""

    def received(self, data: bytes) -> Step:
        return super().received(data) if self._head is None else self._read_body(data)

    def closed(self) -> Outcome:
        if self._head is None:
            return super().closed()
        # Without a length or chunks, the body ends with the connection (RFC 9112, section 6.3).
        if self._chunks is None and self._left is None and (self._decoder is None or self._decoder.is_plain):
            self._is_complete = True
            outcome = self._judge_body(b"" if self._decoder is None else self._decoder.rest())
            if outcome is not None:
                return outcome
        return down(Reason.CLOSED_EARLY, f"connection closed within the body, after {len(self._body)} bytes")

    def failed(self, outcome: Outcome) -> Outcome:
        if self._head is None or outcome.kind is OutcomeKind.UNSURE:
            return super().failed(outcome)
        return down(outcome.reason, f"{what_happened(outcome)} within the body, after {len(self._body)} bytes")

    def expired(self, timeout: str) -> Outcome:
        if self._head is not None:
            return down(Reason.TIMEOUT, f"body incomplete after {timeout} ({len(self._body)} bytes)")
        return super().expired(timeout)

    def _judge(self, head: Head) -> Step:
        outcome = super()._judge(head)
        if not isinstance(outcome, Outcome) or outcome.kind is not OutcomeKind.UP:
            return outcome
        self._head = head
        if head.status in WITHOUT_BODY:
            self._left = 0
        elif head.is_chunked:
            self._chunks = ChunkReader()
        else:
            self._left = head.length
        codings = head.fields.get(b"content-encoding") if head.fields else None
        if codings is not None and head.status not in WITHOUT_BODY:
            unknown = unknown_coding(codings)
            if unknown:
                return self._unreadable(unknown)
            self._most = min(self._most, MOST_DECODED)
            self._decoder = decoder(codings, self._most)
        return self._read_body(head.rest)

    def _unreadable(self, coding: str) -> Outcome:
        shown = quote(coding.encode(), hidden=self._rules.hidden)
        advice = 'ask for another: headers = { Accept-Encoding = "gzip" }'
        return down(Reason.BAD_ANSWER, f"the body has Content-Encoding {shown}, which a check cannot read; {advice}")

    def _read_body(self, data: bytes) -> Outcome | None:
        if self._chunks is not None:
            try:
                data = self._chunks.feed(data)
            except AnswerError as error:
                return down(Reason.PROTOCOL_ERROR, f"broken HTTP body: {error.in_words(self._rules.hidden)}")
            self._is_complete = self._chunks.is_complete
            if self._headers_seen + self._chunks.overhead > MAX_HEADERS:
                return down(Reason.TOO_LARGE, f"headers, chunk sizes and trailers longer than {MAX_HEADERS} bytes")
        elif self._left is not None:
            data = data[: self._left]  # what follows is a second answer, which nobody asked for
            self._left -= len(data)
            self._is_complete = not self._left
        if self._decoder is None:
            return self._judge_body(data)
        try:
            data = self._decoder.feed(data)
        except AnswerError as error:
            return down(Reason.PROTOCOL_ERROR, f"broken HTTP body: {error.in_words(self._rules.hidden)}")
        has_all = self._is_complete
        if has_all and self._decoder.is_plain:
            return self._judge_body(data + self._decoder.rest())
        self._is_complete = self._decoder.is_complete
        outcome = self._judge_body(data)
        if outcome is None and has_all:
            return down(Reason.CLOSED_EARLY, f"compressed body breaks off, after {len(self._body)} decoded bytes")
        return outcome

    def _judge_body(self, data: bytes) -> Outcome | None:
        """Take the next bytes of the body itself."""
        room = self._most - len(self._body)
        if len(data) > room:
            data, self._is_cut = data[: max(0, room)], True
        self._body += data
        if self._hash is not None:
            self._hash.update(data)
        return self._body_outcome(ended=self._is_complete)

    def _body_outcome(self, *, ended: bool) -> Outcome | None:
        """Return the outcome of the body received so far. None means that it does not pass yet, but still may."""
        rules, hidden = self._rules.body, self._rules.hidden
        if self._unwanted is not None and self._unwanted.is_met(self._body):
            return rules.unwanted_text(hidden)
        full = len(self._body) >= self._most
        done = ended or full
        if rules.needs_all and not done:
            return None
        if rules.needs_end and (self._is_cut or not ended):
            return rules.too_large(self._most) if self._is_cut else None
        if self._text.is_met(self._body) and (rules.pattern is None or (done and rules.pattern.is_in(self._body))):
            fault = rules.fault(self._body, self._hash, hidden) if rules.needs_all else None
            return fault or self._rules.passed(self._head.status if self._head is not None else 0)
        if done:
            where = f"the first {self._most} bytes" if self._is_cut or not ended else "the body"
            what = "expected text" if rules.pattern is None else "match of body_regex"
            found = quote(self._body, hidden=hidden) if self._body else "it is empty"
            return down(Reason.BAD_ANSWER, f"{what} not in {where}: {found}")
        return None
