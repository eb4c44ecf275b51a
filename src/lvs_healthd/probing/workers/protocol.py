"""The messages between the daemon and a probe worker. Each worker has a stream socket of its own.

Each message is one frame, encoded with msgpack. Thousands of outcomes come every second, so a message carries them as
packed records: which probe, which outcome, how long it took and when it ended. The text of an outcome is sent once,
with a number, and records contain only the number.

Both ends are the same program on the same host, and no other program uses this protocol. So C floats are in the host's
byte order, and times are on the host's monotonic clock.
"""

import struct
from collections.abc import Iterator

import msgspec

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.probes.outcome import Course, Outcome
from lvs_healthd.probing.workers.framing import GarbledFrameError

RECORD = struct.Struct("<IIddfff")
"""A record: the probe's number, the outcome's number, the whole time of its `Course`, when the probe ended, in seconds
on the monotonic clock, and the other times of its `Course`. A negative time stands for None."""

MOST_RECORDS = 512
"""The maximum number of records in one report. The daemon needs half a millisecond to handle them, or 10 ms if each of
them takes a server down."""

MOST_TEXTS = 4096
"""How many outcomes may have a number, by which reports refer to them, at the same time. A text that
quotes an answer may be different every time, so when there are more outcomes than this, all numbers are discarded."""

MOST_BYTES = 2 * 1024 * 1024
"""The longest frame accepted from a worker. A full report in which each probe heard something new has some 1.1 MiB."""

_ENCODER = msgspec.msgpack.Encoder()


class Assigned(msgspec.Struct, frozen=True, array_like=True):
    """A probe, and the number that reports use for it. No two probes ever get the same number."""

    probe: int
    check: AnyCheck


class Paces(msgspec.Struct, frozen=True, tag="paces"):
    """To a worker: how often probes are to run from now on."""

    paces: tuple[tuple[int, float], ...]
    """The number of each probe, and seconds."""


class Change(msgspec.Struct, frozen=True, kw_only=True, tag="change"):
    """To a worker: how the set of its probes changes."""

    max_in_flight: int
    dropped: tuple[int, ...] = ()
    added: tuple[Assigned, ...] = ()
    more: bool = False
    """Whether the change continues in the next message. It takes effect with its last message."""


class Text(msgspec.Struct, frozen=True, array_like=True):
    """An outcome, and the number that stands for it from now on."""

    number: int
    outcome: Outcome


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """From a worker, as its first message: the version of this program that it runs."""

    version: str


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """From a worker: what its probes found, and how the worker itself is doing. An empty one is a sign of life."""

    texts: tuple[Text, ...] = ()
    """Outcomes that `records` refer to for the first time."""
    records: bytes = b""
    """`RECORD` after `RECORD`."""
    heard: tuple[tuple[int, str], ...] = ()
    """What probes heard that did not pass: the place of a record in `records`, and `Course.heard`."""
    forget: int = 0
    """After this report, no record will refer to an outcome with a lower number than this."""
    lags: bytes = b""
    """How many seconds after its due time each probe started, as C floats."""
    loop_lags: bytes = b""
    """How many seconds late each tick came, as C floats."""
    skipped: int = 0
    """How many turns were skipped since the last report, because the probe was still under way."""
    warned: int = 0
    """How many early warnings there were since the last report."""
    in_flight: int = 0
    waiting: int = 0
    kept: int = 0
    """How many connections stay open from one probe to the next."""


class Fault(msgspec.Struct, frozen=True, tag="fault"):
    """From a worker, as its last message: the fault of this program that ends it."""

    error: str


Said = Hello | Report | Fault
"""Any message from a worker."""

Told = Change | Paces
"""Any message to a worker."""

_TOLD = msgspec.msgpack.Decoder(Told)
_SAID = msgspec.msgpack.Decoder(Said)


def encoded(message: Told | Said) -> bytes:
    """Return a message as the payload of a frame."""
    return _ENCODER.encode(message)


def record(probe: int, outcome: int, course: Course, ended: float) -> bytes:
    """Return a `RECORD`.

    probe, outcome: their numbers.
    ended: when the probe ended, seconds on the monotonic clock.
    """
    connected_s, secured_s, answered_s = course.connected_s, course.secured_s, course.answered_s
    return RECORD.pack(
        probe,
        outcome,
        course.total_s,
        ended,
        -1.0 if connected_s is None else connected_s,
        -1.0 if secured_s is None else secured_s,
        -1.0 if answered_s is None else answered_s,
    )


def recorded(report: Report) -> Iterator[tuple[int, int, Course, float]]:
    """Yield what the records of a report say, each as the arguments of `record`."""
    heard = dict(report.heard)
    times = RECORD.iter_unpack(report.records)
    for place, (probe, outcome, total_s, ended, connected_s, secured_s, answered_s) in enumerate(times):
        course = Course(
            total_s,
            None if connected_s < 0 else connected_s,
            None if secured_s < 0 else secured_s,
            None if answered_s < 0 else answered_s,
            heard.get(place, ""),
        )
        yield probe, outcome, course, ended


def packed(check: AnyCheck) -> bytes:
    """Return a check as bytes that are the same in every process, and so have the same hash."""
    return _ENCODER.encode(check)


def told(payload: bytes) -> Told:
    """Decode a message from the daemon. Raises `GarbledFrameError` when it is not valid."""
    try:
        message: Told = _TOLD.decode(payload)
    except RecursionError as error:
        raise GarbledFrameError("a message to a worker that is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GarbledFrameError(f"not a message to a worker: {error}") from error
    return message


def said(payload: bytes) -> Said:
    """Decode a message from a worker. Raises `GarbledFrameError` when it is not valid."""
    try:
        message: Said = _SAID.decode(payload)
    except RecursionError as error:
        raise GarbledFrameError("a message that is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise GarbledFrameError(f"not a message: {error}") from error
    if isinstance(message, Report) and (
        len(message.records) % RECORD.size or len(message.lags) % 4 or len(message.loop_lags) % 4
    ):
        raise GarbledFrameError("a report with a broken record")
    if isinstance(message, Report) and (
        len(message.records) > MOST_RECORDS * RECORD.size or len(message.heard) > MOST_RECORDS
    ):
        raise GarbledFrameError(f"a report with more than {MOST_RECORDS} records")
    return message
