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

DATA, HEADERS, GOAWAY, CONTINUATION = 0x0, 0x1, 0x7, 0x9
"""Types of frames (RFC 9113, section 6)."""

_PADDED, _PRIORITY = 0x08, 0x20
"""Flags of a HEADERS frame (RFC 9113, section 6.2)."""
_PAD_LENGTH_BYTES, _PRIORITY_BYTES = 1, 5

_MOST_NUMBER_BYTES = 10
"""How many bytes a number in a block of headers may have after the first. The sizes that exist have five at most."""

_MOST_TABLE_SIZES = 2
"""How often a block of headers may change the size of the table, all at its beginning (RFC 7541, section 4.2). Each
change is a byte that no count of headers sees, and 64 KiB of them take 30 ms."""

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


class _TableSizes:
    """Counts how often the blocks of headers change the size of the table of known fields (RFC 7541, section 6.3)."""

    __slots__ = ("_count", "_is_at_beginning", "_number")

    def __init__(self) -> None:
        self._count = 0
        self._is_at_beginning = False
        """Whether only changes of the size have come in the current block."""
        self._number = 0
        """How many more bytes the number of the last one may have; 0 if it has ended."""

    def feed(self, frame: bytes) -> None:
        """Take a HEADERS or CONTINUATION frame. Raises `FrameError` when it changes the size too often."""
        position = HEADER_BYTES
        if frame[3] == HEADERS:
            position += _PAD_LENGTH_BYTES if frame[4] & _PADDED else 0
            position += _PRIORITY_BYTES if frame[4] & _PRIORITY else 0
            self._count, self._is_at_beginning, self._number = 0, True, 0
        while self._is_at_beginning and position < len(frame):
            self._take(frame[position])
            position += 1

    def _take(self, byte: int) -> None:
        if self._number:
            self._number -= 1
            if byte < 0x80:  # the last byte of a number (RFC 7541, section 5.1)
                self._number = 0
            elif not self._number:
                raise FrameError("headers that begin with a number without end")
        elif byte & 0xE0 == 0x20:
            self._count += 1
            self._number = _MOST_NUMBER_BYTES if byte & 0x1F == 0x1F else 0
            if self._count > _MOST_TABLE_SIZES:
                raise FrameError(f"headers that begin with more than {_MOST_TABLE_SIZES} sizes of the table")
        else:
            self._is_at_beginning = False


class FrameReader:
    """Reads one connection."""

    __slots__ = ("_besides", "_partial", "_small", "_table_sizes", "has_begun")

    def __init__(self) -> None:
        self._partial = b""
        """The beginning of a frame whose end has not arrived."""
        self._small = 0
        self._besides = 0
        """Bytes of all frames but DATA."""
        self._table_sizes = _TableSizes()
        self.has_begun = False
        """Whether a whole frame has arrived."""

    def renew(self) -> None:
        """Let the bounds count from here, because another probe begins."""
        self._small = self._besides = 0

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
            if kind in (HEADERS, CONTINUATION):
                self._table_sizes.feed(data[position:end])
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
