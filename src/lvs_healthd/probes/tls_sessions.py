"""Resumes TLS sessions (RFC 8446, section 2.2; RFC 5246, section 7.3), because such a handshake is cheaper.

It costs half of a whole one, or three quarters if the sessions of hundreds of targets do not fit into the processor's
caches.

As clients do, a probe offers the session that the target gave to one before it. A target that takes it proves only that
it has the keys of that handshake, in which its certificate was verified. So there is a whole handshake every minute. It
comes at the next probe if the clock or a certificate gives reason for it, because our own clock can only be suspected
(`decide.wrong_clock`) if all targets verify at the same time.

Python copies a session whenever one is read or used. To read one costs nearly as much as a resumed handshake saves, so
it is read only after a whole handshake, and serves all probes until the next.
"""

import math
import random
import ssl
import time
from collections.abc import Callable
from typing import ClassVar

from lvs_healthd.probes.exchange import Exchange, Farewell, Reconnect, Stays, Step
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probes.tls import KeptTlsExchange, TlsExchange, TlsExchanges, is_kept

RENEW_S = 60.0
"""The longest time from one whole handshake to the next, seconds. Servers keep sessions for five minutes or longer."""

MOST_APART_S = RENEW_S / 2
"""Handshakes that are further apart, seconds, would use a session too seldom for its memory, about 11 KiB. So would
those of connections that are kept."""

REFUSED_S = 600.0
"""For so many seconds none is kept after a target has given none, or done nothing good with the one that it gave."""

CLOCK_MOVED_S = 10.0
"""By so many seconds the wall clock must move against the monotonic one to count as set."""

_SPREAD = 0.5
"""A session is used for between this share of `RENEW_S` and all of it, so that the whole handshakes of targets that
begin together do not come together."""

_BY_DATE = frozenset((Reason.EXPIRED, Reason.NOT_YET_VALID))


