"""Wraps any conversation over a stream in TLS. It is sans-I/O too, because it uses `ssl.MemoryBIO`.

keepalived's SSL_GET never verifies a certificate. Here the chain, name and dates are verified unless `verify = false`.
"""

import errno
import ssl
from collections.abc import Callable, Iterable
from weakref import WeakValueDictionary

import msgspec

from lvs_healthd.config.check_model import HttpsCheck, TlsCheck
from lvs_healthd.probes.authorities import load_system_authorities
from lvs_healthd.probes.certificate import certificate_end
from lvs_healthd.probes.exchange import Exchange, Farewell, MaySecure, Reconnect, SecureExchange, Step, what_happened
from lvs_healthd.probes.outcome import HEARD_BYTES, Outcome, OutcomeKind, Reason, down

_READ_SIZE = 65536

_MOST_OUTCOMES = 16384
"""How many outcomes are remembered, each with the end of a certificate. All are forgotten when there are more."""

VERIFY_FLAGS = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
"""Python 3.13 turned on two flags by default. Both have a fixed value here, so that the version makes no difference.

VERIFY_X509_PARTIAL_CHAIN is on, so every certificate in `ca` is trusted by itself, whoever has issued it: also that of
an intermediate authority, or the server's own. VERIFY_X509_STRICT is off, because it refuses certificates that browsers
and curl accept, such as those of private authorities without an Authority Key Identifier. A check must not be stricter
than the clients.
"""

_NAME_MISMATCH = (62, 64)
_NO_KNOWN_ISSUER = (2, 18, 19, 20, 21)
"""X509_V_ERR_… in openssl/x509_vfy.h: no issuer found, or self-signed."""
_DATES = {9: Reason.NOT_YET_VALID, 10: Reason.EXPIRED}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
_NAME_MISSING = ("TLSV1_UNRECOGNIZED_NAME", "SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_INTERNAL_ERROR")
"""The TLS alerts of servers that have no certificate for a client that sends no server name."""


class Trust:
    """The certificates that a check trusts.

    All checks with the same values share one `Trust`, because loading the system's certificates takes 20 ms.

    alpn: the protocol to announce to the server (RFC 7301); "" for none.

    Raises `OSError` (also as `ssl.SSLError`) when the certificates cannot be read.
    """

    def __init__(self, ca: str, *, verify: bool, alpn: str) -> None:
        self.ca = ca
        self.verify = verify
        self.alpn = alpn
        self.context = self.load()

    def load(self) -> ssl.SSLContext:
        """Read the certificates. Raises `OSError` when they cannot be read."""
        # `ssl.create_default_context` is not used, because what it verifies depends on Python's version, and because
        # OpenSSL would then read files during handshakes.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.alpn:
            context.set_alpn_protocols([self.alpn])
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        context.verify_flags = VERIFY_FLAGS
        if self.ca:
            context.load_verify_locations(self.ca)
        else:
            load_system_authorities(context)
        return context


_trusts: WeakValueDictionary[tuple[str, bool, str], Trust] = WeakValueDictionary()


def trust(check: TlsCheck) -> Trust:
    """Return the `Trust` of this check, which other checks may share.

    Raises `OSError` when this check is the first to use its `ca` and the file cannot be read.
    """
    alpn = "http/1.1" if isinstance(check, HttpsCheck) else ""
    key = (check.ca, check.verify, alpn)
    found = _trusts.get(key)
    if found is None:
        found = _trusts[key] = Trust(check.ca, verify=check.verify, alpn=alpn)
    return found


def try_tls(check: TlsCheck) -> None:
    """Begin TLS without a server, to find out whether it can begin.

    Raises `OSError` for a `ca` and `ValueError` for a server name that TLS rejects.
    """
    _handshake(trust(check).context, check, ssl.MemoryBIO(), ssl.MemoryBIO())


