"""Writes log lines without ever raising or holding up the daemon: a line that cannot be written is counted and gone.

A reader that stopped reading (a stalled journald, `| less`) would block a plain write for ever, and the checks with it.
O_NONBLOCK is no way out: it belongs to the open file, which a terminal shares with the shell. So each chunk waits for
poll(2) first. Chunks are at most PIPE_BUF long, because that much is what POLLOUT on a pipe promises to take.
"""

import io
import os
import select
import threading
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

    def _write(self, data: bytes) -> bool:
        if self._stream is None:
            return False
        if self._descriptor is None:
            self._stream.write(data.decode("utf-8"))
            self._stream.flush()
            return True
        # The rest of a line that was cut short goes first, so that no two lines ever melt into one.
        if self._unfinished:
            self._unfinished = self._write_some(self._descriptor, self._unfinished)
            if self._unfinished:
                return False
        rest = self._write_some(self._descriptor, data)
        if len(rest) == len(data):
            return False
        self._unfinished = rest
        return True

    def _write_some(self, descriptor: int, data: bytes) -> bytes:
        """Write what the reader takes in time, and return what is left."""
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        while data and poll.poll(_PATIENCE_MS if self.working else 0):
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
