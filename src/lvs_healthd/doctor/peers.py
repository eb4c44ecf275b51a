"""Asks other directors what they say of themselves, over the API that their `listen` serves."""

import http.client
import time
import urllib.parse
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from lvs_healthd.config.model import Daemon
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.director_values import DirectorValues
from lvs_healthd.view.status_values import Status

HERE = "here"
"""What the director on which the doctor runs is called."""

STATUS, DIRECTOR = "/api/v1/status", "/api/v1/director"

ANSWER_S = 5.0
"""How long a director may be silent, seconds."""

WHOLE_S = 20.0
"""How long a whole answer may take, seconds."""

LARGEST = 64 * 1024 * 1024
"""The largest answer, bytes. That of 100 000 servers has 50 MB."""

MOST = 64
"""How many directors are asked at once."""


_Value = TypeVar("_Value")


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What a director says of itself."""

    name: str
    """What it is called in findings: `HERE`, or the host in its URL."""
    status: Status
    director: DirectorValues | None
    """None if its version does not say."""
    ahead_s: float = 0.0
    """How far its clock is ahead of this director's, seconds."""
    within_s: float = 0.0
    """How exact that is, seconds."""


class Unreached(msgspec.Struct, frozen=True, kw_only=True):
    """A director that does not answer as one should."""

    name: str
    url: str
    error: str


class WrongUrlError(ValueError):
    """Raised when a word cannot be where a director listens."""


class _NotToldError(Exception):
    """A director has not said what it was asked. The text says why."""


def url_of(word: str) -> str:
    """Return the URL that is meant: "lvs2", "lvs2:9880" or a whole one. Raises `WrongUrlError`."""
    port = Daemon().listen.rpartition(":")[2]
    has_scheme = "://" in word
    try:
        parts = urllib.parse.urlsplit(word if has_scheme else f"//{word}", scheme="http")
        number = parts.port
    except ValueError as error:
        raise WrongUrlError(f'"{word}": {error}') from None
    rest = parts.path.rstrip("/") or parts.query or parts.fragment or "@" in parts.netloc
    if parts.scheme not in ("http", "https") or not parts.hostname or rest:
        raise WrongUrlError(f'"{word}": expected a host, host:{port}, http://host:{port} or https://host')
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if number is None:
        number = int(port) if not has_scheme else 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{host}:{number}"


def ask_peers(urls: Iterable[str], clock: Callable[[], float] = time.time) -> list[Told | Unreached]:
    """Ask these directors, all at once. This blocks for at most `WHOLE_S` and what the last silence takes.

    clock: Unix time, seconds.
    """
    asked = [*dict.fromkeys(urls)]
    hosts = [urllib.parse.urlsplit(each).hostname or each for each in asked]
    # Two on one host are told apart by their ports.
    names = [
        host if hosts.count(host) == 1 else urllib.parse.urlsplit(url).netloc
        for host, url in zip(hosts, asked, strict=True)
    ]
    with ThreadPoolExecutor(MOST) as threads:
        return [*threads.map(lambda name, url: _ask(name, url, clock), names, asked)]


def _ask(name: str, url: str, clock: Callable[[], float]) -> Told | Unreached:
    end = time.monotonic() + WHOLE_S
    try:
        status = _decoded(_get(url, STATUS, end), Status)
        before = clock()
        content = _get(url, DIRECTOR, end, is_new=True)
        after = clock()
        director = None if content is None else _decoded(content, DirectorValues)
    except _NotToldError as error:
        return Unreached(name=name, url=url, error=str(error))
    if director is None:
        return Told(name=name, status=status, director=None)
    ahead_s = director.at - (before + after) / 2
    return Told(name=name, status=status, director=director, ahead_s=ahead_s, within_s=(after - before) / 2)


def _get(url: str, path: str, end: float, *, is_new: bool = False) -> bytes | None:
    """Return an answer; None if the director does not know a path that is new. Raises `_NotToldError`."""
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=ANSWER_S)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        answer = connection.getresponse()
        if is_new and answer.status == http.client.NOT_FOUND:
            return None
        if answer.status != http.client.OK:
            raise _NotToldError(f"{path} is answered with {answer.status} {printable(answer.reason)}")
        pieces, size = [], 0
        while piece := answer.read1(65536):
            pieces.append(piece)
            size += len(piece)
            if size > LARGEST:
                raise _NotToldError(f"{path}: more than {LARGEST} bytes")
            if time.monotonic() > end:
                raise _NotToldError(f"{path}: no whole answer in {WHOLE_S:g}s")
        return b"".join(pieces)
    except (OSError, http.client.HTTPException) as error:
        raise _NotToldError(_why(error)) from error
    finally:
        connection.close()


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {ANSWER_S:g}s"
    return printable((isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__)


def _decoded(content: bytes | None, kind: type[_Value]) -> _Value:
    try:
        return msgspec.json.decode(content or b"", type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _NotToldError(f"something answers, but not lvs-healthd: {printable(str(error))[:200]}") from None
