"""http checks with several requests, one after another, each with its own conditions on the answer. Sans-I/O.

The requests share a connection as long as the server keeps it open. Otherwise the next one gets a new connection. They
also share the time of one probe. The first request that fails decides.
"""

import msgspec

from lvs_healthd.config.check_model import HttpCheck, HttpsCheck
from lvs_healthd.config.secrecy import without_secrets
from lvs_healthd.probes.exchange import Exchange, Reconnect, SingleExchange, Step, quote
from lvs_healthd.probes.http import HttpExchanges
from lvs_healthd.probes.http_answer import AnswerEnd
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, up

_SHOWN = 80
"""How many bytes of a request's path an outcome shows."""

_LOOKED_AT = 4 * _SHOWN
"""How many characters of it are searched for secrets."""


def request_exchanges(check: HttpCheck | HttpsCheck) -> "HttpExchanges | SequenceExchanges":
    """Return a factory that begins a conversation for each probe of this check."""
    return SequenceExchanges(check.requests) if check.requests else HttpExchanges(check)


class _Request:
    """One of the requests, and the rules for its answer. All probes of the check share one object.

    index: its place among the requests, from 0.
    count: how many there are.
    """

    __slots__ = ("_number", "_path", "begin", "has_body", "is_last", "most")

    def __init__(self, request: HttpCheck | HttpsCheck, index: int, count: int) -> None:
        self.is_last = index == count - 1
        self.begin = HttpExchanges(request, keeps_connection=not self.is_last)
        self.has_body = request.method != "HEAD"
        self.most = request.max_body
        """How many bytes of an answer are worth waiting for, if only because the next request shall follow."""
        self._number = f"request {index + 1} of {count}"
        self._path = without_secrets(request.path[:_LOOKED_AT]).encode()

    def told(self, outcome: Outcome) -> Outcome:
        """Return a failure that says which request it is about."""
        if outcome.kind is not OutcomeKind.DOWN:
            return outcome
        which = f"{self._number}, {quote(self._path, _SHOWN, hidden=self.begin.hidden)}"
        return msgspec.structs.replace(outcome, detail=f"{which}: {outcome.detail}")


class SequenceExchanges:
    """Begins the conversations of one check."""

    __slots__ = ("passed", "requests")

    def __init__(self, requests: tuple[HttpCheck | HttpsCheck, ...]) -> None:
        self.requests = tuple(_Request(each, index, len(requests)) for index, each in enumerate(requests))
        self.passed = up("all requests passed" if len(requests) > 1 else "the request passed")

    def __call__(self) -> Exchange:
        """Begin one conversation."""
        return _Sequence(self)

    @property
    def hidden(self) -> tuple[bytes, ...]:
        """What no quoted answer may show."""
        parts = {part for request in self.requests for part in request.begin.hidden}
        return tuple(sorted(parts, key=len, reverse=True))


class _Sequence:
    """The requests of one probe."""

    __slots__ = ("_at", "_end", "_has_begun", "_has_passed", "_inner", "_is_reused", "_rules")

    _inner: SingleExchange
    """Judges the answer to the current request."""
    _end: AnswerEnd
    """Finds the end of that answer."""

    def __init__(self, rules: SequenceExchanges) -> None:
        self._rules = rules
        self._at = 0
        """The index of the current request."""
        self._has_begun = False
        """Whether there has been a connection."""
        self._is_reused = False
        """Whether the connection has served another request before."""
        self._has_passed = False
        """Whether the current answer has passed, but has not arrived to its end."""
        self._begin()

    def connected(self) -> Step:
        self._has_begun = True
        return self._inner.connected()

    def received(self, data: bytes) -> Step:
        self._end.feed(data)
        if self._has_passed:
            return self._next()
        step = self._inner.received(data)
        if isinstance(step, Outcome):
            return self._judged(step)
        if isinstance(step, bytes):  # after a redirect
            self._end = AnswerEnd(has_body=self._request.has_body)
        return step

    def closed(self) -> Outcome | Reconnect:
        if self._has_passed:
            return self._again(1)
        if self._is_stale:
            return self._again(0)
        return self._ended(self._inner.closed())

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        if outcome.kind is OutcomeKind.UNSURE or not self._has_begun:
            return outcome
        if self._has_passed:
            return self._again(1)
        if self._is_stale:
            return self._again(0)
        return self._ended(self._inner.failed(outcome))

    def expired(self, timeout: str) -> Outcome:
        if not self._has_passed:
            return self._request.told(self._inner.expired(timeout))
        what = f"its answer is as expected, but incomplete after {timeout} ({self._end.seen} bytes)"
        return self._request.told(down(Reason.TIMEOUT, what))

    def end(self) -> None:
        self._inner.end()

    @property
    def _request(self) -> _Request:
        return self._rules.requests[self._at]

    @property
    def _is_stale(self) -> bool:
        """Whether the server had closed the connection before it got the current request. A client then repeats it."""
        return self._is_reused and not self._end.seen

    def _begin(self) -> None:
        self._inner = self._request.begin()
        self._end = AnswerEnd(has_body=self._request.has_body)
        self._has_passed = False

    def _judged(self, outcome: Outcome) -> Step:
        if outcome.kind is not OutcomeKind.UP:
            return self._request.told(outcome)
        if self._request.is_last:
            return self._rules.passed
        self._has_passed = True
        return self._next()

    def _ended(self, outcome: Outcome) -> Outcome | Reconnect:
        """Return the outcome of an answer that has ended with its connection, or go on."""
        if outcome.kind is not OutcomeKind.UP:
            return self._request.told(outcome)
        return self._rules.passed if self._request.is_last else self._again(1)

    def _next(self) -> Step:
        """Send the next request if the current answer has ended, over a new connection if need be."""
        end = self._end
        if end.is_last or (not end.is_complete and end.seen > self._request.most):
            return self._again(1)
        if not end.is_complete:
            return None
        self._go_to(self._at + 1)
        self._is_reused = True
        return self._inner.connected()

    def _again(self, steps: int) -> Reconnect:
        """Go on over a new connection.

        steps: 0 to repeat the current request, 1 for the next one.
        """
        self._go_to(self._at + steps)
        self._is_reused = False
        return Reconnect(self)

    def _go_to(self, at: int) -> None:
        self._inner.end()
        self._at = at
        self._begin()
