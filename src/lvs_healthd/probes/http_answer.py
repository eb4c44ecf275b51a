"""Reads the answer to an HTTP/1.1 request as clients read it. Sans-I/O.

An odd answer is no reason to call a server down if clients understand the answer. So this reader accepts what curl
accepts, which is the client that operators try first: bare line feeds, a Content-Length that appears twice, letters
after a number. Parsers made for proxies refuse these, because a proxy forwards what it reads to a program that may read
it differently (RFC 9112, section 11.2). A probe forwards nothing.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from lvs_healthd.probes.exchange import quote

LARGEST = 2**63 - 1
"""The largest size of a body or a chunk that clients can count, bytes."""

MOST_LINES = 5000
"""The maximum number of lines of headers, interim answers included. curl takes as many headers. A line takes 0.3 µs."""

MOST_CHUNK_LINES = 16384
"""The maximum number of lines of one body that belong to chunks or trailers. A chunk has two. So many take 7 ms, or
twice as long when another request follows. A body of 64 KiB may still come in chunks of 8 bytes."""

_BEGINNING = b"HTTP/"
WITHOUT_BODY = (204, 304)
"""The statuses of answers without a body, whatever their headers announce (RFC 9112, section 6.3)."""

_STATUS_LINE = re.compile(rb"HTTP/(?:1\.[01]|2(?:\.0)?) +([1-9][0-9]{2})(?![0-9])", re.IGNORECASE)
"""The version, and a status of three digits. Some servers answer an HTTP/1.1 request as "HTTP/2"."""
_ORDINARY_HEAD = re.compile(
    rb"HTTP/1\.[01] ([2-9][0-9]{2})(?![0-9])[^\0\n]*+\n"
    rb"(?:(?!(?i:Content-Length)(?!: ?[0-9]++\r))[A-Za-z0-9_-]++:[^\0\n]*+\n){0,%d}"
    rb"\r\n" % (MOST_LINES - 1)
)
"""A head of few enough lines in which the names of headers are well formed, and any Content-Length is a number.