class TargetSessions:
    """Begins the TLS conversations of one target, and keeps its last session.

    rules: begins whole conversations.
    clock: monotonic time, seconds.
    random: returns floats in [0, 1).
    """

    epoch: ClassVar[int] = 0
    """How often a certificate that was good before has been refused for its dates, in this process. Each time all
    sessions end."""

    __slots__ = (
        *("_began", "_clock", "_context", "_epoch", "_has_passed", "_is_frequent", "_kind", "_random", "_rules"),
        *("_session", "_until", "_wall_offset_s", "_was_taken", "certificate_end"),
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
        self._has_passed = False
        """Whether the target has passed since its certificate was last refused for its dates."""
        self._session: ssl.SSLSession | None = None
        self._until = 0.0
        """Until when the session is used; if there is none, until when none is kept."""
        self._was_taken = False
        """Whether a probe has passed over the session."""
        self._context: ssl.SSLContext | None = None
        """The one with which the session was made. No other can use it."""
        # The rest tells of the last whole handshake.
        self._epoch = 0
        self._wall_offset_s = 0.0
        """How much the wall clock was ahead of the monotonic one, seconds."""
        self.certificate_end: float | None = None
        """When the certificate ends, Unix time."""

    def __call__(self) -> Exchange:
        """Begin one conversation, which offers the session if there is one."""
        now, context = self._clock(), self._rules.context
        apart_s, self._began = now - self._began, now
        self._is_frequent = apart_s <= MOST_APART_S
        if self._session is not None and not self._is_good(context, now, apart_s):
            self._forget(0.0)
        return self._kind(self, self._rules, context, self._rules.begin_inner(), self._session)

    def again(self, inner: Exchange) -> Exchange:
        """Begin the conversation of the same probe once more, with a whole handshake.

        A target that cannot resume its session may be as good as any.

        inner: the inner conversation, which has not begun.
        """
        self._refused()
        return self._kind(self, self._rules, self._rules.context, inner, None)

    def _is_good(self, context: ssl.SSLContext, now: float, apart_s: float) -> bool:
        """Return whether the session may be offered now, because the next probe will still come in time for another."""
        return now + apart_s <= self._until and self._context is context and self.is_verified()

    def is_verified(self) -> bool:
        """Return whether there is no reason to verify the certificate before its time, by a whole handshake."""
        rules, end = self._rules, self.certificate_end
        if not rules.check.tls.verify:
            return True
        wall = rules.wall()
        return (
            self._epoch == TargetSessions.epoch
            and (end is None or wall < end)
            and abs(wall - self._clock() - self._wall_offset_s) < CLOCK_MOVED_S
        )

    def verified(self, end: float | None) -> None:
        """Note a whole handshake.

        end: when the certificate ends, Unix time.
        """
        self._epoch, self.certificate_end = TargetSessions.epoch, end
        self._wall_offset_s = self._rules.wall() - self._clock()

    def passed(self, tls: ssl.SSLObject, context: ssl.SSLContext) -> None:
        """Note a pass. After a whole handshake, keep the session that it has made, if the target can resume it.

        tls: the connection, over which an answer has come: a target sends its session with it, or before it.
        """
        self._has_passed = True
        if tls.session_reused:
            self._was_taken = True
            return
        if self._session is not None:
            self._refused()
        now = self._clock()
        if now < self._until or not self._is_frequent:
            return
        session = tls.session
        if session is None or not (session.has_ticket or (session.id and tls.version() != "TLSv1.3")):
            self._until = now + REFUSED_S
            return
        self._session, self._context, self._was_taken = session, context, False
        self._until = now + RENEW_S * (1.0 - _SPREAD * self._random())

    def failed(self, reason: Reason) -> None:
        """Note a failure. If there is a session, it may be the cause."""
        if self._session is not None:
            self._refused()
        if reason in _BY_DATE and self._has_passed:
            self._has_passed = False
            TargetSessions.epoch += 1

    def is_not_needed(self) -> None:
        """Note that the last connection serves more than one probe."""
        self._began = -math.inf
        self._forget(0.0)

    def _refused(self) -> None:
        """Forget the session, with which no probe passes. One that has served before has just become too old."""
        self._forget(0.0 if self._was_taken else self._clock() + REFUSED_S)

    def _forget(self, until: float) -> None:
        self._session = self._context = None
        self._until = until


class _Resuming(TlsExchange):
    """A conversation that may begin with a resumed session."""

    __slots__ = ("_context", "_has_begun", "_is_first", "_is_offered", "_serves_more", "_sessions")

    def __init__(
        self,
        sessions: TargetSessions,
        rules: TlsExchanges,
        context: ssl.SSLContext,
        inner: Exchange,
        session: ssl.SSLSession | None,
    ) -> None:
        super().__init__(rules, context, inner, session)
        self._sessions = sessions
        self._context = context
        self._is_offered = session is not None
        self._has_begun = False
        """Whether the session has been offered, because the target has accepted the connection."""
        self._is_first = True
        """Whether no probe has ended on the connection yet."""
        self._serves_more = False
        """Whether a second probe has begun on it."""

    def connected(self) -> Step:
        self._has_begun = True
        return super().connected()

    def closed(self) -> Outcome | Reconnect:
        if self._is_doubtful:
            return self._again()
        step = super().closed()
        self._learn(step)
        return step

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        if self._is_doubtful and outcome.kind is not OutcomeKind.UNSURE:
            return self._again()
        step = super().failed(outcome)
        self._learn(step)
        return step

    def expired(self, timeout: str) -> Outcome:
        outcome = super().expired(timeout)
        self._learn(outcome)
        return outcome

    @property
    def _is_doubtful(self) -> bool:
        """Whether the handshake is under way, and may fail because of the session."""
        return self._is_offered and self._has_begun and not self._handshaken

    def _advance(self) -> Step:
        step = super()._advance()
        if self._is_first and step is not None and not isinstance(step, bytes):
            if self._is_doubtful and isinstance(step, Outcome):
                return self._again()
            self._learn(step)
        return step

    def _certificate_end(self) -> float | None:
        if self._is_offered and self._tls.session_reused:
            return self._sessions.certificate_end
        return super()._certificate_end()

    def _learn(self, step: Outcome | Farewell | Stays | Reconnect) -> None:
        """Note what the first probe on the connection has shown."""
        if not self._is_first:
            return
        self._is_first = False
        if self._handshaken and not self._tls.session_reused:
            self._sessions.verified(self._end)
        outcome = step.outcome if isinstance(step, Farewell | Stays) else step
        if isinstance(outcome, Reconnect) or outcome.kind is OutcomeKind.UNSURE:
            return
        if outcome.kind is OutcomeKind.UP:
            self._sessions.passed(self._tls, self._context)
        else:
            self._sessions.failed(outcome.reason)

    def _again(self) -> Reconnect:
        self._is_first = False
        return Reconnect(self._sessions.again(self._inner))


class _ResumingKept(_Resuming, KeptTlsExchange):
    """The same over a connection that may be kept, but perhaps never is, because the server does not."""

    __slots__ = ()

    @property
    def is_ready(self) -> bool:
        return self._inner.is_ready and self._sessions.is_verified()

    def resumed(self) -> Step:
        if not self._serves_more:
            self._serves_more = True
            self._sessions.is_not_needed()
        return super().resumed()
