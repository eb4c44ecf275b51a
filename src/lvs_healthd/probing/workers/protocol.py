"""What the daemon and its probe workers say to each other, over one stream socket each.

Each message is one frame, encoded by msgpack. Outcomes, of which there are thousands a second, go as packed records
inside one message: which probe, which outcome, how long it took and when it ended.
An outcome's text is told once, under a number. Both ends are one program on one host, so numbers are in its byte order
and times are of its monotonic clock; nothing here is an interface to anybody else.
"""

import struct

import msgspec

from lvs_healthd.config.model import AnyCheck
from lvs_healthd.probes.outcome import Outcome
from lvs_healthd.probing.workers.framing import GarbledFrameError

RECORD = struct.Struct("<IIdd")
"""Probe, outcome, latency and the time it ended on the monotonic clock; seconds."""

MOST_RECORDS = 512
"""Records in one report: half a millisecond of the daemon's work, or 10 ms when all these servers fail at once."""

MOST_BYTES = 1024 * 1024
"""The longest frame taken from a worker; a full report with a new text for every record has some 100 KiB."""

_ENCODER = msgspec.msgpack.Encoder()


class Assigned(msgspec.Struct, frozen=True, array_like=True):
    """A probe and the number it is reported by; a number is never used for two probes."""

    probe: int
    check: AnyCheck


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """To a worker: what it has to probe from now on, told as the difference to what it was told before."""

    max_in_flight: int
    dropped: tuple[int, ...] = ()
    added: tuple[Assigned, ...] = ()
    more: bool = False
    """The same change goes on in the next message, and takes effect with its last."""


class Text(msgspec.Struct, frozen=True, array_like=True):
    """An outcome and the number that stands for it from now on."""

    number: int
    outcome: Outcome


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """From a worker, first of all: what it is."""

    version: str


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """From a worker: what its probes found, and how it does itself. An empty one is its sign of life."""

    texts: tuple[Text, ...] = ()
    """Outcomes that `records` name for the first time."""
    records: bytes = b""
    """`RECORD` after `RECORD`."""
    forget: int = 0
    """After these records, outcomes with a number below this are not named any more."""
    lags: bytes = b""
    """How long after its due time each probe started, seconds as C floats."""
    loop_lags: bytes = b""
    """How late each tick came, seconds as C floats."""
    skipped: int = 0
    """Turns skipped since the last report."""
    in_flight: int = 0
    waiting: int = 0


class Fault(msgspec.Struct, frozen=True, tag="fault"):
    """From a worker, last of all: the fault of this program by which it ends."""

    error: str


Said = Hello | Report | Fault
"""Whatever a worker says."""

_CHANGES = msgspec.msgpack.Decoder(Change)
_SAID = msgspec.msgpack.Decoder(Said)


def encoded(message: Change | Said) -> bytes:
    """Return a message as the payload of a frame."""
    return _ENCODER.encode(message)


def packed(check: AnyCheck) -> bytes:
    """Write a check in the same bytes each time: what it is, for a hash that all processes agree on."""
    return _ENCODER.encode(check)


def change(payload: bytes) -> Change:
    """Read what the daemon said. Raises `GarbledFrameError`."""
    try:
        return _CHANGES.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GarbledFrameError(f"not a change: {error}") from error


def said(payload: bytes) -> Said:
    """Read what a worker said. Raises `GarbledFrameError`."""
    try:
        message: Said = _SAID.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GarbledFrameError(f"not a message: {error}") from error
    if isinstance(message, Report) and (
        len(message.records) % RECORD.size or len(message.lags) % 4 or len(message.loop_lags) % 4
    ):
        raise GarbledFrameError("a report with a broken record")
    return message
