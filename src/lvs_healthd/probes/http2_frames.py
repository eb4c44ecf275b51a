"""Cuts what a peer sends over HTTP/2 into frames (RFC 9113, section 4), and bounds them. Sans-I/O.

A frame costs some microseconds however short it is. So a peer that floods a probe with short ones (SETTINGS, PING,
empty DATA, CONTINUATION) would hold up other probes. It is stopped here, before anything else looks at the frames.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from lvs_healthd.config.http_values import MOST_HEADER_BYTES

MOST_SMALL_FRAMES = 512
"""The maximum number of frames, not counting DATA of at least `SMALL` bytes. Healthy servers send about ten. So many
take 5 ms."""

SMALL = 1024
"""A DATA frame with fewer bytes than this is a small frame. Frames of this size take 10 ms for each MiB."""

LARGEST = 16384
"""The largest frame, bytes. It is the default of RFC 9113 (section 6.5.2), and we announce no other."""

HEADER_BYTES = 9
"""The length of a frame's header, bytes (RFC 9113, section 4.1)."""

DATA, GOAWAY = 0x0, 0x7
"""Types of frames (RFC 9113, section 6)."""

_NAMES = (
    *("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE"),
    "CONTINUATION",
)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends before its first frame (RFC 9113, section 3.4)."""
_GOAWAY = struct.Struct("!II")
_STREAM = 0x7FFFFFFF
"""The bits of a stream's number."""


class FloodError(Exception):
    """The peer sends more than a probe takes. The text says what."""


class FrameError(Exception):
    """The peer does not speak HTTP/2. The text says why."""


class Frame(NamedTuple):
    """One frame."""

    kind: int
    stream: int
    whole: bytes
    """The frame with its header."""


class Away(NamedTuple):
    """What a GOAWAY frame says (RFC 9113, section 6.8)."""

    last_stream: int
    """Requests on streams up to this one are still answered."""
    code: int
    """Why the peer ends the connection; 0 for no error."""


class FrameReader:
    """Reads one connection."""

    __slots__ = ("_besides", "_partial", "_small", "has_begun")

    def __init__(self) -> None:
        self._partial = b""
        """The beginning of a frame whose end has not arrived."""
        self._small = 0
        self._besides = 0
        """Bytes of all frames but DATA."""
        self.has_begun = False
        """Whether a whole frame has arrived."""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take the next bytes, and yield every frame whose end has arrived.

        Raises `FloodError`, and `FrameError` for a frame that is larger than allowed.
        """
        data = self._partial + data
        position = 0
        while len(data) - position >= HEADER_BYTES:
            length = int.from_bytes(data[position : position + 3], "big")
            if length > LARGEST:
                raise FrameError(f"a frame of {length} bytes; at most {LARGEST} are allowed")
            end = position + HEADER_BYTES + length
            kind = data[position + 3]
            self._bound(kind, length, is_whole=end <= len(data))
            if end > len(data):
                break
            self.has_begun = True
            stream = int.from_bytes(data[position + 5 : position + HEADER_BYTES], "big") & _STREAM
            yield Frame(kind, stream, data[position:end])
            position = end
        self._partial = data[position:]

    def _bound(self, kind: int, length: int, *, is_whole: bool) -> None:
        """Count a frame. One that is not whole yet is only compared with what is allowed, and counted later."""
        besides = self._besides + (0 if kind == DATA else HEADER_BYTES + length)
        if besides > MOST_HEADER_BYTES:
            raise FloodError(f"more than {MOST_HEADER_BYTES} bytes of headers and of other frames without content")
        small = self._small + (kind != DATA or length < SMALL)
        if small > MOST_SMALL_FRAMES:
            raise FloodError(f"more than {MOST_SMALL_FRAMES} small frames")
        if is_whole:
            self._besides, self._small = besides, small


class FrameNames:
    """Names the frames of one direction, for people. What is in them may be secret in many encodings."""

    __slots__ = ("_partial",)

    def __init__(self) -> None:
        self._partial = b""

    def feed(self, data: bytes) -> str:
        """Take the next bytes. Return the names of the frames that end in them."""
        data = self._partial + data
        before, preface, rest = data.partition(_PREFACE)
        names, data = (["preface"], rest) if preface else ([], before)
        while len(data) >= HEADER_BYTES + (length := int.from_bytes(data[:3], "big")):
            names.append(_NAMES[data[3]] if data[3] < len(_NAMES) else f"frame of type {data[3]}")
            data = data[HEADER_BYTES + length :]
        self._partial = data
        return ", ".join(names) + ("" if not data else ", …" if names else "no whole frame")


def away(frame: Frame) -> Away:
    """Read a GOAWAY frame. Raises `FrameError` when it is malformed."""
    if len(frame.whole) < HEADER_BYTES + _GOAWAY.size or frame.stream:
        raise FrameError("a malformed GOAWAY frame")
    last, code = _GOAWAY.unpack_from(frame.whole, HEADER_BYTES)
    return Away(last & _STREAM, code)
