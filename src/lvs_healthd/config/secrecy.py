"""Recognises the secrets in a check, and hides them where a configuration or an answer is shown.

A word beside a secret gives it away: a header's name, a query parameter's name, or a command in the bytes of `send` or
`send_body`.
"""

import re
from collections.abc import Iterable, Iterator

HIDDEN = "(hidden)"
"""Is shown in place of a secret."""

_WORD = r"auth|cookie|token|secret|passw|credential|api[-_]?key"
_NAME = re.compile(_WORD, re.IGNORECASE)
# PASS is a command of POP3, FTP and IRC, and LOGIN is one of IMAP. They count only as whole words, because as parts of
# words they would hide too much.
_COMMAND = re.compile(rf"{_WORD}|\bpass\b|\blogin\b", re.IGNORECASE)
_PARAMETER = re.compile(rf"([?&;][^=&;]*(?:{_WORD})[^=&;]*=)[^&;]+", re.IGNORECASE)

_SEPARATORS = re.compile(rb"[\s\"',;:=]+")
_SHORTEST = 3
"""The shortest part of a secret that is hidden in answers, bytes. Any answer may contain shorter parts by chance."""


def is_secret(name: str) -> bool:
    """Return whether a header's name shows that its value is a secret, as Authorization, Cookie and X-Api-Key do."""
    return _NAME.search(name) is not None


def is_secret_command(sent: bytes | str) -> bool:
    """Return whether a word in the bytes to send shows that they contain a secret, as AUTH, PASS and LOGIN do."""
    text = sent.decode("latin-1") if isinstance(sent, bytes) else sent
    return _COMMAND.search(text) is not None


def is_secret_hex(text: str) -> bool:
    """Return whether the bytes that hexadecimal digits stand for contain a secret (see `is_secret_command`).

    Other characters are skipped, and both ways to pair the digits are tried. So a secret is also found in a value that
    is about to be rejected.
    """
    digits = re.sub(r"[^0-9A-Fa-f]", "", text)
    return any(is_secret_command(bytes.fromhex(part[: len(part) & ~1])) for part in (digits, digits[1:]))


def without_secrets(path: str) -> str:
    """Return a request's path with the values of secret parameters hidden."""
    return _PARAMETER.sub(rf"\1{HIDDEN}", path)


def request_without_secrets(request: bytes) -> bytes:
    """Return an HTTP request with the values of secret headers and parameters hidden, and a body with a secret in it.

    Unlike in `parts_of_request`, values of any length are hidden, because it is known where they are.
    """
    head, end, body = request.partition(b"\r\n\r\n")
    lines = (_line_without_secrets(line) for line in head.decode("latin-1").split("\r\n"))
    hidden = HIDDEN.encode() if is_secret_command(body) else body
    return "\r\n".join(lines).encode("latin-1") + end + hidden


def _line_without_secrets(line: str) -> str:
    name, colon, _ = line.partition(": ")
    if colon and " " not in name:
        return f"{name}: {HIDDEN}" if is_secret(name) else line
    return " ".join(map(without_secrets, line.split(" ")))


def parts_of_command(sent: bytes) -> tuple[bytes, ...]:
    """Return the parts of the bytes to send that no quoted answer may show.

    If the bytes contain a secret, these are all their words of `_SHORTEST` bytes or more, without the commands. The
    longest comes first.
    """
    return _parts([sent]) if is_secret_command(sent) else ()


def parts_of_request(
    path: str, headers: Iterable[tuple[str, str]], body: str = "", secret: str = ""
) -> tuple[bytes, ...]:
    """Return the parts of an HTTP request that no quoted answer may show. The longest comes first.

    path: the request's path, with its query.
    headers: each header's name and value.
    body: what the request sends as its body.
    secret: a password or token that the headers contain, perhaps encoded. It is a part as a whole too.
    """
    whole = secret.encode()
    sent = body if is_secret_command(body) else ""
    values = [content for name, content in headers if is_secret(name)]
    values += [match[0].rpartition("=")[2] for match in _PARAMETER.finditer(path)]
    return _parts((*(value.encode() for value in (*values, sent)), whole), whole)


def _parts(secrets: Iterable[bytes], whole: bytes = b"") -> tuple[bytes, ...]:
    # The longest comes first, because a short part may be contained in a longer one.
    parts = {part for secret in secrets for part in _words(secret)}
    if len(whole) >= _SHORTEST:
        parts.add(whole)
    return tuple(sorted(parts, key=len, reverse=True))


def _words(secret: bytes) -> Iterator[bytes]:
    for word in _SEPARATORS.split(secret):
        if len(word) >= _SHORTEST and not _COMMAND.fullmatch(word.decode("latin-1")):
            yield word
