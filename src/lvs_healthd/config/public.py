"""Remarks on files with secrets that everybody on the host may read."""

import itertools
from pathlib import Path

from lvs_healthd.config.errors import Errors, Part
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.secrecy import is_secret, is_secret_command, is_secret_hex, without_secrets
from lvs_healthd.config.text import is_public, leaves
from lvs_healthd.config.tls_values import holds_key

SECRET_FILE_KEYS = ("password_file", "token_file", "client_key", "client_cert", "secret_file")
"""The keys whose values are files with secrets. That of `client_cert` is one if it holds the private key too."""


def remark_public_secret(part: Part, errors: Errors) -> None:
    """Remark on the first secret of a file, if everybody may read the file.

    part: the file.
    """
    path = Path(part.file)
    if not is_public(path):
        return
    secrets = (
        where
        for where, value in leaves(part.document, plain_arrays=False)
        if value and isinstance(value, str) and holds_secret(where, value)
    )
    for first in itertools.islice(secrets, 1):
        errors.remark(part.in_whole(first), f"everybody on this host can read this secret: chmod o-r {path}")


def remark_public_secret_files(part: Part, errors: Errors) -> None:
    """Remark on every file that a check reads a secret from, if everybody may read that file.

    part: the configuration's file.
    """
    if not any(key in part.text for key in SECRET_FILE_KEYS):
        return
    seen = set()
    for where, value in leaves(part.document, plain_arrays=False):
        if where[-1] in SECRET_FILE_KEYS and isinstance(value, str) and value not in seen:
            seen.add(value)
            is_secret_file = where[-1] != "client_cert" or holds_key(value)
            if value.startswith("/") and is_public(Path(value)) and is_secret_file:
                errors.remark(part.in_whole(where), f"everybody on this host can read this secret: chmod o-r {value}")


def holds_secret(where: KeyPath, value: str) -> bool:
    """Return whether the value at this key path of a configuration is a secret, or contains one."""
    if where[-2:-1] in {("headers",), ("expect_headers",), ("environment",)}:
        return bool(value) and is_secret(str(where[-1]))
    match where[-1:]:
        case ("send" | "send_body",):
            return is_secret_command(value)
        case ("send_hex",):
            return is_secret_hex(value)
        case ("path",):
            return without_secrets(value) != value
        case _:
            return False
