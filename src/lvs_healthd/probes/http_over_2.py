"""http checks over HTTP/2, in cleartext (with prior knowledge) or inside TLS. Sans-I/O.

The conditions on an answer are those of HTTP/1.1. So the conversation that judges it is the same: here its request is
sent over HTTP/2, and what comes back is passed to it as HTTP/1.1.
"""

from lvs_healthd.config.check_model import HttpCheck, HttpsCheck
from lvs_healthd.probes.exchange import Exchange, Farewell, Reconnect, Sign, SingleExchange, Stale, Stays, Step
from lvs_healthd.probes.http import MAX_HEADERS, HttpExchanges
from lvs_healthd.probes.http2 import Connection, Data, End, Event, Fields, Headers, Request
from lvs_healthd.probes.outcome import Outcome, Reason, down

_NOT_SENT = ("connection", "host")
"""Headers of a request that HTTP/2 does not have (RFC 9113, sections 8.2.2 and 8.3.1)."""
_LAST_CHUNK = b"0\r\n\r\n"
_BREAKS = (b"\r", b"\n", b"\0")
"""What no header contains (RFC 9113, section 8.2.1)."""


_MOST_KEPT = 2**28
"""How many bytes may come over a connection that is kept, so that its window never needs to be enlarged."""


def http2_exchanges(check: HttpCheck | HttpsCheck, *, is_kept: bool = False) -> "Http2Exchanges":
    """Return a factory that begins a conversation for each probe of this check.

    is_kept: whether a conversation serves a connection that stays open for further probes.
    """
    return Http2Exchanges(_Rules(check, HttpExchanges(check)), _KeptOverHttp2 if is_kept else _OverHttp2)


class Http2Exchanges:
    """Begins the conversations of one check."""

    __slots__ = ("_kind", "_rules")

    def __init__(self, rules: "_Rules", kind: "type[_OverHttp2]") -> None:
        self._rules = rules
        self._kind = kind

    def __call__(self) -> Exchange:
        """Begin one conversation."""
        return self._kind(self._rules, self._rules.answers())

    @property
    def hidden(self) -> tuple[bytes, ...]:
        """Parts of secrets that no quoted answer may show."""
        return self._rules.answers.hidden


class _Rules:
    """What the conversations of one check have in common."""

    __slots__ = ("_known", "_scheme", "answers", "has_fields", "is_chunked", "most")

    def __init__(self, check: HttpCheck | HttpsCheck, answers: HttpExchanges) -> None:
        self.answers = answers
        """Begins the conversation about an answer."""
        self._scheme = b"https" if isinstance(check, HttpsCheck) else b"http"
        self._known: tuple[bytes, Request] = b"", Request([])
        """The last request, as bytes and as it is sent. Almost every probe has the same."""
        self.has_fields = bool(answers.wanted or check.redirects or answers.checks_body)
        """Whether the headers of an answer matter."""
        self.is_chunked = bool(check.redirects)
        """Whether a body must show where it ends, because another answer may follow."""
        self.most = check.max_body + MAX_HEADERS
        """How many bytes of an answer are worth waiting for, so that its connection can be used again."""

    def request(self, message: bytes) -> Request:
        """Return a request that is written as HTTP/1.1."""
        if message != self._known[0]:
            self._known = message, _request(message, self._scheme)
        return self._known[1]


def _request(message: bytes, scheme: bytes) -> Request:
    head, _, body = message.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    method, path, _ = first.split(b" ")
    fields = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    authority = next(value for name, value in fields if name == b"host")
    pseudo = [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)]
    return Request(pseudo + [field for field in fields if field[0].decode() not in _NOT_SENT], body)


