"""Reads the files that hold secrets, such as a password, so that no configuration has to contain one."""

import re

from lvs_healthd.config.named_files import read_at_most, unusable, usable_file
from lvs_healthd.config.shapes import shape_of, shaped
from lvs_healthd.config.values import optional_path

LARGEST_SECRET = 8192
"""The largest file that is read as a secret, bytes. Servers limit a request's headers to about as much (nginx 8 KiB),
and a device file would never end."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VISIBLE = re.compile(r"[\x21-\x7e]+")


def read_password(path: str) -> str:
    """Read a password: one line of text without control characters (RFC 7617, section 2).

    Raises an `OSError` that names the file and says what is wrong. It never contains what the file holds.
    """
    text = _read(path)
    if _CONTROL.search(text):
        raise unusable(path, "a password is one line without control characters")
    return text


def read_token(path: str) -> str:
    """Read a bearer token: one line of visible ASCII characters (RFC 6750, section 2.1, without its narrower set).

    Raises an `OSError` that names the file and says what is wrong. It never contains what the file holds.
    """
    text = _read(path)
    if not _VISIBLE.fullmatch(text):
        raise unusable(path, "a token is one line of ASCII characters without blanks")
    return text


@shaped("the path of a file", **shape_of(optional_path).schema)
def password_file(value: object) -> str:
    """Parse the path of a password's file, which must already be readable. Empty means none."""
    return usable_file(value, read_password)


@shaped("the path of a file", **shape_of(optional_path).schema)
def token_file(value: object) -> str:
    """Parse the path of a token's file, which must already be readable. Empty means none."""
    return usable_file(value, read_token)


def _read(path: str) -> str:
    """Read a file of one line. Editors and `echo` end it with a newline, which is no part of the secret."""
    data = read_at_most(path, LARGEST_SECRET)
    line = data.removesuffix(b"\n").removesuffix(b"\r")
    if not line:
        raise unusable(path, "it is empty")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise unusable(path, "it is not UTF-8 text") from None
