"""The answers of etcd's JSON gateway as values. Pure.

Keys and values are in base64, 64-bit numbers are strings, and what is zero, empty or false is left out: protobuf's
mapping to JSON (https://protobuf.dev/programming-guides/json/), for the messages of etcd's api/etcdserverpb/rpc.proto.
"""

import binascii
from typing import Any, TypeVar

import msgspec

_Answer = TypeVar("_Answer", bound=msgspec.Struct)


class NotAnAnswerError(Exception):
    """Raised when something is not what etcd answers."""


class Header(msgspec.Struct, frozen=True):
    """What every answer has."""

    revision: int = 0
    """The number of changes to the whole store so far."""
    cluster_id: int = 0


class Record(msgspec.Struct, frozen=True):
    """A key with its value."""

    key: bytes = b""
    value: bytes = b""
    mod_revision: int = 0
    """The revision of its last change."""


class Range(msgspec.Struct, frozen=True):
    """The answer about one key, or all keys of a range."""

    header: Header
    kvs: tuple[Record, ...] = ()
    count: int = 0
    """How many there are, whether they are listed or not."""
    more: bool = False


class Written(msgspec.Struct, frozen=True):
    """The answer to a put or a delete."""

    header: Header
    deleted: int = 0


class Response(msgspec.Struct, frozen=True):
    """The answer to one operation of a transaction; only that to a question is of interest."""

    response_range: Range | None = None


class Transaction(msgspec.Struct, frozen=True):
    """The answer to a transaction."""

    header: Header
    succeeded: bool = False
    """Whether all its conditions held."""
    responses: tuple[Response, ...] = ()


class Lease(msgspec.Struct, frozen=True):
    """A lease, or what is left of one."""

    ID: int = 0
    TTL: int = 0
    """How long it lasts, seconds. 0: it is gone."""


class KeptAlive(msgspec.Struct, frozen=True):
    """The answer to somebody who keeps a lease alive: one line of a stream."""

    result: Lease


class Token(msgspec.Struct, frozen=True):
    """The answer to a user with the right password."""

    token: str


class Event(msgspec.Struct, frozen=True):
    """One change of one key."""

    kv: Record
    type: str = "PUT"


class Watched(msgspec.Struct, frozen=True):
    """What a watch says."""

    header: Header
    created: bool = False
    canceled: bool = False
    """Whether it has ended, although the stream stays open."""
    cancel_reason: str = ""
    compact_revision: int = 0
    """The first revision that can still be watched, if what was asked for is gone."""
    events: tuple[Event, ...] = ()


class Refusal(msgspec.Struct, frozen=True):
    """What etcd says when it refuses something: `error` or `message`, depending on its version."""

    error: str | dict[str, Any] = ""
    message: str = ""
    code: int = 0

    @property
    def reason(self) -> str:
        """Why it refuses, in its own words."""
        return self.message or (self.error if isinstance(self.error, str) else str(self.error.get("message", "")))


class _Line(msgspec.Struct, frozen=True):
    result: Watched | None = None
    error: Refusal | None = None


def answer(body: bytes, kind: type[_Answer]) -> _Answer:
    """Decode an answer. Raises `NotAnAnswerError`."""
    try:
        # Numbers are strings.
        return msgspec.json.decode(body, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, binascii.Error) as error:
        raise NotAnAnswerError(str(error)) from None


def watched(line: bytes) -> Watched | Refusal:
    """Decode a line of a watch: what it says, or why it has ended. Raises `NotAnAnswerError`."""
    found = answer(line, _Line)
    if found.result is not None:
        return found.result
    if found.error is None:
        raise NotAnAnswerError("neither `result` nor `error`")
    return found.error
