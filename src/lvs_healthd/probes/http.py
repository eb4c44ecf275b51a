"""http checks: one HTTP/1.1 request and its answer, parsed by llhttp. Sans-I/O.

The outcome is decided as early as the answer allows: at the end of the headers when only the status counts, or as soon
as the body contains the expected text. Until then, a body that ends early, trickles in or never ends cannot pass (RFC
9112, section 8).
"""

import httptools

from lvs_healthd.config.model import HttpCheck, HttpsCheck
from lvs_healthd.config.patterns import answer_pattern
from lvs_healthd.probes.exchange import Exchange, Step, quote
from lvs_healthd.probes.expect import Expectation, Search
from lvs_healthd.probes.outcome import Outcome, Reason, down, up

MAX_HEADERS = 65536
"""The maximum number of bytes that are read besides the body: headers, interim answers, chunk sizes and extensions, and
trailers. 64 KiB is enough, because common servers set lower limits for headers (nginx 32 KiB, Apache 8 KiB)."""


def http_exchanges(check: HttpCheck | HttpsCheck) -> "HttpExchanges":
    """Return a factory that begins a conversation for each probe of this check."""
    return HttpExchanges(check)


_WITH_CONTENT = ("POST", "PUT", "PATCH")


_LENIENT = {
    "lenient_headers": True,
    "lenient_keep_alive": True,
    "lenient_chunked_length": True,
    "lenient_data_after_close": True,
    "lenient_optional_cr_before_lf": True,
    "lenient_spaces_after_chunk_size": True,
}
"""Accept what common clients accept: folded headers, bare line feeds, odd chunks (RFC 9112, sections 2.2, 5.2, 7.1.1).

llhttp calls these options dangerous because a proxy may forward bytes that the next program reads differently. A probe
forwards nothing.
"""


class HttpExchanges:
    """One check's request as bytes, and the rules for the answer. All probes of the check share one object."""

    __slots__ = ("checks_body", "known", "max_body", "pattern", "request", "status", "text")

    def __init__(self, check: HttpCheck | HttpsCheck) -> None:
        self.request = request_bytes(check)
        self.status = check.status
        self.text = Expectation(check.body.encode(), None, check.max_body)
        self.pattern = answer_pattern(check.body_regex) if check.body_regex else None
        # The answer to HEAD has no body, whatever its headers announce (RFC 9110, section 9.3.2).
        self.checks_body = bool(check.body or self.pattern) and check.method != "HEAD"
        self.max_body = check.max_body
        self.known: dict[int, Outcome] = {}
        """The outcome for each status seen so far. Almost every probe ends with one of these, so they are reused."""

    def __call__(self) -> Exchange:
        """Begin one conversation."""
        return _BodyExchange(self) if self.checks_body else _StatusExchange(self)

    def accepts(self, status: int) -> bool:
        """Whether the configuration accepts this status."""
        return any(low <= status <= high for low, high in self.status)

    def status_outcome(self, status: int) -> Outcome:
        """Judge an answer by its status alone, and keep the outcome in `known`."""
        if self.accepts(status):
            outcome = up(f"status {status}")
        else:
            wanted = ", ".join(f"{low}-{high}" if low != high else str(low) for low, high in self.status)
            outcome = down(Reason.BAD_STATUS, f"status {status}, expected {wanted}")
        self.known[status] = outcome
        return outcome


