"""Writes log lines without ever raising or holding up the daemon: a line that cannot be written is counted and gone.

A reader that stopped reading (a stalled journald, `| less`) would block a plain write for ever, and the checks with it.
O_NONBLOCK is no way out: it belongs to the open file, which is shared with whoever started us. So each chunk waits for
poll(2) first. Chunks are at most PIPE_BUF long, because that much is what POLLOUT on a pipe promises to take. On a
terminal it promises a single byte; so a terminal is opened once more, and that one is ours not to block on.
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
"""How long one line may wait for its reader. Once it ran out, later lines wait no more until one gets through."""


class LineWriter:
    """Writes whole lines to `stream`; None (a daemon started without stderr) drops them all."""

    def __init__(self, stream: TextIO | None) -> None:
        self.dropped = 0
        """Lines lost so far."""
        self.working = True
        """Whether the last line was written."""
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._own = _opened_anew(self._descriptor)
        """A terminal's, in place of the stream's."""
        self._unfinished = b""
        # Libraries may log from worker threads.
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        """Write `line` and a line break, or count it as dropped."""
        # A lone surrogate (an undecodable file name) becomes \udcXX, which is also how JSON would spell it.
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
        """Give back what was opened; what is written later goes to the stream itself."""
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
        # The rest of a line that was cut short goes first, so that no two lines ever melt into one.
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
        """Write what the reader takes in time, and return what is left."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        # A terminal may take a line byte by byte, each in its own good time.
        deadline = time.monotonic() + _PATIENCE_MS / 1000
        while data and poll.poll(_PATIENCE_MS if self.working else 0) and time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(descriptor, data[:_CHUNK_BYTES]) :]
        return data


def _descriptor(stream: TextIO | None) -> int | None:
    """Return the file descriptor behind `stream`; None for one that lives in memory."""
    if stream is None:
        return None
    try:
        return stream.fileno()
    except (io.UnsupportedOperation, ValueError):
        return None


def _opened_anew(descriptor: int | None) -> int | None:
    """Open a terminal once more, not to block on; None for anything else, and for a terminal of somebody else (su)."""
    if descriptor is not None and os.isatty(descriptor):
        with contextlib.suppress(OSError):
            return os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return None
