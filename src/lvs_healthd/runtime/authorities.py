"""Finds the certificates that the system trusts, and reads them once, before any handshake.

By default, OpenSSL searches a folder during a handshake if it does not know the certificate's issuer yet. Other probes
would have to wait for this file I/O, and OpenSSL 3 lists the whole folder each time: some 290 files on Debian.
"""

import contextlib
import errno
import os
import re
import ssl
from pathlib import Path

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Arch
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine
)
"""Where distributions keep all authorities in one file."""

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
"""The names that c_rehash gives to certificates. OpenSSL ignores all other files of a folder."""


def client_context(ca: str) -> ssl.SSLContext:
    """Return settings for a client of TLS that trust the certificates in the file `ca`; if empty, those of the system.

    This reads files. Raises `OSError`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        context.load_verify_locations(cafile=ca)
    else:
        load_system_authorities(context)
    return context


def load_system_authorities(context: ssl.SSLContext) -> None:
    """Let `context` trust what the system trusts: one file, and the folders in `SSL_CERT_DIR` if that is set.

    Raises `OSError` when there is nothing to trust, or `SSL_CERT_FILE` names no file.
    """
    file = _file()
    folders = os.environ.get("SSL_CERT_DIR", "").split(":")
    if file:
        context.load_verify_locations(file)
        folders = [folder for folder in folders if Path(folder) != Path(file).parent]  # the same content
    elif folders == [""]:
        folders = [ssl.get_default_verify_paths().openssl_capath]
    for folder in filter(None, folders):
        _load_folder(context, Path(folder))
    if not context.cert_store_stats()["x509"]:
        raise OSError(errno.ENOENT, "no trusted certificates on this system: install ca-certificates, or set ca")


def _file() -> str:
    """Return the file with all authorities; "" if there is none. Raises `OSError` if `SSL_CERT_FILE` is not a file."""
    named = os.environ.get("SSL_CERT_FILE", "")
    if named:
        if not Path(named).is_file():
            raise OSError(errno.ENOENT, f"SSL_CERT_FILE is {named}, which is no file")
        return named
    return next(
        (path for path in (ssl.get_default_verify_paths().openssl_cafile, *BUNDLES) if Path(path).is_file()), ""
    )


def _load_folder(context: ssl.SSLContext, folder: Path) -> None:
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if _HASHED.fullmatch(path.name):
            with contextlib.suppress(ssl.SSLError):  # a file without a certificate, which OpenSSL ignores too
                context.load_verify_locations(path)
