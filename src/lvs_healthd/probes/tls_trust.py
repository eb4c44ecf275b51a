"""What checks with TLS trust, offer and present: their files, read when the configuration is loaded."""

import errno
import ssl
import warnings
from collections.abc import Callable, Iterable
from weakref import WeakValueDictionary

import msgspec

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import GrpcCheck, HttpsCheck, Tls, TlsCheck
from lvs_healthd.config.tls_values import VERSIONS, load_client_pair
from lvs_healthd.runtime.authorities import load_system_authorities

VERIFY_FLAGS = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
"""Python 3.13 turned on two flags by default. Both have a fixed value here, so that the version makes no difference.

VERIFY_X509_PARTIAL_CHAIN is on, so every certificate in `ca` is trusted by itself, whoever has issued it: also that of
an intermediate authority, or the server's own. VERIFY_X509_STRICT is off, because it refuses certificates that browsers
and curl accept, such as those of private authorities without an Authority Key Identifier. A check must not be stricter
than the clients.
"""

_OLD_VERSIONS = ("1.0", "1.1")
"""The versions whose signatures are made with MD5 and SHA-1, which OpenSSL allows at its security level 0 only."""


class Trust:
    """The certificates that a check trusts, and the one that it presents.

    All checks with the same values share one `Trust`, because loading the system's certificates takes 20 ms.

    tls: only its files, `verify` and `min_tls` matter.
    offered: the protocols to offer to the server (RFC 7301); empty for none.

    Raises an `OSError` that names the file when one cannot be used.
    """

    def __init__(self, tls: Tls, offered: tuple[str, ...]) -> None:
        self._tls = tls
        self.offered = offered
        self.context = self.load()

    def load(self) -> ssl.SSLContext:
        """Read the files. Raises `OSError` as the constructor does."""
        # `ssl.create_default_context` is not used, because what it verifies depends on Python's version, and because
        # OpenSSL would then read files during handshakes.
        tls, context = self._tls, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _accept_from(context, tls.min_tls)
        if self.offered:
            context.set_alpn_protocols(list(self.offered))
        if tls.client_cert:
            load_client_pair(context, tls.client_cert, tls.client_key)
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        context.verify_flags = VERIFY_FLAGS
        if tls.ca:
            _load_authorities(context, tls.ca)
        else:
            load_system_authorities(context)
        return context


def _accept_from(context: ssl.SSLContext, version: str) -> None:
    """Let `context` accept a version of TLS, such as "1.2", and all later ones.

    Versions 1.0 and 1.1 need security level 0 (`ssl_security_default_callback` in OpenSSL's ssl/ssl_cert.c), which also
    accepts certificates with short keys and old signatures. The ciphers stay the same.
    """
    if version not in _OLD_VERSIONS:
        context.minimum_version = VERSIONS[version]
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of versions that are asked for on purpose
        context.minimum_version = VERSIONS[version]
    ciphers = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] != "TLSv1.3"]
    context.set_ciphers(":".join((*ciphers, "@SECLEVEL=0")))


def _load_authorities(context: ssl.SSLContext, ca: str) -> None:
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise OSError(errno.EINVAL, "no PEM certificate in it", ca) from error
    except OSError as error:
        raise OSError(error.errno, error.strerror, ca) from error


_trusts: WeakValueDictionary[Tls, Trust] = WeakValueDictionary()


def trust(check: TlsCheck) -> Trust:
    """Return the `Trust` of this check, which other checks may share.

    Raises an `OSError` that names the file when this check is the first to use its files and one cannot be used.
    """
    offered, _ = protocols(check)
    nothing = Seconds(0.0)
    key = msgspec.structs.replace(check.tls, sni="", alpn=offered, expires_within=nothing, expires_fail=nothing)
    found = _trusts.get(key)
    if found is None:
        found = _trusts[key] = Trust(key, offered)
    return found


def protocols(check: TlsCheck) -> tuple[tuple[str, ...], bool]:
    """Return the protocols to offer to the server (RFC 7301), and whether it must select one of them."""
    if check.tls.alpn is not None:
        return check.tls.alpn, bool(check.tls.alpn)
    if isinstance(check, HttpsCheck):
        return (("h2",), True) if check.http_version == "2" else (("http/1.1",), False)
    return (("h2",), True) if isinstance(check, GrpcCheck) else ((), False)


def read_again(checks: Iterable[TlsCheck]) -> Callable[[], None]:
    """Read the files of these checks again, because they may have changed.

    Return a function that puts them into force and cannot fail. Raises an `OSError` that names the file when one cannot
    be used.
    """
    trusts = {id(found): found for found in map(trust, checks)}
    contexts = [(each, each.load()) for each in trusts.values()]

    def put_into_force() -> None:
        for each, context in contexts:
            each.context = context

    return put_into_force
