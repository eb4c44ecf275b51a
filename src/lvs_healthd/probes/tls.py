"""Wraps any conversation over a stream in TLS. It is sans-I/O too, because it uses `ssl.MemoryBIO`.

keepalived's SSL_GET never verifies a certificate. Here the chain, name and dates are verified unless `verify = false`.
"""

import ssl
import time
from collections.abc import Callable

import msgspec

from lvs_healthd.config.check_model import HttpsCheck, TlsCheck
from lvs_healthd.probes.certificate import certificate_end
from lvs_healthd.probes.exchange import (
    Exchange,
    Farewell,
    KeptExchange,
    MaySecure,
    Reconnect,
    SecureExchange,
    Sign,
    Stays,
    Step,
    what_happened,
)
from lvs_healthd.probes.outcome import HEARD_BYTES, Outcome, OutcomeKind, Reason, down
from lvs_healthd.probes.tls_trust import protocols, trust
from lvs_healthd.probes.tls_words import ends_soon, failure, not_selected, refusal

_READ_SIZE = 65536

_MOST_OUTCOMES = 64
"""How many outcomes of one target are remembered, each with the end of a certificate. All are forgotten when there are
more: a target that makes up new ones must not fill the memory."""

_DATES = {9: Reason.NOT_YET_VALID, 10: Reason.EXPIRED}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""


def try_tls(check: TlsCheck) -> None:
    """Begin TLS without a server, to find out whether it can begin.

    Raises `OSError` for a file and `ValueError` for a server name that TLS rejects.
    """
    _handshake(trust(check).context, check, ssl.MemoryBIO(), ssl.MemoryBIO())


def _handshake(
    context: ssl.SSLContext,
    check: TlsCheck,
    incoming: ssl.MemoryBIO,
    outgoing: ssl.MemoryBIO,
    session: ssl.SSLSession | None = None,
) -> ssl.SSLObject:
    return context.wrap_bio(incoming, outgoing, server_hostname=check.tls.sni or check.address, session=session)


def is_kept(check: TlsCheck) -> bool:
    """Return whether the connection of a check with TLS may serve several probes."""
    return isinstance(check, HttpsCheck) and check.kept is not None


class TlsExchanges:
    """Begins TLS conversations, each of which carries an inner conversation of another protocol.

    inner: begins an inner conversation. Not used by `around`.
    wall: Unix time, seconds.

    Raises an `OSError` that names the file when a file of the check cannot be used.
    """

    __slots__ = ("_inner", "_trust", "_with_end", "check", "must_select", "wall")

    def __init__(self, check: TlsCheck, inner: Callable[[], Exchange], wall: Callable[[], float] = time.time) -> None:
        self._trust = trust(check)
        self.check = check
        _, self.must_select = protocols(check)
        """Whether the server must select one of the protocols that it is offered."""
        self._inner = inner
        self.wall = wall
        self._with_end: dict[tuple[Outcome, float], Outcome] = {}

    def __call__(self) -> Exchange:
        """Begin one conversation."""
        return self.around(self._inner())

    def around(self, inner: Exchange) -> SecureExchange:
        """Begin one conversation, which carries `inner`."""
        kind = KeptTlsExchange if is_kept(self.check) else TlsExchange
        return kind(self, self.context, inner)

    def begin_inner(self) -> Exchange:
        """Begin an inner conversation."""
        return self._inner()

    @property
    def context(self) -> ssl.SSLContext:
        """What is trusted, and what is presented. A reload may replace it."""
        return self._trust.context

    @property
    def offered(self) -> tuple[str, ...]:
        """The protocols that the server is offered."""
        return self._trust.offered

    def with_end(self, outcome: Outcome, end: float | None) -> Outcome:
        """Return the inner conversation's outcome with the time when the target's certificate ends.

        A pass is a failure instead if the certificate ends within `expires_fail`.

        The same two always give the same object, because a repeated outcome costs nothing further on.
        """
        if end is None:
            return outcome
        most_s = self.check.tls.expires_fail
        if most_s and outcome.kind is OutcomeKind.UP and end - self.wall() < most_s:
            outcome = down(Reason.EXPIRES_SOON, ends_soon(end, most_s))
        known = self._with_end.get((outcome, end))
        if known is None:
            if len(self._with_end) >= _MOST_OUTCOMES:
                self._with_end.clear()
            known = msgspec.structs.replace(outcome, certificate_end=end)
            self._with_end[outcome, end] = known
        return known


