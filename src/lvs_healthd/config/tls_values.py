"""Parsers for the keys of checks that use TLS, and the files that these keys name."""

import errno
import re
import ssl

from lvs_healthd.config.errors import Problem, WrongValueError, expected
from lvs_healthd.config.named_files import read_at_most, unusable, usable_file
from lvs_healthd.config.shapes import shape_of, shaped
from lvs_healthd.config.values import absolute_path, optional_path, several, string

VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
"""The versions that `min_tls` may name."""

LARGEST_PEM = 1024 * 1024
"""The largest file that is read as a client's certificate or key, bytes. A device file would never end."""

_PROTOCOL = re.compile(r"[\x21-\x7e]{1,255}")
"""The name of a protocol. RFC 7301 allows any bytes, but all registered names are visible ASCII characters."""
_CERTIFICATE = re.compile(rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN (?:[A-Z0-9]+ )?PRIVATE KEY-----")
_ENCRYPTED = re.compile(rb"-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED")
_NO_PASSPHRASE = ""


@shaped("the path of a PEM file", **shape_of(optional_path).schema)
def ca_file(value: object) -> str:
    """Parse the path of a PEM file of trusted certificates, which must already be readable.

    Empty means the system's trusted certificates.
    """
    if value == "":
        return ""
    path = absolute_path(value)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        raise WrongValueError(Problem((), f"no PEM certificate in {path}")) from None
    except OSError as error:
        raise WrongValueError(Problem((), f"cannot read {path}: {error.strerror}")) from error
    return path


@shaped("the path of a PEM file", **shape_of(optional_path).schema)
def client_cert(value: object) -> str:
    """Parse the path of a client certificate's file, which must already be readable. Empty means none."""
    return usable_file(value, read_certificate)


@shaped("the path of a PEM file", **shape_of(optional_path).schema)
def client_key(value: object) -> str:
    """Parse the path of a client key's file, which must already be readable. Empty: it is in the certificate's file."""
    return usable_file(value, read_key)


@shaped('"1.0", "1.1", "1.2" or "1.3"', enum=list(VERSIONS))
def min_tls(value: object) -> str:
    """Parse a version of TLS."""
    if not isinstance(value, str) or value not in VERSIONS:
        is_known = isinstance(value, float) and str(value) in VERSIONS
        raise expected('"1.0", "1.1", "1.2" or "1.3"', value, f'in quotes: "{value}"' if is_known else "")
    return value


@shaped('a name such as "h2", or a list', anyOf=[{"type": "string"}, {"type": "array", "items": {"type": "string"}}])
def alpn(value: object) -> tuple[str, ...]:
    """Parse the name of a protocol, or a list of names in the order of preference. Empty means to offer none."""
    if value == "":
        return ()
    return several(_protocol)(value if isinstance(value, list) else [value])


@shaped("the name of a protocol", type="string")
def _protocol(value: object) -> str:
    text = string(value)
    if not _PROTOCOL.fullmatch(text):
        raise expected('the name of a protocol such as "http/1.1" or "h2"', value)
    return text


def pair_problem(cert: str, key: str) -> tuple[str, str] | None:
    """Return the field and the message if a client's certificate and key cannot be used together; None if they can.

    cert, key: the paths. At least one is not empty, and each that is has a file that `client_cert` or `client_key`
        has accepted.
    """
    if not cert:
        return "client_key", "a key needs its certificate; add client_cert"
    try:
        load_client_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert, key)
    except OSError as error:
        return "client_key" if key else "client_cert", f"cannot use {error.filename}: {error.strerror}"
    return None


def load_client_pair(context: ssl.SSLContext, cert: str, key: str) -> None:
    """Let `context` present a client's certificate.

    cert: path of the certificate's file.
    key: path of the private key's file; empty when the key is in `cert` too.

    Raises an `OSError` that names the file and says what is wrong. It never contains what the file holds.
    """
    read_certificate(cert)
    read_key(key or cert)
    try:
        # Without a password, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(cert, key or None, password=_NO_PASSPHRASE)
    except ssl.SSLError as error:
        raise OSError(errno.EINVAL, _pair_error(error, cert), key or cert) from None


def _pair_error(error: ssl.SSLError, cert: str) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the private key in it does not belong to the first certificate in {cert}"
    reason = (error.reason or "unreadable").replace("_", " ").lower()
    return f"OpenSSL cannot read it, or {cert} ({reason}): `openssl pkey -noout -in` and `openssl x509 -noout -in` try"


def read_certificate(path: str) -> bytes:
    """Read a file that must hold a PEM certificate. Raises an `OSError` that names the file when it does not."""
    data = read_at_most(path, LARGEST_PEM)
    if not _CERTIFICATE.search(data):
        raise unusable(path, "no PEM certificate in it; `openssl x509 -inform DER` converts another form")
    return data


def read_key(path: str) -> bytes:
    """Read a file that must hold a PEM private key without a passphrase.

    Raises an `OSError` that names the file when it does not.
    """
    data = read_at_most(path, LARGEST_PEM)
    if _ENCRYPTED.search(data):
        raise unusable(
            path,
            "the private key has a passphrase, and nobody is there to type it; "
            "`openssl pkey -in FILE -out NEW` removes it, and the file's mode then protects the key",
        )
    if not _KEY.search(data):
        raise unusable(path, "no PEM private key in it; `openssl pkey -inform DER` converts another form")
    return data


def holds_key(path: str) -> bool:
    """Return whether a file holds a private key. False for a file that cannot be read."""
    try:
        return bool(_KEY.search(read_at_most(path, LARGEST_PEM)))
    except (OSError, ValueError):
        return False
