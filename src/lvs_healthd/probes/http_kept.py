"""http checks whose connection stays open from one probe to the next (RFC 9112, section 9.3). Sans-I/O.

An outcome is found as early as over a new connection. What is left of the answer may come later: the connection serves
the next probe only if the answer has ended by then, and nothing else has come.

A server may end an idle connection at any time, also when the next request is under way. Clients repeat such a request
over a new connection (RFC 9110, section 9.2.2), and so does a probe, once. As soon as a byte of the answer has come,
the end of the connection is a failure as any other. Only a 408 is no answer: it may say that no request has come in
time (RFC 9110, section 15.5.9).
"""

import re
from typing import NamedTuple

from lvs_healthd.config.check_model import HttpCheck, HttpsCheck
from lvs_healthd.probes.exchange import Reconnect, Sign, SingleExchange, Stale, Stays, Step
from lvs_healthd.probes.http import MAX_HEADERS, HttpExchanges
from lvs_healthd.probes.http_answer import MOST_LINES, WITHOUT_BODY, AnswerEnd, seconds_kept
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason

_ORDINARY_ANSWER = re.compile(
    rb"HTTP/1\.1 ([2-9][0-9]{2})(?![0-9])[^\0\n]*+\n"
    rb"(?:"
    rb"(?i:Content-Length): ?([0-9]{1,9})\r\n"
    rb"|(?i:Connection: keep-alive)\r\n"
    rb"|(?i:Keep-Alive):([^\0\n]*+)\n"
    rb"|(?!(?i:Content-Length|Connection|Keep-Alive|Transfer-Encoding)[: \t])[A-Za-z0-9_-]++:[^\0\n]*+\n"
    rb"){0,%d}"
    rb"\r\n" % (MOST_LINES - 1)
)
"""The head of an answer after which the connection stays open and whose length is a number, as nearly all servers send
it: with its status, the length of its body, and what it says about idle connections."""


_TOO_LATE = 408


_DATE = b"\r\nDate: "
_DATE_BYTES = 29
"""The length of a date (RFC 9110, section 5.6.7). From one answer to the next, nothing else changes in most answers."""


class _Ordinary(NamedTuple):
    """An ordinary answer."""

    step: Stays
    """What ends the probe."""
    passed: Outcome | None
    """The outcome if the probe passes."""
    limit_s: float | None
    """How long the server says that it keeps an idle connection, seconds."""
    size: int
    """How many bytes it has."""
    begin: bytes
    end: bytes
    """These two are the answer without its date."""


class KeptHttpExchanges:
    """Begins the conversations of one check, each of which serves one connection."""

    __slots__ = ("_has_body", "_is_simple", "_known", "_last", "_most", "answers")

    def __init__(self, check: HttpCheck | HttpsCheck) -> None:
        self.answers = HttpExchanges(check, keeps_connection=True)
        """Begins a conversation about one request."""
        self._has_body = check.method != "HEAD"
        self._is_simple = self._has_body and not (self.answers.wanted or self.answers.checks_body or check.redirects)
        """Whether the status decides, so that the conversation about an ordinary answer need not begin."""
        self._most = check.max_body + MAX_HEADERS
        """How many bytes of an answer are worth waiting for, so that its connection can be used again."""
        self._known: dict[bytes, Stays] = {}
        """What ends a probe with an ordinary answer, by its status."""
        self._last: _Ordinary | None = None
        """The last ordinary answer, which almost every answer is like; None before the first."""

    def __call__(self) -> "_KeptHttp":
        """Begin one conversation."""
        return _KeptHttp(self)

    @property
    def hidden(self) -> tuple[bytes, ...]:
        """What no quoted answer may show."""
        return self.answers.hidden

    def stays(self, status: bytes) -> Stays:
        """Return the step that ends a probe with an ordinary answer, and keeps its connection."""
        known = self._known.get(status)
        if known is None:
            known = self._known[status] = Stays(self.answers.outcome_of(int(status)))
        return known

    def begin_end(self) -> AnswerEnd:
        """Begin to find the end of an answer."""
        return AnswerEnd(has_body=self._has_body)

    def is_too_long(self, end: AnswerEnd) -> bool:
        """Return whether more of an answer has come than its connection is worth."""
        return end.seen > self._most

    def ordinary(self, data: bytes) -> "_Ordinary | None":
        """Return what an answer means that has come as a whole, if it is ordinary and its status decides."""
        last = self._last
        if last and len(data) == last.size and data.startswith(last.begin) and data.endswith(last.end):
            return last
        found = _ORDINARY_ANSWER.match(data) if self._is_simple else None
        if found is None or (found[2] is None and int(found[1]) not in WITHOUT_BODY):
            return None
        length = 0 if int(found[1]) in WITHOUT_BODY else int(found[2])
        if len(data) != found.end() + length:
            return None
        limit_s = None if found[3] is None else seconds_kept(found[3])
        begin, date, rest = data[: found.end()].partition(_DATE)
        if rest.find(b"\r\n") != _DATE_BYTES:  # no date, or an odd one
            begin, date, rest = data, b"", b""
        end = rest[_DATE_BYTES:] + data[found.end() :] if date else b""
        step = self.stays(found[1])
        passed = step.outcome if step.outcome.kind is OutcomeKind.UP else None
        known = _Ordinary(step, passed, limit_s, len(data), begin + date, end)
        self._last = known
        return known


