"""Resumes TLS sessions (RFC 8446, section 2.2; RFC 5246, section 7.3): such a handshake costs half of a whole one.

As clients do, a probe offers the session that the target gave to one before it. If the target takes it, it proves that
it still has the secrets of a handshake in which its certificate was verified, and sends none. So every minute a whole
handshake verifies the certificate anew.

Python copies a session whenever one is read or used. To read one costs as much as a resumed handshake saves, so it is
read only after a whole handshake, and serves all probes until the next.
"""

import math
import random
import ssl
import time
from collections.abc import Callable

from lvs_healthd.probes.exchange import Exchange, Farewell, Reconnect, Stays, Step
from lvs_healthd.probes.outcome import Outcome, OutcomeKind
from lvs_healthd.probes.tls import KeptTlsExchange, TlsExchange, TlsExchanges, is_kept

RENEW_S = 60.0
"""The longest time for which a session is used, seconds. Servers keep theirs for five minutes or longer."""

MOST_APART_S = RENEW_S / 2
"""Handshakes that are further apart, seconds, would use a session too seldom for its 11 KiB of memory. So are those of
connections that are kept."""

REFUSED_S = 600.0
"""For so many seconds none is kept after a target has given none, or refused the one it gave."""

_SPREAD = 0.5
"""A session is used for between this share of `RENEW_S` and all of it, so that the whole handshakes of targets that
begin together do not come together."""


class TargetSessions:
    """Begins the TLS conversations of one target, and keeps its last session.

    rules: begins whole conversations.
    clock: monotonic time, seconds.
    random: returns floats in [0, 1).
    """

    __slots__ = (
        *("_began", "_clock", "_context", "_is_frequent", "_kind", "_random", "_rules", "_session", "_until"),
        *("_was_taken", "certificate_end"),
    )

    def __init__(
        self,
        rules: TlsExchanges,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._rules = rules
        self._kind = _ResumingKept if is_kept(rules.check) else _Resuming
        self._clock = clock
        self._random = random
        self._began = -math.inf
        """When the last conversation began. All times are seconds on the clock."""
        self._is_frequent = False
        """Whether that was soon after the one before."""
        self._session: ssl.SSLSession | None = None
        self._context: ssl.SSLContext | None = None
        """The one with which the session was made. No other can use it."""
        self.certificate_end: float | None = None
        """When the certificate ends that was verified when the session was made, Unix time."""
        self._until = 0.0
        """How long the session is used; if there is none, until when none is kept."""
        self._was_taken = False
        """Whether the target has resumed the session once."""

    def __call__(self) -> Exchange:
        """Begin one conversation, which offers the session if there is one."""
        now, context, session = self._clock(), self._rules.context, self._session
        self._is_frequent = now - self._began <= MOST_APART_S
        self._began = now
        if session is not None and (self._context is not context or now >= self._until):
            session = self._session = None
            self._until = 0.0
        return self._kind(self, self._rules, context, session)

    def taken(self) -> None:
        """Note that the target has resumed the session."""
        self._was_taken = True

    def refused(self) -> None:
        """Note that the target has not resumed the session. One that it has resumed before has just become too old."""
        self._session = None
        self._until = 0.0 if self._was_taken else self._clock() + REFUSED_S

    def keep(self, tls: ssl.SSLObject, context: ssl.SSLContext, certificate_end: float | None) -> None:
        """Keep the session that was made in a whole handshake, if the target can resume it.

        tls: the connection, over which an answer has come: a target sends its session with it, or before it.
        """
        now = self._clock()
        if self._session is not None or now < self._until or not self._is_frequent:
            return
        session = tls.session
        if session is None or not (session.has_ticket or (session.id and tls.version() != "TLSv1.3")):
            self._until = now + REFUSED_S
            return
        self._session, self._context, self.certificate_end = session, context, certificate_end
        self._was_taken = False
        self._until = now + RENEW_S * (1.0 - _SPREAD * self._random())


class _Resuming(TlsExchange):
    """A conversation that may begin with a resumed session."""

    __slots__ = ("_context", "_is_first", "_is_offered", "_sessions")

    def __init__(
        self,
        sessions: TargetSessions,
        rules: TlsExchanges,
        context: ssl.SSLContext,
        session: ssl.SSLSession | None,
    ) -> None:
        super().__init__(rules, context, rules.begin_inner(), session)
        self._sessions = sessions
        self._context = context
        self._is_offered = session is not None
        self._is_first = True
        """Whether no probe has ended on the connection yet."""

    def closed(self) -> Outcome | Reconnect:
        return super().closed() if self._handshaken or not self._is_offered else self._again()

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        if self._heard and not self._handshaken and self._is_offered and outcome.kind is not OutcomeKind.UNSURE:
            return self._again()
        return super().failed(outcome)

    def _advance(self) -> Step:
        step = super()._advance()
        if self._is_first and step is not None and not isinstance(step, bytes):
            self._is_first = False
            if self._handshaken:
                self._learn(step)
            elif self._is_offered and isinstance(step, Outcome):
                return self._again()
        return step

    def _certificate_end(self) -> float | None:
        if self._is_offered and self._tls.session_reused:
            return self._sessions.certificate_end
        return super()._certificate_end()

    def _learn(self, step: Outcome | Farewell | Stays | Reconnect) -> None:
        """Note what the first probe has shown about the session."""
        is_reused = self._tls.session_reused
        if self._is_offered:
            (self._sessions.taken if is_reused else self._sessions.refused)()
        outcome = step.outcome if isinstance(step, Farewell | Stays) else step
        if not is_reused and isinstance(outcome, Outcome) and outcome.kind is OutcomeKind.UP:
            self._sessions.keep(self._tls, self._context, self._end)

    def _again(self) -> Reconnect:
        """Begin again with a whole handshake: a target that cannot resume its session may be as good as any."""
        self._sessions.refused()
        return Reconnect(self._rules.around(self._inner))


class _ResumingKept(_Resuming, KeptTlsExchange):
    """The same over a connection that may be kept, but perhaps never is, because the server does not."""

    __slots__ = ()