class TlsExchange(MaySecure):
    """One conversation. Its first handshake may resume a session of the target."""

    __slots__ = (
        *("_decrypted", "_end", "_handshaken", "_heard", "_incoming", "_inner", "_outgoing", "_rules", "_tls"),
        *("_ahead", "_unsaid", "_with_end"),
    )

    def __init__(
        self, rules: TlsExchanges, context: ssl.SSLContext, inner: Exchange, session: ssl.SSLSession | None = None
    ) -> None:
        self._rules = rules
        self._with_end = rules.with_end
        self._end: float | None = None
        """When the target's certificate ends, Unix time."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = _handshake(context, rules.check, self._incoming, self._outgoing, session)
        self._inner = inner
        self._handshaken = False
        self._heard = False
        self._decrypted = b""
        self._ahead: bytes | ssl.SSLError | None = None
        """What has been read already, or why nothing could be, until the conversation takes it; None if nothing has."""
        self._unsaid = b""
        """What cannot be encrypted before the handshake is done that the server has asked for meanwhile, as TLS 1.2
        allows (RFC 5246, section 7.4.1.1)."""

    def decrypted(self) -> bytes | None:
        """See `MaySecure`."""
        return self._decrypted if self._handshaken else None

    def connected(self) -> Step:
        """Begin the handshake."""
        return self._advance()

    def received(self, data: bytes) -> Step:
        """Decrypt what has come, and let the inner conversation go on."""
        self._heard = True
        self._incoming.write(data)
        return self._advance()

    def closed(self) -> Outcome | Reconnect:
        """Return what follows from the end of the connection."""
        if not self._handshaken:
            return down(Reason.TLS, "connection closed during the TLS handshake")
        return self._ended(self._inner.closed())

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        """Return what follows from the failure of the connection."""
        if self._handshaken:
            return self._ended(self._inner.failed(outcome))
        if not self._heard or outcome.kind is OutcomeKind.UNSURE:
            return outcome
        return down(outcome.reason, f"{what_happened(outcome)} during the TLS handshake")

    def expired(self, timeout: str) -> Outcome:
        """Return the outcome of a probe whose time is up."""
        if self._handshaken:
            return self._with_end(self._inner.expired(timeout), self._end)
        if self._heard:
            return down(Reason.TIMEOUT, f"TLS handshake incomplete after {timeout}")
        return down(Reason.TIMEOUT, f"connected, but no TLS answer in {timeout}")

    def end(self) -> None:
        """Free what the inner conversation holds."""
        self._inner.end()

    def _advance(self) -> Step:
        """Let the conversation go on as far as the received bytes allow. What TLS rejects ends it."""
        try:
            return self._talk()
        except ssl.SSLZeroReturnError:
            return self.closed()
        except ssl.SSLCertVerificationError as error:
            return down(_DATES.get(error.verify_code, Reason.TLS), refusal(error, self._rules.check))
        except ssl.SSLError as error:
            # With TLS 1.3, the server refuses a client's certificate only after the handshake (RFC 8446, appendix E.1).
            found = down(Reason.TLS, failure(error, self._rules.check, self._rules.offered))
            return self._with_end(found, self._end)

    def _talk(self) -> Step:
        """Do the handshake, then pass bytes to and from the inner conversation. Raises `ssl.SSLError`."""
        try:
            if not self._handshaken:
                self._tls.do_handshake()
                self._handshaken = True
                self._end = self._certificate_end()
                step = self._refused_protocol() or self._say(self._inner.connected())
                if step is not None:
                    return step
            while data := self._read():
                if len(self._decrypted) < HEARD_BYTES:
                    self._decrypted += data[:HEARD_BYTES]
                step = self._say(self._inner.received(data))
                if step is not None:
                    return step
        except ssl.SSLWantReadError:
            if self._unsaid:
                self._say(b"")
            return self._outgoing.read() or None
        return self.closed()

    def _read(self) -> bytes:
        """Return the next bytes that have been decrypted. Raises `ssl.SSLError` as `SSLObject.read` does."""
        return self._tls.read(_READ_SIZE)

    def _refused_protocol(self) -> Outcome | None:
        """Return the outcome of a handshake in which the server has selected none of our protocols; None if it did."""
        if not self._rules.must_select:
            return None
        selected, offered = self._tls.selected_alpn_protocol(), self._rules.offered
        if selected in offered:
            return None
        return self._with_end(down(Reason.TLS, not_selected(offered, selected)), self._end)

    def _certificate_end(self) -> float | None:
        der = self._tls.getpeercert(binary_form=True)  # this form is given even if the certificate was not verified
        return None if der is None else certificate_end(der)

    def _ended(self, step: Outcome | Reconnect) -> Outcome | Reconnect:
        """Return the step that ends the connection. A new one begins TLS from the start."""
        if isinstance(step, Reconnect):
            return type(step)(self._rules.around(step.exchange))
        return self._with_end(step, self._end)

    def _say(self, step: Step) -> Outcome | Farewell | Stays | Reconnect | None:
        """Encrypt what the inner conversation wants to send. Return the step that ends it, or None if it goes on."""
        if isinstance(step, bytes):
            unsaid = self._unsaid + step
            self._unsaid = b"" if self._encrypt(unsaid) else unsaid
            return None
        if isinstance(step, Farewell):
            self._encrypt(step.data)  # if in vain, the connection simply ends
            outcome = self._with_end(step.outcome, self._end)
            return Farewell(self._outgoing.read(), outcome, step.peer_may_close)
        if isinstance(step, Stays):
            return self._stay(step)
        return None if step is None else self._ended(step)

    def _encrypt(self, data: bytes) -> bool:
        """Encrypt bytes to send. Return False if they must wait for a handshake that the server has asked for."""
        try:
            self._tls.write(data)
        except ssl.SSLWantReadError:
            return False
        return True

    def _stay(self, step: Stays) -> Outcome | Stays:
        """Return the step that ends the probe."""
        return self._with_end(step.outcome, self._end)


class KeptTlsExchange(TlsExchange):
    """A connection that stays open from one probe to the next. The inner conversation does too."""

    __slots__ = ()

    _inner: KeptExchange

    @property
    def limit_s(self) -> float | None:
        """See `KeptExchange`."""
        return self._inner.limit_s

    @property
    def reads_first(self) -> bool:
        """See `KeptExchange`."""
        return self._inner.reads_first

    @property
    def is_ready(self) -> bool:
        """See `KeptExchange`."""
        return self._inner.is_ready

    def resumed(self) -> Step:
        """Begin the next probe on the connection, whose TLS goes on."""
        self._decrypted = b""
        step = self._inner.resumed()
        if not isinstance(step, bytes):
            return self._say(step)
        try:
            self._tls.write(step)
        except ssl.SSLError:
            # The server has asked for another handshake, and has not gone on with it. This connection says no more.
            return self.closed()
        return self._outgoing.read()

    def ordinary(self, data: bytes) -> Outcome | None:
        """See `KeptExchange`. What has been decrypted in vain waits for `received`."""
        self._incoming.write(data)
        try:
            self._ahead = ahead = self._tls.read(_READ_SIZE)
        except ssl.SSLError as error:
            self._ahead = error.with_traceback(None)  # whose frames would refer back to this conversation
            return None
        # A read returns a whole record. If more has come, or TLS itself has something to say, this is not ordinary.
        if self._incoming.pending or self._outgoing.pending:
            return None
        outcome = self._inner.ordinary(ahead)
        if outcome is None or (outcome := self._with_end(outcome, self._end)).kind is not OutcomeKind.UP:
            return None
        self._ahead = None
        return outcome

    def received(self, data: bytes) -> Step:
        """Let the inner conversation go on, with what has come or with what `ordinary` has decrypted of it."""
        return super().received(data) if self._ahead is None else self._advance()

    def _read(self) -> bytes:
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return super()._read()
        if not isinstance(ahead, ssl.SSLError):
            return ahead
        try:
            raise ahead
        finally:
            del ahead  # to which the frame would refer, and it to the frame

    def idle(self, data: bytes) -> bytes | Sign | None:
        """Decrypt what has come between two probes, and let the inner conversation judge it."""
        self._incoming.write(data)
        return self._read_idle()

    def idle_closed(self) -> Sign:
        """See `KeptExchange`."""
        return self._inner.idle_closed()

    def _read_idle(self) -> bytes | Sign | None:
        try:
            while data := self._tls.read(_READ_SIZE):
                found = self._inner.idle(data)
                if isinstance(found, Sign):
                    return found
                if found and not self._encrypt(found):
                    return Sign.ORDERLY
        except ssl.SSLWantReadError:
            return self._outgoing.read() or None
        except ssl.SSLZeroReturnError:
            return Sign.ORDERLY
        except ssl.SSLError:
            return Sign.URGENT
        return Sign.ORDERLY  # Python reads nothing after close_notify

    def _stay(self, step: Stays) -> Outcome | Stays:
        outcome = self._with_end(step.outcome, self._end)
        if self._unsaid or (step.data and not self._encrypt(step.data)):
            return outcome
        # What has come after the end of the answer is still in the hands of TLS.
        found = self._read_idle()
        return outcome if isinstance(found, Sign) else Stays(outcome, found or b"")
