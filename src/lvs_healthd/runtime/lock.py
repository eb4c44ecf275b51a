"""Lets only one daemon write the IPVS table of a network namespace, and only one use a state file.

The lock of a table is a file named after the namespace's inode, in a folder that outlives the service and that only its
user may enter. So no other local user can take it, and a daemon that was started by hand holds it too.

An abstract Unix socket stands beside it. Its name belongs to the network namespace, as the table does, so daemons in
containers that share the namespace but no files see each other. Any local user could take that name, so only root's
and our own user's word counts.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import socket
import struct
from pathlib import Path
from typing import Self

from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.runtime.netns import Netns, NetnsError

FOLDER = Path("/var/lib/lvs-healthd")
"""systemd makes it for the unit (StateDirectory=) and leaves it at a stop."""

_NAME = "\0lvs-healthd/ipvs-writer"


class LockFileError(HostError):
    """The file of a lock cannot be made."""


class AlreadyRunningError(HostError):
    """Another daemon writes this network namespace's IPVS table, or uses this state file."""


class FileLock:
    """A lock on a file of its own, held until `release` or the end of the process, even by kill -9.

    path: created if it is missing. Nothing is written to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock. Raises `BlockingIOError` when another process holds it, and `LockFileError`."""
        try:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            # Read-only is enough for flock(2), and lets the service's user lock a file that root has left.
            flags = os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(self.path, flags, 0o644)
        except OSError as error:
            raise LockFileError(
                f"{self.path}: cannot be locked: {error.strerror}; the daemon must be able to write in its folder"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def holder(self) -> str:
        """Return "pid N" of the process that holds the lock, as far as the kernel says."""
        with contextlib.suppress(OSError):
            inode = self.path.stat().st_ino
            for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
                found = re.match(rf"\d+: FLOCK +\w+ +\w+ (\d+) \w+:\w+:{inode} ", line)
                if found:
                    return f"pid {found[1]}"
        return "pid unknown"


class WriterLock:
    """What a writer of one namespace's table holds. Use it as a context manager, or call `close`."""

    def __init__(self, file: FileLock, name: socket.socket | None) -> None:
        self._file = file
        self.name = name
        """The abstract socket; None while a stranger has taken its name."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the lock. May be called twice."""
        self._file.release()
        if self.name is not None:
            self.name.close()
            self.name = None


def lock_table(netns: Netns | None = None, *, folder: Path = FOLDER) -> WriterLock:
    """Take the lock of a network namespace's table; None is the process's own namespace.

    folder: where the lock files are.

    Raises `AlreadyRunningError` with the holder's pid, `NetnsError` and `LockFileError`.
    """
    namespace = netns or Netns()
    file = FileLock(folder / f"ipvs-{namespace.identity()}.lock")
    try:
        file.take()
    except BlockingIOError as error:
        raise _already_running(file.holder()) from error
    try:
        return WriterLock(file, _named(namespace))
    except BaseException:
        file.release()
        raise


def lock_state(state: Path) -> FileLock:
    """Take the lock of a state file, which one daemon at a time may use.

    Raises `AlreadyRunningError` with the holder's pid, and `LockFileError`.
    """
    lock = FileLock(state.with_name(f".{state.name}.lock"))
    try:
        lock.take()
    except BlockingIOError as error:
        raise AlreadyRunningError(
            f"{state}: another lvs-healthd ({lock.holder()}) uses this state file; "
            "give each daemon its own [daemon] state"
        ) from error
    return lock


class StateLock:
    """The lock of the state file that a daemon uses at present."""

    def __init__(self) -> None:
        self._held: FileLock | None = None
        self._path: Path | None = None

    def move(self, state: Path | None) -> None:
        """Lock another state file in place of the one before; None for none.

        Raises as `lock_state`, and then changes nothing.
        """
        if state == self._path:
            return
        new = None if state is None else lock_state(state)
        self.release()
        self._held, self._path = new, state

    def release(self) -> None:
        """Release the lock, if there is one."""
        if self._held is not None:
            self._held.release()
        self._held = self._path = None


def answer_lock(name: socket.socket) -> None:
    """Disconnect whoever asked for our pid. Call it when the socket is readable, so that its queue never fills."""
    with contextlib.suppress(OSError):
        asking, _ = name.accept()
        asking.close()


class TableLock:
    """The lock as a daemon on an event loop holds it, for as long as it writes the table."""

    def __init__(self, netns: Netns, *, folder: Path = FOLDER) -> None:
        self._netns = netns
        self._folder = folder
        self._held: WriterLock | None = None
        self._identity = 0
        """The namespace whose lock we hold or wait for; 0 if there is none."""

    def take(self) -> bool:
        """Take the lock. Returns False if we hold it already. Raises as `lock_table`."""
        if self._held is not None:
            return False
        identity = self._netns.identity()
        self._held = lock_table(self._netns, folder=self._folder)
        self._identity = identity
        if self._held.name is not None:
            asyncio.get_running_loop().add_reader(self._held.name, answer_lock, self._held.name)
        return True

    def release(self) -> None:
        """Release the lock, if we hold it."""
        self._close()
        self._identity = 0

    def follow_netns(self) -> None:
        """Move the lock when a named namespace was deleted: release the old one and take that of a new one.

        Our socket would keep the deleted namespace alive. Raises `AlreadyRunningError` if another daemon holds the lock
        of the new one.
        """
        if not self._identity or not self._netns.name:
            return
        with contextlib.suppress(NetnsError):
            if self._held is not None and self._netns.identity() == self._identity:
                return
        self._close()
        with contextlib.suppress(NetnsError):
            self.take()

    def _close(self) -> None:
        if self._held is not None:
            if self._held.name is not None:
                asyncio.get_running_loop().remove_reader(self._held.name)
            self._held.close()
            self._held = None


def _named(netns: Netns) -> socket.socket | None:
    """Take the abstract name; None when a stranger has it. Raises `AlreadyRunningError` when one of ours has it."""
    name = _socket(netns)
    try:
        name.bind(_NAME)
    except OSError as error:
        name.close()
        if error.errno != errno.EADDRINUSE:
            raise
        pid, user = _holder(netns)
        if user in {0, os.getuid()}:
            raise _already_running(f"pid {pid}, user {user}") from error
        return None
    name.listen()
    name.setblocking(False)
    return name


def _already_running(holder: str) -> AlreadyRunningError:
    return AlreadyRunningError(
        f"another lvs-healthd ({holder}) already manages the IPVS table of this network namespace; "
        'stop it first, or give this one mode = "shadow" and its own listen and control, to watch beside it'
    )


def _socket(netns: Netns) -> socket.socket:
    with netns.entered():
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)


def _holder(netns: Netns) -> tuple[int, int]:
    """Return pid and user of whoever has the abstract name, which the kernel vouches for; -1 and -1 if it is gone."""
    with _socket(netns) as asking:
        asking.settimeout(1)
        with contextlib.suppress(OSError):
            asking.connect(_NAME)
            credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid, user, _ = struct.unpack("3i", credentials)
            return pid, user
    return -1, -1