class _KeptHttp:
    """The requests over one connection, one for each probe."""

    reads_first = False

    __slots__ = ("_end", "_inner", "_is_reused", "_rules", "limit_s")

    def __init__(self, rules: KeptHttpExchanges) -> None:
        self._rules = rules
        self._inner: SingleExchange | None = None
        """Judges the answer to the current request; None as long as nobody needs it, which an ordinary answer never
        does."""
        self._end: AnswerEnd | None = None
        """Finds the end of the current answer; None before the answer, and if it was ordinary and has come to its
        end."""
        self._is_reused = False
        """Whether the connection has served a probe before."""
        self.limit_s: float | None = None

    @property
    def is_ready(self) -> bool:
        return self._end is None or (self._end.is_complete and not self._end.is_last)

    def connected(self) -> Step:
        return self._rules.answers.up_to_date().request

    def resumed(self) -> Step:
        self._is_reused, self._inner, self._end = True, None, None
        return self._rules.answers.up_to_date().request

    def ordinary(self, data: bytes) -> Outcome | None:
        if self._end is not None:
            return None
        found = self._rules.ordinary(data)
        if found is None:
            return None
        self.limit_s = found.limit_s
        return found.passed

    def received(self, data: bytes) -> Step:
        end = self._end
        if end is None:
            found = self._rules.ordinary(data)
            if found is not None:
                self.limit_s = found.limit_s
                return found.step
            end = self._end = self._rules.begin_end()
        end.feed(data)
        if end.status == _TOO_LATE and self._is_reused:
            return self._again()
        step = self._judge.received(data)
        if isinstance(step, Outcome):
            return self._judged(step, end)
        if isinstance(step, bytes):  # after a redirect
            self._end = self._rules.begin_end()
        return step

    def closed(self) -> Outcome | Reconnect:
        return self._again() if self._is_stale else self._judge.closed()

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        if self._is_stale and outcome.reason is Reason.RESET:
            return self._again()
        return self._judge.failed(outcome)

    def expired(self, timeout: str) -> Outcome:
        return self._judge.expired(timeout)

    def idle(self, data: bytes) -> Sign | None:
        end = self._end
        if end is None or end.is_complete:
            return Sign.ORDERLY  # nobody has asked for this: 408, or an error in words
        end.feed(data)
        return Sign.SPENT if end.is_last or self._rules.is_too_long(end) else None

    def idle_closed(self) -> Sign:
        return Sign.URGENT

    def end(self) -> None:
        if self._inner is not None:
            self._inner.end()

    @property
    def _judge(self) -> SingleExchange:
        if self._inner is None:
            self._inner = self._rules.answers()
        return self._inner

    @property
    def _is_stale(self) -> bool:
        """Whether the server may have ended the connection before it got the current request."""
        return self._is_reused and self._end is None

    def _again(self) -> Stale:
        return Stale(self._rules())

    def _judged(self, outcome: Outcome, end: AnswerEnd) -> Outcome | Stays:
        """Return the step that ends a probe. A connection that cannot be used again ends with it."""
        self.limit_s = end.limit_s
        if end.is_last or outcome.kind is OutcomeKind.UNSURE or self._rules.is_too_long(end):
            return outcome
        return Stays(outcome)
