"""Follows the redirects of an HTTP server on the connection that a probe has. Sans-I/O.

A probe is about one real server, so it never goes elsewhere: to another name, port or scheme, or over another
connection to the same address. Each of these is an outcome that says so.
"""

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

import msgspec

from lvs_healthd.config.check_model import HttpCheck, HttpsCheck
from lvs_healthd.config.http_values import MOST_HEADER_BYTES
from lvs_healthd.config.secrecy import without_secrets
from lvs_healthd.probes.exchange import SingleExchange, Step, quote, what_happened
from lvs_healthd.probes.http_answer import AnswerError, ChunkReader, Head, HeadReader
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down

_STATUSES = (301, 302, 303, 307, 308)
"""The answers that browsers follow (RFC 9110, section 15.4)."""

_SHOWN = 80
"""How many bytes of a redirect's destination are shown."""

_LOOKED_AT = 4 * _SHOWN
"""How many characters of it are searched for secrets. The time for that grows with the square of the length, and the
server chooses the length."""

_WANTED = frozenset({b"location", b"connection"})
_TARGET = re.compile(r"/[\x21-\x7e]*")
_PORTS = {"http": 80, "https": 443}


class Redirects(NamedTuple):
    """What the probes of one check need to follow redirects."""

    check: HttpCheck
    begin: Callable[[], SingleExchange]
    """Begins a conversation about one request."""
    request: Callable[[str], bytes]
    """Makes the request for another path."""
    hidden: Callable[[], tuple[bytes, ...]]
    """Returns what no quoted answer may show."""


def following(rules: Redirects) -> Callable[[], SingleExchange]:
    """Return a factory of conversations that follow redirects."""
    return lambda: _Following(rules)


class _Following:
    """One request, and further ones for as long as the server redirects to itself."""

    __slots__ = ("_body", "_count", "_drained", "_inner", "_next", "_path", "_rules", "_seen")

    def __init__(self, rules: Redirects) -> None:
        self._rules = rules
        self._path = rules.check.path
        """The path of the current request."""
        self._count = 0
        """How many redirects have been followed."""
        self._inner = rules.begin()
        """Judges the answer to the current request."""
        self._seen = bytearray()
        """What has arrived of that answer, as long as it may be a redirect."""
        self._next = ""
        """The path that the current answer redirects to; empty until that is known."""
        self._body: ChunkReader | int = 0
        """What is left of the redirect's own body, which must arrive before the next request: chunks or bytes."""
        self._drained = 0
        """How many bytes of that body have arrived."""

    def connected(self) -> Step:
        return self._inner.connected()

    def received(self, data: bytes) -> Step:
        if self._next:
            return self._drain(data)
        if len(self._seen) <= MOST_HEADER_BYTES:
            self._seen += data
        step = self._inner.received(data)
        if not isinstance(step, Outcome):
            return step
        head = _redirect(bytes(self._seen)) if step.reason is Reason.BAD_STATUS else None
        return self._told(step) if head is None else self._follow(head)

    def closed(self) -> Outcome:
        if self._next:
            return down(Reason.CLOSED_EARLY, "connection closed within an answer that redirects")
        if self._count and not self._seen:
            shown = self._shown(self._path)
            return down(Reason.CLOSED_EARLY, f"connection closed after a redirect to {shown}; set path to {shown}")
        return self._told(self._inner.closed())

    def failed(self, outcome: Outcome) -> Outcome:
        if self._next and outcome.kind is not OutcomeKind.UNSURE:
            return down(outcome.reason, f"{what_happened(outcome)} within an answer that redirects")
        return self._told(self._inner.failed(outcome))

    def expired(self, timeout: str) -> Outcome:
        if self._next:
            return down(Reason.TIMEOUT, f"an answer that redirects is incomplete after {timeout}")
        return self._told(self._inner.expired(timeout))

    def end(self) -> None:
        self._inner.end()

    def _told(self, outcome: Outcome) -> Outcome:
        """Return an outcome that says which request it is about, if it is a failure and not about the first request."""
        if not self._count or outcome.kind is not OutcomeKind.DOWN:
            return outcome
        return msgspec.structs.replace(
            outcome, detail=f"{outcome.detail} (after a redirect to {self._shown(self._path)})"
        )

    def _shown(self, destination: str) -> str:
        return quote(without_secrets(destination[:_LOOKED_AT]).encode(), _SHOWN, hidden=self._rules.hidden())

    def _follow(self, head: Head) -> Step:
        """Take the head of a redirect. Return the step that ends the probe, or that goes on with the next request."""
        check = self._rules.check
        location = head.fields[b"location"][0].decode("latin-1")
        status = f"status {head.status} to {self._shown(location)}"
        path = _path_on(check, self._path, location)
        if path is None:
            return down(Reason.BAD_STATUS, f"{status}, which is elsewhere; a probe stays with {_origin(check)}")
        if self._count >= check.redirects:
            return down(Reason.BAD_STATUS, f"{status}, after {self._count} redirects")
        tokens = b",".join(head.fields.get(b"connection", [])).lower().replace(b" ", b"").split(b",")
        has_end = head.is_chunked or head.length is not None or check.method == "HEAD"
        if b"close" in tokens or not has_end:
            advice = f"set path to {self._shown(path)}"
            return down(
                Reason.BAD_STATUS, f"{status}, and the server closes the connection, which ends a probe; {advice}"
            )
        self._next, self._drained, self._body = path, 0, 0
        if check.method != "HEAD":
            self._body = ChunkReader() if head.is_chunked else head.length or 0
        return self._drain(head.rest)

    def _drain(self, data: bytes) -> Step:
        """Take the next bytes of a redirect's body. After the last one, send the next request."""
        self._drained += len(data)
        if isinstance(self._body, ChunkReader):
            try:
                self._body.feed(data)
            except AnswerError as error:
                return down(Reason.PROTOCOL_ERROR, f"broken HTTP body: {error.in_words(self._rules.hidden())}")
            is_over = self._body.is_complete
        else:
            self._body = max(0, self._body - len(data))
            is_over = not self._body
        if not is_over:
            too_large = self._drained > self._rules.check.max_body
            return down(Reason.TOO_LARGE, "the body of a redirect is longer than max_body") if too_large else None
        self._count += 1
        self._path, self._next = self._next, ""
        self._seen.clear()
        self._inner.end()
        self._inner = self._rules.begin()
        return self._rules.request(self._path)


def _redirect(answer: bytes) -> Head | None:
    """Return the head of an answer that redirects; None for another one."""
    head = HeadReader(_WANTED).feed(answer)
    return head if head is not None and head.status in _STATUSES and b"location" in head.fields else None


def _path_on(check: HttpCheck, path: str, location: str) -> str | None:
    """Return the path of a redirect's destination; None when it is not at the same scheme, host and port.

    path: that of the request.
    location: the destination, as in the answer (RFC 9110, section 10.2.2).
    """
    try:
        origin = urlsplit(_origin(check))
        found = urlsplit(urljoin(f"{_origin(check)}{path}", location))
        default = _PORTS.get(found.scheme)
        is_here = found.scheme == origin.scheme and found.hostname == origin.hostname
        if not is_here or (found.port or default) != (origin.port or default):
            return None
    except ValueError:
        return None
    target = (found.path or "/") + (f"?{found.query}" if found.query else "")
    return target if _TARGET.fullmatch(target) else None


def _origin(check: HttpCheck) -> str:
    """Return the scheme, and the host as clients know it, of what a check probes."""
    return f"{'https' if isinstance(check, HttpsCheck) else 'http'}://{check.host}"