class _OverHttp2:
    """The requests of one probe, and their answers."""

    __slots__ = ("_connection", "_has_head", "_inner", "_is_chunked", "_next", "_rules")

    def __init__(self, rules: _Rules, inner: SingleExchange) -> None:
        self._rules = rules
        self._inner = inner
        """Judges the answers, as HTTP/1.1."""
        self._connection = Connection(rules.answers.hidden, 'write http_version = "1.1"')
        self._has_head = False
        """Whether the headers of the answer under way have arrived."""
        self._is_chunked = False
        """Whether its body is passed on in chunks."""
        self._next: Step = None
        """The next request, which waits for the end of the answer under way; None without one."""

    def connected(self) -> Step:
        return self._ask(self._inner.connected()) or self._connection.to_send()

    def received(self, data: bytes) -> Step:
        for event in self._connection.feed(data):
            if isinstance(event, Outcome):
                return event
            step = self._take(event)
            if isinstance(step, Outcome):
                return Farewell(self._connection.leave(), step, peer_may_close=True)
            if step is not None:
                self._next = step
            # A server may allow one request at a time.
            if self._next is not None and self._connection.has_ended and (refused := self._ask(self._next)) is not None:
                return refused
        return self._connection.to_send() or None

    def closed(self) -> Outcome | Reconnect:
        if self._has_head:
            return down(Reason.CLOSED_EARLY, "connection closed before the end of the answer")
        return self._inner.closed()

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        return self._inner.failed(outcome)

    def expired(self, timeout: str) -> Outcome:
        return self._inner.expired(timeout)

    def end(self) -> None:
        self._connection.end()
        self._inner.end()

    def _ask(self, step: Step) -> Outcome | None:
        """Send a request that is written as HTTP/1.1. Return the outcome if the peer allows none."""
        if not isinstance(step, bytes):
            raise TypeError("a conversation over HTTP/1.1 that does not begin with a request")
        self._has_head, self._next = False, None
        return self._connection.ask(self._rules.request(step))

    def _take(self, event: Event) -> Step:
        """Pass on what has arrived. Return the step of the conversation over HTTP/1.1."""
        if self._next is not None:
            return None  # nothing is left to say about this answer
        match event:
            case Headers(fields=fields) if not self._has_head:
                self._has_head = True
                return self._take_head(fields)
            case Data(data=data):
                return self._inner.received(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
            case End():
                return self._inner.received(_LAST_CHUNK) if self._is_chunked else self._inner.closed()
            case _:  # trailers
                return None

    def _take_head(self, fields: Fields) -> Step:
        status = next(value for name, value in fields if name == b":status")
        lines = [b"HTTP/1.1 " + status]
        if self._rules.has_fields:
            lines += [name + b": " + value for name, value in fields if not name.startswith(b":")]
            if any(each in line for line in lines for each in _BREAKS):
                return down(Reason.PROTOCOL_ERROR, "broken HTTP/2: a header with a line break or a NUL byte")
            self._is_chunked = self._rules.is_chunked and all(name != b"content-length" for name, _ in fields)
            if self._is_chunked:
                lines.append(b"transfer-encoding: chunked")
        return self._inner.received(b"\r\n".join(lines) + b"\r\n\r\n")


class _KeptOverHttp2(_OverHttp2):
    """The requests over one connection that stays open from one probe to the next.

    A server that shuts down may go on answering on it for as long as somebody asks, although it takes no new
    connection. It says so with GOAWAY, so nothing is asked after that.
    """

    __slots__ = ("_before", "_is_broken", "_is_reused", "_seen")

    limit_s = None
    reads_first = True

    def __init__(self, rules: _Rules, inner: SingleExchange) -> None:
        super().__init__(rules, inner)
        self._is_reused = False
        """Whether the connection has served a probe before."""
        self._is_broken = False
        self._seen = 0
        """How many bytes have come over the connection."""
        self._before = 0
        """How many of them came before the current request."""

    @property
    def is_ready(self) -> bool:
        return self._connection.has_ended and self._is_usable

    def resumed(self) -> Step:
        self._is_reused, self._before = True, self._seen
        self._inner.end()
        self._inner = self._rules.answers()
        self._connection.renew()
        if self._ask(self._inner.connected()) is not None:
            return self._again()  # the peer has lowered how many requests it takes
        return self._connection.to_send()

    def ordinary(self, data: bytes) -> None:
        """Take no shortcut: there may be more than the answer in what has come."""

    def received(self, data: bytes) -> Step:
        self._seen += len(data)
        found: Outcome | None = None
        for event in self._connection.feed(data):
            # What follows an outcome is read too, because the connection is used further.
            if isinstance(event, Outcome):
                self._is_broken = True
                if found is None:
                    return self._again() if self._is_stale and self._connection.is_unheard else event
            elif found is None:
                step = self._take(event)
                if isinstance(step, Outcome):
                    found = step
                elif step is not None:
                    self._next = step
                if self._next is not None and self._connection.has_ended:
                    found = self._ask(self._next)
        if found is None:
            return self._connection.to_send() or None
        if not self._is_usable:
            return Farewell(self._connection.leave(), found, peer_may_close=True)
        return Stays(found, self._connection.to_send())

    def closed(self) -> Outcome | Reconnect:
        return self._again() if self._is_stale else super().closed()

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        if self._is_stale and outcome.reason is Reason.RESET:
            return self._again()
        return super().failed(outcome)

    def idle(self, data: bytes) -> bytes | Sign | None:
        self._seen += len(data)
        for event in self._connection.feed(data):
            self._is_broken |= isinstance(event, Outcome)
        if self._connection.is_going or self._is_broken:
            return Sign.ORDERLY
        is_too_long = not self._connection.has_ended and self._seen - self._before > self._rules.most
        return self._connection.to_send() or None if self._is_usable and not is_too_long else Sign.SPENT

    def idle_closed(self) -> Sign:
        return Sign.URGENT

    @property
    def _is_usable(self) -> bool:
        return not (self._is_broken or self._connection.is_going) and self._seen <= _MOST_KEPT

    @property
    def _is_stale(self) -> bool:
        """Whether the server may have ended the connection before it got the current request."""
        return self._is_reused and not self._has_head

    def _again(self) -> Stale:
        return Stale(_KeptOverHttp2(self._rules, self._rules.answers()))
