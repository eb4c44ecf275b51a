"""Says why TLS failed, and what to write if it is the configuration's fault."""

import re
import ssl

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import GrpcCheck, HttpsCheck, TlsCheck
from lvs_healthd.config.values import days_text
from lvs_healthd.runtime.utc import utc

_NAME_MISMATCH = (62, 64)
_NO_KNOWN_ISSUER = (2, 18, 19, 20, 21)
"""X509_V_ERR_… in openssl/x509_vfy.h: no issuer found, or self-signed."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")
_NAME_MISSING = ("TLSV1_UNRECOGNIZED_NAME", "SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV1_ALERT_INTERNAL_ERROR")
"""The TLS alerts of servers that have no certificate for a client that sends no server name."""
_CERTIFICATE_MISSING = ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE")
"""The TLS alerts of servers that want a certificate from a client that has none: of TLS 1.3, and of earlier versions,
in which the second may have other causes (RFC 8446, section 6.2; RFC 5246, section 7.4.6)."""
_CERTIFICATE_REFUSED = (
    "SSLV3_ALERT_BAD_CERTIFICATE",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
    "SSLV3_ALERT_CERTIFICATE_REVOKED",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
    "TLSV1_ALERT_UNKNOWN_CA",
    "TLSV1_ALERT_ACCESS_DENIED",
    "TLSV1_ALERT_DECRYPT_ERROR",
)
"""The TLS alerts of servers that do not accept a client's certificate."""
_VERSION = ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "WRONG_SSL_VERSION")
"""Our own error about a server that is too old, and the alert of one that speaks no version that we offer."""
_TEXT = re.compile(r"^\[SSL[^]]*\] (.*?) ?\(_ssl\.c:[0-9]+\)$")
_NO_PROTOCOL = "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"


def refusal(error: ssl.SSLCertVerificationError, check: TlsCheck) -> str:
    """Say why we refuse a server's certificate."""
    refused = f"certificate refused: {error.verify_message.rstrip('.')}"
    if error.verify_code in _NAME_MISMATCH and not check.tls.sni:
        return f"{refused}; set {_name_keys(check)} to the name that clients ask for"
    if error.verify_code in _NO_KNOWN_ISSUER:
        if check.tls.ca:
            return f"{refused}; neither it nor its issuer is in ca = {check.tls.ca}"
        return f"{refused}; if clients trust it, set ca to a file with the certificate of its issuer"
    return refused


def failure(error: ssl.SSLError, check: TlsCheck, offered: tuple[str, ...]) -> str:
    """Say why TLS failed, in the handshake or after it.

    offered: the protocols that were offered to the server (RFC 7301).
    """
    name = error.reason or _name_in(str(error))
    reason = name.replace("_", " ").lower()
    if name in _NO_TLS:
        return f"no TLS on this port ({reason})"
    advice = _advice(name, check, offered)
    return f"TLS failed: {reason}; {advice}" if advice else f"TLS failed: {reason}"


def not_selected(offered: tuple[str, ...], selected: str | None) -> str:
    """Say that a server has selected no protocol, or another than those that were offered."""
    what = "selects no protocol" if selected is None else "selects another protocol"
    return f"the server {what}, although it was offered {_listed(offered)} (ALPN)"


def ends_soon(end: float, within_s: Seconds) -> str:
    """Say that a certificate ends too soon. The text is the same at each probe.

    end: when it ends, Unix time.
    within_s: the check's `expires_fail`, seconds.
    """
    return f"the certificate ends on {utc(end)}, which is within expires_fail = {days_text(within_s)}"


def _name_in(text: str) -> str:
    """Return the name of an error that Python has no name for, from its text: "[SSL] tlsv1 alert … (_ssl.c:992)"."""
    return _TEXT.sub(r"\1", text).strip().replace(" ", "_").upper()


def _advice(reason: str, check: TlsCheck, offered: tuple[str, ...]) -> str:
    tls = check.tls
    if reason in _VERSION and tls.min_tls != "1.0":
        return f"the check accepts TLS {tls.min_tls} and later (min_tls)"
    if reason == _NO_PROTOCOL:
        return f"the server speaks none of those it was offered: {_listed(offered)} (alpn)"
    if tls.client_cert and reason in (*_CERTIFICATE_REFUSED, *_CERTIFICATE_MISSING):
        may = "perhaps " if reason == "SSLV3_ALERT_HANDSHAKE_FAILURE" else ""
        return f"{may}the server refuses client_cert = {tls.client_cert}"
    if reason in _NAME_MISSING and not tls.sni:
        return f"perhaps because no server name was asked for: set {_name_keys(check)}"
    if reason in _CERTIFICATE_MISSING:
        may = "perhaps " if reason == "SSLV3_ALERT_HANDSHAKE_FAILURE" else ""
        return f"{may}the server wants a certificate from its clients: set client_cert and client_key"
    return ""


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _name_keys(check: TlsCheck) -> str:
    match check:
        case HttpsCheck():
            return "host or sni"
        case GrpcCheck():
            return "authority or sni"
        case _:
            return "sni"