A search takes linear time, because each line can end in one place only. The repetition of lines is not possessive: with
a look-ahead in it, Python before 3.11.5 then skips the beginning of a line that does not match (python/cpython#106052).
"""
_LENGTH = re.compile(rb"[ \t]*\+?([0-9]+)")
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]+")
_KEPT_FOR = re.compile(rb"(?:^|[ \t,])timeout=([0-9]{1,9})(?![0-9])", re.IGNORECASE)
_OF_CONNECTIONS = frozenset((b"connection", b"keep-alive"))
_NO_FIELDS: Mapping[bytes, list[bytes]] = MappingProxyType({})
_DIGITS = 20
"""How many digits of a length are read: one more than `LARGEST` has. A number of this many digits is already larger."""
_CR = 0x0D
_BLANKS = (0x20, 0x09)


class AnswerError(Exception):
    """The answer cannot be read as HTTP.

    what: what is wrong.
    line: where in the answer.
    """

    def __init__(self, what: str, line: bytes) -> None:
        super().__init__(what)
        self._what = what
        self._line = line

    def in_words(self, hidden: tuple[bytes, ...]) -> str:
        """Say what is wrong, and quote the line without the parts of secrets in `hidden`."""
        return f"{self._what}: {quote(self._line, hidden=hidden)}"


class Head(NamedTuple):
    """What the status line and the headers of an answer say."""

    fields: Mapping[bytes, list[bytes]]
    """The values of the headers that the reader was told to collect, by their names in lower case."""

    status: int
    length: int | None
    """The size of the body, bytes; None if no header gives it, or if it is more than clients can count."""
    is_chunked: bool
    rest: bytes
    """What has arrived after the headers."""
    is_old: bool = False
    """Whether the version is HTTP/1.0, whose connections end with the answer unless the server says otherwise."""


def status_of_ordinary_head(data: bytes) -> int:
    """Return the status if `data` begins with a whole head as nearly all servers send it, else 0.

    This is a short cut past `HeadReader`, which takes four times as long.
    """
    found = _ORDINARY_HEAD.match(data)
    return int(found[1]) if found is not None else 0


class HeadReader:
    """Reads up to the end of the final answer's headers. Interim answers before it are skipped.

    wanted: the headers to collect, in lower case.
    """

    __slots__ = (
        *("_fields", "_is_chunked", "_is_old", "_last", "_length", "_lines_left", "_partial", "_status", "_wanted"),
    )

    def __init__(self, wanted: frozenset[bytes] = frozenset()) -> None:
        self._wanted = wanted
        self._fields: dict[bytes, list[list[bytes]]] = {}
        """The lines of each value of the wanted headers."""
        self._last: list[bytes] | None = None
        """The lines of the value that the last line belongs to; None when it is not collected."""
        self._partial = b""
        """The last line so far, as long as its end has not arrived."""
        self._lines_left = MOST_LINES
        self._status = 0
        """0 until the status line has been read."""
        self._is_old = False
        self._length: int | None = None
        self._is_chunked = False

    def feed(self, data: bytes) -> Head | None:
        """Take the next bytes. Return the head when it is complete, and None before.

        Raises `AnswerError` for bytes that clients reject too.
        """
        data = self._partial + data
        if not self._status:
            data = data.lstrip(b"\r\n")  # empty lines before the answer, which browsers skip
        *lines, self._partial = data.split(b"\n")
        lines_left = self._lines_left
        self._lines_left -= len(lines)
        for number, line in enumerate(lines):
            if number >= lines_left and line and line[0] != _CR:
                raise AnswerError(f"more than {MOST_LINES} lines of headers", line.rstrip(b"\r\n"))
            if not self._status:
                self._read_status(line)
            elif line and line[0] != _CR:
                self._read_header(line)
            # An empty line. 1xx answers are interim: the final one follows (RFC 9110, section 15.2). 101 is final.
            elif self._status >= 200 or self._status == 101:
                rest = b"\n".join((*lines[number + 1 :], self._partial))
                fields = self._joined() if self._fields else _NO_FIELDS
                return Head(fields, self._status, self._length, self._is_chunked, rest, self._is_old)
            else:
                self._status, self._length, self._is_chunked = 0, None, False
                self._fields, self._last = {}, None
        if not self._status:
            _refuse_other_beginning(self._partial)
        return None

    def _joined(self) -> dict[bytes, list[bytes]]:
        """Return the collected headers, with the lines of each value joined."""
        return {name: [b" ".join(value) for value in values] for name, values in self._fields.items()}

    def _read_status(self, line: bytes) -> None:
        _refuse_other_beginning(line)
        found = _STATUS_LINE.match(line)
        if found is None or b"\0" in line:
            raise AnswerError("not an HTTP status line", line.rstrip(b"\r\n"))
        self._status = int(found[1])
        self._is_old = found[0].endswith(b".0 ", 0, 9)

    def _read_header(self, line: bytes) -> None:
        if b"\0" in line:
            raise AnswerError("a NUL byte in the headers", line.rstrip(b"\r\n"))
        if self._last is not None and line[0] in _BLANKS:
            self._last.append(line.strip())
            return
        name, colon, value = line.partition(b":")
        if not colon:
            if line[0] in _BLANKS:
                return  # a folded line goes on with the one before it (RFC 9112, section 5.2)
            raise AnswerError("a header without a colon", line.rstrip(b"\r\n"))
        name = name.lower()
        if name == b"content-length":
            self._length = _length(value)
        elif name == b"transfer-encoding":
            codings = [coding.strip() for coding in value.lower().split(b",")]
            self._is_chunked = self._is_chunked or b"chunked" in codings
        self._last = None
        if name in self._wanted:
            self._last = [value.strip()]
            self._fields.setdefault(name, []).append(self._last)


def _length(value: bytes) -> int | None:
    if not value.strip():
        return None  # browsers take the end of the connection for the end of the body
    found = _LENGTH.match(value)
    if found is None:
        raise AnswerError("Content-Length is not a number", value.strip())
    length = int(found[1].lstrip(b"0")[:_DIGITS] or b"0")  # Python refuses to convert thousands of digits
    return length if length <= LARGEST else None


def _refuse_other_beginning(line: bytes) -> None:
    """Raise `AnswerError` if a first line, complete or not, cannot be the beginning of an HTTP status line."""
    if not _BEGINNING.startswith(line[: len(_BEGINNING)].upper()):
        raise AnswerError("not an HTTP answer", line.rstrip(b"\r\n"))


class ChunkReader:
    """Reads a body that is sent in chunks (RFC 9112, section 7.1)."""

    __slots__ = ("_expects_end_of_chunk", "_left", "_lines_left", "_partial", "_trailers", "is_complete", "overhead")

    def __init__(self) -> None:
        self._partial = b""
        """The last line so far, as long as its end has not arrived."""
        self._left = 0
        """Bytes of the chunk that have not arrived."""
        self._lines_left = MOST_CHUNK_LINES
        self._expects_end_of_chunk = False
        self._trailers = False
        self.is_complete = False
        self.overhead = 0
        """Bytes so far that belong to no chunk: sizes, extensions, line ends and trailers."""

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes, and return those that belong to the body.

        Raises `AnswerError` for bytes that clients reject too.
        """
        body = bytearray()
        position = 0
        while position < len(data) and not self.is_complete:
            if self._left:
                part = data[position : position + self._left]
                body += part
                position += len(part)
                self._left -= len(part)
                continue
            end = data.find(b"\n", position) + 1
            line = self._partial + data[position : end or len(data)]
            self.overhead += (end or len(data)) - position
            if not end:
                self._partial = line
                break
            self._partial = b""
            self._read_line(line)
            position = end
        return bytes(body)

    def _read_line(self, line: bytes) -> None:
        self._lines_left -= 1
        if self._lines_left < 0:
            raise AnswerError(f"more than {MOST_CHUNK_LINES} lines of chunks and trailers", line.rstrip(b"\r\n"))
        if self._expects_end_of_chunk:
            if line != b"\r\n" and line.strip(b"\r\n"):
                raise AnswerError("a chunk longer than its size says", line.rstrip(b"\r\n"))
            self._expects_end_of_chunk = False
        elif self._trailers:
            self.is_complete = not line.strip(b"\r\n")
        else:
            size = _CHUNK_SIZE.match(line)
            if size is None:
                raise AnswerError("not the size of a chunk", line.rstrip(b"\r\n"))
            self._left = int(size[0], 16)
            if self._left > LARGEST:
                raise AnswerError("a chunk larger than clients can count", line.rstrip(b"\r\n"))
            self._trailers = not self._left
            self._expects_end_of_chunk = not self._trailers


def seconds_kept(value: bytes) -> float | None:
    """Return how long a server keeps an idle connection, seconds, from its Keep-Alive header; None if it is not said.

    The header is of RFC 2068, section 19.7.1.1. Apache and Node send it.
    """
    found = _KEPT_FOR.search(value)
    return float(found[1]) if found is not None else None


class AnswerEnd:
    """Finds the end of an answer, after which its connection can serve the next request (RFC 9112, section 9.3).

    has_body: whether the answer may have a body, which that to HEAD never has.
    """

    __slots__ = ("_chunks", "_has_body", "_head", "_left", "_reader", "is_complete", "is_last", "limit_s", "seen")

    def __init__(self, *, has_body: bool) -> None:
        self._has_body = has_body
        self._reader = HeadReader(_OF_CONNECTIONS)
        self._head: Head | None = None
        self._chunks: ChunkReader | None = None
        self._left = 0
        """Bytes of a body without chunks that have not arrived."""
        self.seen = 0
        """How many bytes have arrived."""
        self.is_complete = False
        self.is_last = False
        """Whether the connection can serve no other request: the server says so, nothing but the connection's end ends
        the answer, or it cannot be read."""
        self.limit_s: float | None = None
        """How long the server says that it keeps an idle connection, seconds; None if it does not say."""

    @property
    def status(self) -> int:
        """The status of the answer; 0 until its headers have ended."""
        return 0 if self._head is None else self._head.status

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self.seen += len(data)
        if self.is_complete:
            self.is_last = True  # nobody has asked for this
            return
        try:
            if self._head is None:
                self._head = self._reader.feed(data)
                if self._head is None:
                    return
                self._begin_body(self._head)
                data = self._head.rest
            self._read_body(data)
        except AnswerError:
            self.is_last = True

    def _begin_body(self, head: Head) -> None:
        said = b",".join(head.fields.get(b"connection", ())).lower().split(b",")
        tokens = [token.strip() for token in said]
        self.is_last = b"close" in tokens or (head.is_old and b"keep-alive" not in tokens)
        self.limit_s = seconds_kept(b",".join(head.fields.get(b"keep-alive", ())))
        if not self._has_body or head.status in WITHOUT_BODY:
            return
        if head.is_chunked:
            self._chunks = ChunkReader()
        elif head.length is None:
            self.is_last = True
        else:
            self._left = head.length

    def _read_body(self, data: bytes) -> None:
        if self._chunks is not None:
            before = self._chunks.overhead
            read = len(self._chunks.feed(data)) + self._chunks.overhead - before
            self.is_complete = self._chunks.is_complete
        else:
            read = min(len(data), self._left)
            self._left -= read
            self.is_complete = not self._left
        self.is_last |= self.is_complete and read < len(data)