def request_bytes(check: HttpCheck | HttpsCheck) -> bytes:
    """Return the request. `Connection: close` lets the server close first, so that TIME_WAIT stays on its side."""
    lines = [f"{check.method} {check.path} HTTP/1.1", f"Host: {check.host}"]
    given = {name.lower() for name, _ in check.headers}
    for name, value in (("User-Agent", "lvs-healthd"), ("Accept", "*/*"), ("Connection", "close")):
        if name.lower() not in given:
            lines.append(f"{name}: {value}")
    if check.method in _WITH_CONTENT:
        lines.append("Content-Length: 0")  # RFC 9110, section 8.6; some servers refuse a request without it
    lines += [f"{name}: {value}" for name, value in check.headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class _StatusExchange:
    """One request and its answer up to the end of the headers, for checks that need nothing more.

    llhttp calls the `on_…` methods that a class defines. Every call costs time, and `on_header` is called for each
    header, so this class defines only what it needs.
    """

    __slots__ = ("_final_status", "_headers_seen", "_parser", "_rules", "_start")

    def __init__(self, rules: HttpExchanges) -> None:
        self._rules = rules
        parser = httptools.HttpResponseParser(self)
        parser.set_dangerous_leniencies(**_LENIENT)
        self._parser: httptools.HttpResponseParser | None = parser
        self._headers_seen = 0
        self._start = b""
        self._final_status = 0

    # What the engine calls

    def connected(self) -> Step:
        return self._rules.request

    def received(self, data: bytes) -> Step:
        try:
            if self._parser is not None:
                self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # 101 or CONNECT: the headers are complete, and what follows is not HTTP
        except httptools.HttpParserError as error:
            if not self._final_status:
                return down(Reason.PROTOCOL_ERROR, f"not an HTTP answer: {quote(self._start or data)}")
            return self._broken(str(error))
        if self._final_status:
            return self._headers_outcome()
        if not self._headers_seen:
            self._start = data[:41]
        self._headers_seen += len(data)
        if self._headers_seen > MAX_HEADERS:
            return down(Reason.TOO_LARGE, f"headers longer than {MAX_HEADERS} bytes")
        return None

    def closed(self) -> Outcome:
        if not self._headers_seen:
            return down(Reason.CLOSED_EARLY, "connection closed without an answer")
        return down(Reason.CLOSED_EARLY, f"connection closed within the headers: {quote(self._start)}")

    def expired(self, timeout: str) -> Outcome:
        if self._headers_seen:
            return down(Reason.TIMEOUT, f"headers incomplete after {timeout} ({self._headers_seen} bytes)")
        return down(Reason.TIMEOUT, f"connected, but no answer in {timeout}")

    def end(self) -> None:
        self._parser = None

    # What llhttp calls

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code() if self._parser is not None else 0
        # 1xx answers are interim: the final one follows (RFC 9110, section 15.2). 101 is final.
        if not self._final_status and (status >= 200 or status == 101):
            self._final_status = status

    def _headers_outcome(self) -> Outcome | None:
        """Judge the answer by its complete headers. None means to wait for the body."""
        rules, status = self._rules, self._final_status
        return rules.known.get(status) or rules.status_outcome(status)

    def _broken(self, _error: str) -> Outcome | None:
        """Judge an answer whose body is not valid HTTP. This check does not need the body."""
        return self._headers_outcome()


class _BodyExchange(_StatusExchange):
    """One request and its whole answer, for checks that examine the body."""

    __slots__ = ("_body", "_body_bytes", "_complete", "_received", "_text", "_unframed")

    def __init__(self, rules: HttpExchanges) -> None:
        super().__init__(rules)
        self._received = 0
        self._body_bytes = 0
        """Bytes of body received, including those beyond `max_body` and those of a second, unasked-for answer."""
        self._text = Search(rules.text)
        self._body = bytearray()
        self._complete = False
        self._unframed = True

    def received(self, data: bytes) -> Step:
        step = super().received(data)
        self._received += len(data)
        if step is None and self._received - self._body_bytes > MAX_HEADERS:
            return down(Reason.TOO_LARGE, f"headers, chunk sizes and trailers longer than {MAX_HEADERS} bytes")
        return step

    def closed(self) -> Outcome:
        if not self._final_status:
            return super().closed()
        # Without a length or chunks, the body ends when the connection ends (RFC 9112, section 6.3).
        if self._unframed:
            outcome = self._body_outcome(ended=True)
            if outcome is not None:
                return outcome
        return down(Reason.CLOSED_EARLY, f"connection closed within the body, after {len(self._body)} bytes")

    def expired(self, timeout: str) -> Outcome:
        if self._final_status:
            return down(Reason.TIMEOUT, f"body incomplete after {timeout} ({len(self._body)} bytes)")
        return super().expired(timeout)

    # What llhttp calls

    def on_header(self, name: bytes, value: bytes) -> None:
        lowered = name.lower()
        if lowered == b"content-length" or (lowered == b"transfer-encoding" and b"chunked" in value.lower()):
            self._unframed = False

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._complete:
            return  # this belongs to a second answer, which nobody asked for
        room = self._rules.max_body - len(self._body)
        if room > 0:
            self._body += body[:room]

    def on_message_complete(self) -> None:
        if self._final_status:
            self._complete = True

    def _headers_outcome(self) -> Outcome | None:
        outcome = super()._headers_outcome()
        if outcome is None or outcome.reason is not Reason.PASSED:
            return outcome
        return self._body_outcome(ended=self._complete)

    def _broken(self, error: str) -> Outcome | None:
        return self._headers_outcome() if self._complete else down(Reason.PROTOCOL_ERROR, f"broken HTTP body: {error}")

    def _body_outcome(self, *, ended: bool) -> Outcome | None:
        """Judge the body received so far. None means that it does not pass yet, but still may."""
        rules = self._rules
        full = len(self._body) >= rules.max_body
        if self._text.is_met(self._body) and (
            rules.pattern is None or ((ended or full) and rules.pattern.is_in(self._body))
        ):
            return up(f"status {self._final_status}, body as expected")
        if ended or full:
            where = f"the first {rules.max_body} bytes" if full and not ended else "the body"
            what = "expected text" if rules.pattern is None else "match of body_regex"
            found = quote(bytes(self._body)) if self._body else "it is empty"
            return down(Reason.BAD_ANSWER, f"{what} not in {where}: {found}")
        return None
