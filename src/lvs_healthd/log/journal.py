"""Sends log entries to systemd's journal with fields of their own, so that `journalctl LVS_SERVICE=web` finds them.

The protocol is https://systemd.io/JOURNAL_NATIVE_PROTOCOL: one datagram an entry, or a sealed memfd with the same text
if it is too large for a datagram. The datagram is sent to the path each time, as sd_journal_send(3) does, so a journal
whose socket was replaced is found again.
"""

import contextlib
import errno
import fcntl
import os
import socket
import struct
import termios
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

from lvs_healthd.log.format import Entry, as_json
from lvs_healthd.log.writer import LineWriter

SOCKET = "/run/systemd/journal/socket"

PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
"""The journal's number for each level, so that `journalctl -p warning` works (syslog(3))."""

_LABELS = (("service", "LVS_SERVICE"), ("services", "LVS_SERVICE"), ("server", "LVS_SERVER"), ("servers", "LVS_SERVER"))
"""The fields of an entry that the journal indexes, and their names there. A field that holds several values is given
several times."""

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
"""Without all of these, journald refuses a memfd."""

_LAST_WAIT_S = 0.05
"""How long `close` waits for the journal, seconds."""


def is_journal(stream: TextIO) -> bool:
    """Return whether systemd has connected the stream to the journal.

    JOURNAL_STREAM holds the device and inode of that stream (systemd.exec(5)).
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class JournalWriter:
    """Writes entries to the journal's socket, and never waits for it.

    An entry that the socket does not take becomes a line on standard error, which leads to the journal too, but without
    fields.

    lines: standard error.
    address: the path of the journal's socket.
    """

    def __init__(self, lines: LineWriter, address: str) -> None:
        self.unlabelled = 0
        """How many entries went to standard error so far."""
        self.error = ""
        """Why the last of them did."""
        self.working = True
        """Whether the last entry was written, either way."""
        self._lines = lines
        self._address = address
        self._socket: socket.socket | None = None
        # Libraries may log from worker threads.
        self._lock = threading.Lock()

    @property
    def dropped(self) -> int:
        """How many entries were lost so far, because neither the socket nor standard error took them."""
        return self._lines.dropped

    def write(self, entry: Entry) -> None:
        """Send an entry, or write it to standard error."""
        line = as_json(entry)
        priority = PRIORITIES[str(entry["level"])]
        with self._lock:
            try:
                self._send(_text(entry, line, priority))
                self.working = True
            except OSError as error:
                # EAGAIN: the journal does not read, and its queue is full. Others: it is gone, or a sandbox is between.
                self.unlabelled += 1
                self.error = error.strerror or str(error)
                # journald takes the number off the line's beginning, and stores the line with that priority
                # (sd-daemon(3)).
                self._lines.write(f"<{priority}>{line}")
                self.working = self._lines.working

    def close(self) -> None:
        """Wait a moment until the journal has read everything. A later `write` opens the socket again.

        journald looks up the unit of a sender by its process, so the process must not end before journald has read its
        last entry: `journalctl -u` would not show that entry.
        """
        with self._lock:
            if self._socket is None:
                return
            deadline = time.monotonic() + _LAST_WAIT_S
            while _is_unread(self._socket) and time.monotonic() < deadline:
                time.sleep(_LAST_WAIT_S / 50)
            self._socket.close()
            self._socket = None

    def _send(self, text: bytes) -> None:
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.sendto(text, self._address)
        except OSError as error:
            if error.errno not in {errno.EMSGSIZE, errno.ENOBUFS}:
                raise
            self._send_file(self._socket, text)

    def _send_file(self, channel: socket.socket, text: bytes) -> None:
        descriptor = os.memfd_create("lvs-healthd-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(text)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))
            channel.sendmsg([b""], [rights], 0, self._address)
        finally:
            os.close(descriptor)


def _text(entry: Entry, line: str, priority: int) -> bytes:
    fields = f"MESSAGE={line}\nPRIORITY={priority}\nSYSLOG_IDENTIFIER=lvs-healthd\nLVS_EVENT={entry['event']}\n"
    # A lone surrogate (from an undecodable file name) becomes \udcXX, just as JSON would write it.
    return fields.encode("utf-8", "backslashreplace") + b"".join(_labels(entry))


def _labels(entry: Entry) -> Iterator[bytes]:
    for key, name in _LABELS:
        value = entry.get(key)
        values: Iterable[object] = value if isinstance(value, (tuple, list)) else (value,)
        for each in values:
            if isinstance(each, str) and each:  # `services` may be a number
                yield _field(name, each)


def _field(name: str, value: str) -> bytes:
    text = value.encode("utf-8", "backslashreplace")
    if b"\n" in text:
        return name.encode() + b"\n" + struct.pack("<Q", len(text)) + text + b"\n"
    return name.encode() + b"=" + text + b"\n"


def _is_unread(channel: socket.socket) -> bool:
    """Return whether some of what was sent waits to be read (SIOCOUTQ of unix(7), which is TIOCOUTQ)."""
    unread = bytearray(4)
    with contextlib.suppress(OSError):
        fcntl.ioctl(channel, termios.TIOCOUTQ, unread)
    return any(unread)