def _handshake(
    context: ssl.SSLContext, check: TlsCheck, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> ssl.SSLObject:
    return context.wrap_bio(incoming, outgoing, server_hostname=check.sni or check.address)


def read_again(checks: Iterable[TlsCheck]) -> Callable[[], None]:
    """Read the certificates of these checks again, because the files may have changed.

    Return a function that puts them into force and cannot fail. Raises an `OSError` that names the file when a file
    cannot be read.
    """
    trusts = {id(found): found for found in map(trust, checks)}
    contexts: list[tuple[Trust, ssl.SSLContext]] = []
    for each in trusts.values():
        try:
            contexts.append((each, each.load()))
        except ssl.SSLError as error:
            raise OSError(errno.EINVAL, "no PEM certificate in it", each.ca) from error
        except OSError as error:
            raise OSError(error.errno, error.strerror, each.ca) from error

    def put_into_force() -> None:
        for each, context in contexts:
            each.context = context

    return put_into_force


class TlsExchanges:
    """Begins TLS conversations, each of which carries an inner conversation of another protocol.

    inner: begins an inner conversation. Not used by `around`.
    """

    __slots__ = ("_check", "_inner", "_trust", "_with_end")

    def __init__(self, check: TlsCheck, inner: Callable[[], Exchange]) -> None:
        self._trust = trust(check)
        self._check = check
        self._inner = inner
        self._with_end: dict[tuple[Outcome, float], Outcome] = {}

    def __call__(self) -> Exchange:
        """Begin one conversation."""
        return self.around(self._inner())

    def around(self, inner: Exchange) -> SecureExchange:
        """Begin one conversation, which carries `inner`."""
        return _TlsExchange(self._trust.context, self._check, inner, self)

    def with_end(self, outcome: Outcome, end: float | None) -> Outcome:
        """Return the inner conversation's outcome with the time when the target's certificate ends.

        The same two always give the same object, because a repeated outcome costs nothing further on.
        """
        if end is None:
            return outcome
        known = self._with_end.get((outcome, end))
        if known is None:
            if len(self._with_end) >= _MOST_OUTCOMES:
                self._with_end.clear()
            known = msgspec.structs.replace(outcome, certificate_end=end)
            self._with_end[outcome, end] = known
        return known


class _TlsExchange(MaySecure):
    __slots__ = (
        *("_check", "_decrypted", "_end", "_factory", "_handshaken", "_heard", "_incoming", "_inner"),
        *("_outgoing", "_tls"),
    )

    def __init__(self, context: ssl.SSLContext, check: TlsCheck, inner: Exchange, factory: TlsExchanges) -> None:
        self._check = check
        self._factory = factory
        self._end: float | None = None
        """When the target's certificate ends, Unix time."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = _handshake(context, check, self._incoming, self._outgoing)
        self._inner = inner
        self._handshaken = False
        self._heard = False
        self._decrypted = b""

    def decrypted(self) -> bytes | None:
        return self._decrypted if self._handshaken else None

    def connected(self) -> Step:
        return self._advance()

    def received(self, data: bytes) -> Step:
        self._heard = True
        self._incoming.write(data)
        return self._advance()

    def closed(self) -> Outcome | Reconnect:
        if not self._handshaken:
            return down(Reason.TLS, "connection closed during the TLS handshake")
        return self._ended(self._inner.closed())

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        if self._handshaken:
            return self._ended(self._inner.failed(outcome))
        if not self._heard or outcome.kind is OutcomeKind.UNSURE:
            return outcome
        return down(outcome.reason, f"{what_happened(outcome)} during the TLS handshake")

    def expired(self, timeout: str) -> Outcome:
        if self._handshaken:
            return self._factory.with_end(self._inner.expired(timeout), self._end)
        if self._heard:
            return down(Reason.TIMEOUT, f"TLS handshake incomplete after {timeout}")
        return down(Reason.TIMEOUT, f"connected, but no TLS answer in {timeout}")

    def end(self) -> None:
        self._inner.end()

    def _advance(self) -> Step:
        """Do the handshake, then pass bytes to and from the inner conversation, as far as the received bytes allow."""
        try:
            if not self._handshaken:
                self._tls.do_handshake()
                self._handshaken = True
                self._end = self._certificate_end()
                step = self._say(self._inner.connected())
                if step is not None:
                    return step
            while data := self._tls.read(_READ_SIZE):
                if len(self._decrypted) < HEARD_BYTES:
                    self._decrypted += data[:HEARD_BYTES]
                step = self._say(self._inner.received(data))
                if step is not None:
                    return step
        except ssl.SSLWantReadError:
            return self._outgoing.read() or None
        except ssl.SSLZeroReturnError:
            return self.closed()
        except ssl.SSLCertVerificationError as error:
            return down(_DATES.get(error.verify_code, Reason.TLS), _refusal(error, self._check))
        except ssl.SSLError as error:
            return down(Reason.TLS, _handshake_error(error, self._check))
        return self.closed()

    def _certificate_end(self) -> float | None:
        der = self._tls.getpeercert(binary_form=True)  # this form is given even if the certificate was not verified
        return None if der is None else certificate_end(der)

    def _ended(self, step: Outcome | Reconnect) -> Outcome | Reconnect:
        """Return the step that ends the connection. A new one begins TLS from the start."""
        if isinstance(step, Reconnect):
            return Reconnect(self._factory.around(step.exchange))
        return self._factory.with_end(step, self._end)

    def _say(self, step: Step) -> Outcome | Farewell | Reconnect | None:
        """Encrypt what the inner conversation wants to send. Return the step that ends it, or None if it goes on."""
        if isinstance(step, bytes):
            self._tls.write(step)
            return None
        if isinstance(step, Farewell):
            self._tls.write(step.data)
            outcome = self._factory.with_end(step.outcome, self._end)
            return Farewell(self._outgoing.read(), outcome, step.peer_may_close)
        return None if step is None else self._ended(step)


def _refusal(error: ssl.SSLCertVerificationError, check: TlsCheck) -> str:
    """Say why a certificate is refused, and what to write if it is the configuration's fault."""
    refused = f"certificate refused: {error.verify_message.rstrip('.')}"
    if error.verify_code in _NAME_MISMATCH and not check.sni:
        return f"{refused}; set {_name_keys(check)} to the name that clients ask for"
    if error.verify_code in _NO_KNOWN_ISSUER:
        if check.ca:
            return f"{refused}; neither it nor its issuer is in ca = {check.ca}"
        return f"{refused}; if clients trust it, set ca to a file with the certificate of its issuer"
    return refused


def _name_keys(check: TlsCheck) -> str:
    return "host or sni" if isinstance(check, HttpsCheck) else "sni"


def _handshake_error(error: ssl.SSLError, check: TlsCheck) -> str:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if error.reason in {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return f"no TLS on this port ({reason})"
    if error.reason in _NAME_MISSING and not check.sni:
        return f"TLS failed: {reason}; perhaps because no server name was asked for: set {_name_keys(check)}"
    return f"TLS failed: {reason}"
