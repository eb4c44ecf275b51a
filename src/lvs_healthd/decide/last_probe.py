"""Keeps when the last probe of a target ended and how it went, in a single object. Pure.

There are tens of thousands of probes, and each float of theirs takes 32 bytes as an object of its own.
"""

import math
import struct

from lvs_healthd.probes.outcome import Course

_TIMES = struct.Struct("<5d")
"""When the probe ended, seconds on the monotonic clock, and the times of its course, with NaN for None. What it heard
follows."""

_ENDED = struct.Struct("<d")
_TOTAL = struct.Struct("<8xd")

_pack_times = _TIMES.pack
_unpack_ended = _ENDED.unpack_from
_unpack_total = _TOTAL.unpack_from


def packed(course: Course, ended: float) -> bytes:
    """Return how a probe went, packed.

    ended: when it ended, seconds on the monotonic clock.
    """
    connected_s, secured_s, answered_s = course.connected_s, course.secured_s, course.answered_s
    times = _pack_times(
        ended,
        course.total_s,
        math.nan if connected_s is None else connected_s,
        math.nan if secured_s is None else secured_s,
        math.nan if answered_s is None else answered_s,
    )
    return times + course.heard.encode() if course.heard else times


def ended_at(probe: bytes) -> float:
    """Return when a packed probe ended, seconds on the monotonic clock."""
    ended: float = _unpack_ended(probe)[0]
    return ended


def took_s(probe: bytes) -> float:
    """Return how long a packed probe took, seconds."""
    total: float = _unpack_total(probe)[0]
    return total


def course_of(probe: bytes) -> Course:
    """Return how a packed probe went."""
    _, total_s, *times = _TIMES.unpack_from(probe)
    connected_s, secured_s, answered_s = [None if math.isnan(each) else each for each in times]
    return Course(total_s, connected_s, secured_s, answered_s, probe[_TIMES.size :].decode())
