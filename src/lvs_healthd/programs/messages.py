"""The messages between whoever asks for a program to be run, and the process that runs it: a line of JSON each.

A connection carries one request. Whoever asked and no longer wants an answer closes it, which ends the program.
"""

from typing import Annotated

import msgspec

from lvs_healthd.runtime.exceptions import PeerError

MOST_BYTES = 1024 * 1024
"""The maximum length of a message, bytes."""


class Request(msgspec.Struct, frozen=True):
    """A program to run."""

    argv: tuple[str, ...]
    """The program's absolute path, and its arguments. There is no shell."""
    environment: dict[str, str]
    """The whole environment of the program."""
    timeout_s: float
    """How long the program may run, seconds."""
    folders: tuple[str, ...] = ()
    """Variables to add to the environment, for the folder in which programs may keep files."""
    told: str = ""
    """What the program reads from its standard input."""
    is_hook: bool = False
    """Whether nothing depends on the program's end. Such programs have places of their own, so that checks never wait
    for them."""


class Started(msgspec.Struct, frozen=True, tag="started"):
    """The program has been started. Until then, the request waits because as many as allowed are running."""


class Finished(msgspec.Struct, frozen=True, tag="finished"):
    """The program has ended."""

    status: Annotated[int, msgspec.Meta(ge=-64, le=255)]
    """The exit status; the negative number of a signal that has killed the program."""
    output: str
    """The beginning of what the program wrote to its standard output and standard error."""
    timed_out: bool = False
    """Whether the program was ended because it took too long."""


class NotRun(msgspec.Struct, frozen=True, tag="not_run"):
    """The program cannot be run."""

    why: str


Answer = Started | Finished | NotRun

_decode_request = msgspec.json.Decoder(Request).decode
_decode_answer = msgspec.json.Decoder(Answer).decode


class GarbledMessageError(PeerError):
    """The other end sent a line that is not a valid message."""


def line(message: Request | Answer) -> bytes:
    """Encode a message, with the newline that ends it."""
    return msgspec.json.encode(message) + b"\n"


def request(data: bytes) -> Request:
    """Decode a request. Raises `GarbledMessageError`."""
    try:
        return _decode_request(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledMessageError(str(error)) from error


def answer(data: bytes) -> Answer:
    """Decode an answer. Raises `GarbledMessageError`."""
    try:
        decoded: Answer = _decode_answer(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise GarbledMessageError(str(error)) from error
    return decoded
