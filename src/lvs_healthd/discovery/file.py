"""Watches a file that lists real servers.

The file is looked at by its name again and again, so it does not matter how it is replaced: by a rename, in place, or
by another target of a symbolic link on the way, as Kubernetes replaces a ConfigMap. A notification by the kernel
(inotify) would be lost with the inode that it watches, and says nothing on network file systems.
"""

import errno
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lvs_healthd.config.sources import Entry
from lvs_healthd.discovery.listing import LARGEST, ListError, read_list
from lvs_healthd.runtime.threads import HungError, LoneCall

LOOK_S = 2.0
"""How long a look at a file may take, seconds."""

SETTLES_IN_S = 10.0
"""After how long to read a file that is written again and again, seconds. Any other is read once it stays the same."""


class _Stamp(NamedTuple):
    """What changes with the content of a file."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int


class _Reading(NamedTuple):
    """What was read of a file."""

    stamp: _Stamp
    entries: tuple[Entry, ...]
    error: ListError | None = None
    """What is wrong with the list."""


class FileReader:
    """Reads one file, on threads.

    path: the file.
    clock: monotonic time, seconds.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._call = LoneCall()
        self._read: _Stamp | None = None
        """The file as it was read last; None before, and while it cannot be read."""
        self._seen: _Stamp | None = None
        """The file as it was seen last, if it has not been read since."""
        self._unsettled: float | None = None
        """Since when it is another file at each look, seconds; None while it is not."""
        self._is_missed = False
        """Whether it could not be read at the last look."""

    async def first(self) -> tuple[Entry, ...]:
        """Return what the file lists now. Raises `ListError`."""
        entries = await self._taken(self._first)
        if entries is None:
            raise ListError(f"{self._path}: it is being written")
        return entries

    async def look(self) -> tuple[Entry, ...] | None:
        """Return what the file lists if it has changed since it was read last, and stays the same now; else None.

        Raises `ListError`: for a file that cannot be read, at every look after the first, so that a moment without it,
        while a program replaces it, is nothing to tell of.
        """
        try:
            entries = await self._taken(self._look)
        except OSError as error:
            was_missed, self._is_missed = self._is_missed, True
            if was_missed:
                raise ListError(self._why(error)) from error
            return None
        if self._read is not None:
            self._is_missed = False
        return entries

    async def _taken(self, read: Callable[[], _Reading | None]) -> tuple[Entry, ...] | None:
        """Call a function on a thread, and take over what it has read. What comes too late is not taken over."""
        try:
            reading = await self._call(read, timeout_s=LOOK_S, what=f"reading {self._path}")
        except HungError as error:
            self._forget()
            raise ListError(str(error)) from error
        except OSError:
            self._forget()
            raise
        if reading is None:
            return None
        self._read, self._seen, self._unsettled = reading.stamp, None, None
        if reading.error is not None:
            raise reading.error
        return reading.entries

    def _forget(self) -> None:
        """Read the file again as soon as that is possible."""
        self._read = self._seen = self._unsettled = None

    def _first(self) -> _Reading | None:
        try:
            return self._reading(_stamp(Path(self._path).stat()))
        except OSError as error:
            raise ListError(self._why(error)) from error

    def _look(self) -> _Reading | None:
        stamp = _stamp(Path(self._path).stat())
        if stamp == self._read:
            self._seen = self._unsettled = None
            return None
        return self._reading(stamp) if self._is_settled(stamp) else None

    def _is_settled(self, stamp: _Stamp) -> bool:
        """Return whether a file that has changed is as it was at the last look, so that nobody is writing it."""
        now = self._clock()
        is_same, self._seen = stamp == self._seen, stamp
        if self._unsettled is None:
            self._unsettled = now
        return is_same or now - self._unsettled >= SETTLES_IN_S

    def _reading(self, stamp: _Stamp) -> _Reading | None:
        """Read the file. Return None if it is another one than that of the stamp, or becomes one meanwhile."""
        # A FIFO must not block, and a terminal must not become the daemon's.
        descriptor = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file")
            content = file.read(LARGEST + 1)
            if _stamp(status) != stamp or _stamp(os.fstat(descriptor)) != stamp:
                return None
        try:
            return _Reading(stamp, read_list(content, self._path))
        except ListError as error:
            return _Reading(stamp, (), error)

    def _why(self, error: OSError) -> str:
        return f"{self._path}: cannot read: {error.strerror}"


def _stamp(status: os.stat_result) -> _Stamp:
    return _Stamp(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
