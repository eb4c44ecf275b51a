"""Writes log lines, but never raises an exception or blocks the daemon for long. It drops and counts lines instead.

If the reader stops reading (a stalled journald, `| less`), a plain write would block forever, and so would the checks.
O_NONBLOCK on the stream is no solution, because the flag belongs to the open file, which the daemon shares with the
process that started it. So each chunk waits for poll(2) first. A chunk has at most PIPE_BUF bytes, because POLLOUT on a
pipe promises room for that many. On a terminal POLLOUT promises room for only a single byte. So the writer opens the
terminal again, and sets O_NONBLOCK there.
"""

import contextlib
import io
import os
import select
import threading
import time
from typing import TextIO

_CHUNK_BYTES = select.PIPE_BUF
_PATIENCE_MS = 50
"""How long a line may wait for its reader. After a line has waited in vain, later lines do not wait at all. When one of
them gets through, lines wait again."""
_PAUSE_MS = 1
"""How long to wait when poll(2) has promised room and the write finds none."""


class LineWriter:
    """Writes whole lines to a stream.

    stream: where lines go. None drops them all; the daemon has no stream if it was started without stderr.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.dropped = 0
        """How many lines were lost so far."""
        self.working = True
        """Whether the last line was written."""
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._own = _opened_again(self._descriptor)
        """A second descriptor of a terminal, with O_NONBLOCK, which is used instead of the stream's own."""
        self._unfinished = b""
        # Libraries may log from worker threads.
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        """Write `line` and a line break, or count it as dropped."""
        # A lone surrogate (from an undecodable file name) becomes \udcXX, just as JSON would write it.
        data = (line + "\n").encode("utf-8", "backslashreplace")
        with self._lock:
            try:
                self.working = self._write(data)
            except (OSError, ValueError):
                # OSError: EPIPE, EIO, ENOSPC. ValueError: the stream object was closed.
                self.working = False
            if not self.working:
                self.dropped += 1

    def close(self) -> None:
        """Close the second descriptor of a terminal, if any. Lines written later go to the stream itself."""
        with self._lock:
            if self._own is not None:
                os.close(self._own)
                self._own = None

    def _write(self, data: bytes) -> bool:
        if self._stream is None:
            return False
        if self._descriptor is None:
            self._stream.write(data.decode("utf-8"))
            self._stream.flush()
            return True
        descriptor = self._descriptor if self._own is None else self._own
        # The rest of a line that was cut short goes first, so that no two lines ever run together.
        if self._unfinished:
            self._unfinished = self._write_some(descriptor, self._unfinished)
            if self._unfinished:
                return False
        rest = self._write_some(descriptor, data)
        if len(rest) == len(data):
            return False
        self._unfinished = rest
        return True

    def _write_some(self, descriptor: int, data: bytes) -> bytes:
        """Write as much as the reader takes in time, and return the rest."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        # A terminal may take a line byte by byte, so there is one patience for the whole line. Only waiting uses it up.
        # What the reader takes at once is written, even if this process did not run for a while.
        patience_ms = _PATIENCE_MS if self.working else 0.0
        while data:
            if not poll.poll(0):
                before = time.monotonic()
                if not poll.poll(max(patience_ms, 0)):
                    break
                patience_ms -= (time.monotonic() - before) * 1000
            try:
                data = data[os.write(descriptor, data[:_CHUNK_BYTES]) :]
            except BlockingIOError:
                # A terminal can promise room for a byte and refuse a line break, which takes two.
                if patience_ms <= 0:
                    break
                time.sleep(_PAUSE_MS / 1000)
                patience_ms -= _PAUSE_MS
        return data


def _descriptor(stream: TextIO | None) -> int | None:
    """Return the file descriptor behind `stream`, or None for a stream in memory."""
    if stream is None:
        return None
    try:
        return stream.fileno()
    except (io.UnsupportedOperation, ValueError):
        return None


def _opened_again(descriptor: int | None) -> int | None:
    """Open a terminal again, with O_NONBLOCK.

    Returns None for anything else, and for a terminal that this user may not open (after su).
    """
    if descriptor is not None and os.isatty(descriptor):
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return None
