"""Wraps any conversation over a stream in TLS. It is sans-I/O too, because it uses `ssl.MemoryBIO`.

keepalived's SSL_GET never verifies a certificate. Here the chain, name and dates are verified unless `verify = false`.
"""

import errno
import ssl
from collections.abc import Callable, Iterable
from weakref import WeakValueDictionary

from lvs_healthd.config.model import HttpsCheck
from lvs_healthd.probes.exchange import Exchange, Farewell, Step
from lvs_healthd.probes.outcome import Outcome, Reason, down

_READ_SIZE = 65536


class Trust:
    """The certificates that a check trusts.

    All checks with the same `ca` and `verify` share one `Trust`, because loading the system's certificates takes 20 ms.

    Raises `OSError` (also as `ssl.SSLError`) when `ca` cannot be read.
    """

    def __init__(self, ca: str, *, verify: bool) -> None:
        self.ca = ca
        self.verify = verify
        self.context = self.load()

    def load(self) -> ssl.SSLContext:
        """Read the certificates. Raises `OSError` when `ca` cannot be read."""
        context = ssl.create_default_context(cafile=self.ca or None)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        return context


_trusts: WeakValueDictionary[tuple[str, bool], Trust] = WeakValueDictionary()


def trust(check: HttpsCheck) -> Trust:
    """Return the `Trust` of this check, which other checks may share.

    Raises `OSError` when this check is the first to use its `ca` and the file cannot be read.
    """
    key = (check.ca, check.verify)
    found = _trusts.get(key)
    if found is None:
        found = _trusts[key] = Trust(check.ca, verify=check.verify)
    return found


def read_again(checks: Iterable[HttpsCheck]) -> Callable[[], None]:
    """Read the certificates of these checks again, because the files may have changed.

    Return a function that puts them into force and cannot fail. Raises an `OSError` that names the file when a file
    cannot be read.
    """
    trusts = {(check.ca, check.verify): trust(check) for check in checks}
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
    """Begins TLS conversations, each of which carries an inner conversation of another protocol."""

    __slots__ = ("_inner", "_name", "_trust")

    def __init__(self, check: HttpsCheck, inner: Callable[[], Exchange]) -> None:
        self._trust = trust(check)
        self._name = check.sni or check.address
        self._inner = inner

    def __call__(self) -> Exchange:
        """Begin one conversation."""
        return _TlsExchange(self._trust.context, self._name, self._inner())


class _TlsExchange:
    __slots__ = ("_handshaken", "_heard", "_incoming", "_inner", "_outgoing", "_tls")

    def __init__(self, context: ssl.SSLContext, name: str, inner: Exchange) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._inner = inner
        self._handshaken = False
        self._heard = False

    def connected(self) -> Step:
        return self._advance()

    def received(self, data: bytes) -> Step:
        self._heard = True
        self._incoming.write(data)
        return self._advance()

    def closed(self) -> Outcome:
        if not self._handshaken:
            return down(Reason.TLS, "connection closed during the TLS handshake")
        return self._inner.closed()

    def expired(self, timeout: str) -> Outcome:
        if self._handshaken:
            return self._inner.expired(timeout)
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
                step = self._say(self._inner.connected())
                if step is not None:
                    return step
            while data := self._tls.read(_READ_SIZE):
                step = self._say(self._inner.received(data))
                if step is not None:
                    return step
        except ssl.SSLWantReadError:
            return self._outgoing.read() or None
        except ssl.SSLZeroReturnError:
            return self._inner.closed()
        except ssl.SSLCertVerificationError as error:
            return down(Reason.TLS, f"certificate refused: {error.verify_message}")
        except ssl.SSLError as error:
            return down(Reason.TLS, _handshake_error(error))
        return self._inner.closed()

    def _say(self, step: Step) -> Outcome | Farewell | None:
        """Encrypt what the inner conversation wants to send. Return the step that ends it, or None if it goes on."""
        if isinstance(step, bytes):
            self._tls.write(step)
            return None
        if isinstance(step, Farewell):
            self._tls.write(step.data)
            return Farewell(self._outgoing.read(), step.outcome)
        return step


def _handshake_error(error: ssl.SSLError) -> str:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if error.reason in {"WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return f"no TLS on this port ({reason})"
    return f"TLS failed: {reason}"
