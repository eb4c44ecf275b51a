"""Which values of a check are secrets, and how they are hidden where a configuration or an answer is shown.

A secret is recognised by a word beside it: a header's name, a query's parameter, or a command in the bytes of `send`.
"""

import re
from collections.abc import Iterable, Iterator

HIDDEN = "(hidden)"
"""Stands for a secret where a value is shown."""

_WORD = r"auth|cookie|token|secret|passw|credential|api[-_]?key"
_NAME = re.compile(_WORD, re.IGNORECASE)
# PASS is a command of POP3, FTP and IRC, LOGIN one of IMAP. As parts of words they would hide too much.
_COMMAND = re.compile(rf"{_WORD}|\bpass\b|\blogin\b", re.IGNORECASE)
_PARAMETER = re.compile(rf"([?&;][^=&;]*(?:{_WORD})[^=&;]*=)[^&;]+", re.IGNORECASE)

_SEPARATORS = re.compile(rb"[\s\"',;:=]+")
_SHORTEST = 3
"""The shortest part of a secret, in bytes, that is looked for in answers. Shorter ones are in any answer by chance."""


def is_secret(name: str) -> bool:
    """Whether the value of a header is a secret by the header's name, such as Authorization, Cookie or X-Api-Key."""
    return _NAME.search(name) is not None


def is_secret_command(sent: bytes | str) -> bool:
    """Whether bytes to send hold a secret by a word among them, such as AUTH, PASS or LOGIN."""
    text = sent.decode("latin-1") if isinstance(sent, bytes) else sent
    return _COMMAND.search(text) is not None


def is_secret_hex(text: str) -> bool:
    """Whether hexadecimal digits hold a secret, as `is_secret_command` has it, also if some digits are wrong."""
    digits = re.sub(r"[^0-9A-Fa-f]", "", text)
    return any(is_secret_command(bytes.fromhex(part[: len(part) & ~1])) for part in (digits, digits[1:]))


def without_secrets(path: str) -> str:
    """Return a request's path with the values of secret parameters hidden."""
    return _PARAMETER.sub(rf"\1{HIDDEN}", path)


def parts_of_command(sent: bytes) -> tuple[bytes, ...]:
    """Return the parts of bytes to send that no quoted answer may show: their words, if they hold a secret."""
    return _parts([sent]) if is_secret_command(sent) else ()


def parts_of_request(path: str, headers: Iterable[tuple[str, str]]) -> tuple[bytes, ...]:
    """Return the parts of an HTTP request that no quoted answer may show."""
    values = [content for name, content in headers if is_secret(name)]
    values += [match[0].rpartition("=")[2] for match in _PARAMETER.finditer(path)]
    return _parts(value.encode() for value in values)


def _parts(secrets: Iterable[bytes]) -> tuple[bytes, ...]:
    # The longest first: a short one may be a part of a longer one.
    return tuple(sorted({part for secret in secrets for part in _words(secret)}, key=len, reverse=True))


def _words(secret: bytes) -> Iterator[bytes]:
    for word in _SEPARATORS.split(secret):
        if len(word) >= _SHORTEST and not _COMMAND.fullmatch(word.decode("latin-1")):
            yield word
