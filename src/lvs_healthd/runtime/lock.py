"""Lets only one daemon write to the IPVS table of a network namespace, and only one daemon use a state file.

The lock of a table is a file named after the namespace's inode. The file's folder outlives the service, so the lock
also works between the service and a daemon that was started by hand. Only the service's user may enter the folder, so
no other local user can take the lock.

In addition, the daemon takes the name of an abstract Unix socket. Such a name belongs to the network namespace, as the
table does. So daemons in containers that share the namespace, but no files, see each other. Any local user could take
the name, so it counts only if root or the daemon's own user has it.
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
"""The folder for the lock files. systemd makes it for the unit (StateDirectory=), and keeps it when the unit stops."""

_NAME = "\0lvs-healthd/ipvs-writer"


class LockFileError(HostError):
    """Raised when the file of a lock cannot be made."""


class AlreadyRunningError(HostError):
    """Raised when another daemon writes to this network namespace's IPVS table, or uses this state file."""


class FileLock:
    """A lock on a file, held until `release` or until the process ends, even if it is killed.

    path: the file, which has no other purpose. It is created if it is missing, and nothing is written to it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock. Raises `BlockingIOError` when another process holds it, and `LockFileError`."""
        try:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            # Read-only is enough for flock(2). So the service's user can also lock a file that root has created.
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
        """Return "pid N" of the process that holds the lock, or "pid unknown"."""
        with contextlib.suppress(OSError):
            inode = self.path.stat().st_ino
            for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
                found = re.match(rf"\d+: FLOCK +\w+ +\w+ (\d+) \w+:\w+:{inode} ", line)
                if found:
                    return f"pid {found[1]}"
        return "pid unknown"


class WriterLock:
    """The lock of a table while it is held: the locked file and the abstract socket.

    Use it as a context manager, or call `close`.
    """

    def __init__(self, file: FileLock, name: socket.socket | None) -> None:
        self._file = file
        self.name = name
        """The abstract socket; None if another user has taken its name."""

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
    """Take the lock of a network namespace's IPVS table.

    netns: the network namespace; None means the process's own.
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
    """Take the lock of a state file, which only one daemon at a time may use.

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
        """Lock a state file, and release the previous one. None only releases the previous one.

        Raises the same exceptions as `lock_state`; then nothing changes.
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
    """Accept and close a connection to the abstract socket.

    Another daemon connects to it only to learn this process's pid. Call this when the socket is readable, so that its
    queue never fills.
    """
    with contextlib.suppress(OSError):
        asking, _ = name.accept()
        asking.close()


class TableLock:
    """The lock of a table, for a daemon on an event loop. The daemon holds it for as long as it writes to the table."""

    def __init__(self, netns: Netns, *, folder: Path = FOLDER) -> None:
        self._netns = netns
        self._folder = folder
        self._held: WriterLock | None = None
        self._identity = 0
        """The identity of the namespace whose lock is held or awaited; 0 if there is none."""

    def take(self) -> bool:
        """Take the lock. Returns False if it is already held here. Raises the same exceptions as `lock_table`."""
        if self._held is not None:
            return False
        identity = self._netns.identity()
        self._held = lock_table(self._netns, folder=self._folder)
        self._identity = identity
        if self._held.name is not None:
            asyncio.get_running_loop().add_reader(self._held.name, answer_lock, self._held.name)
        return True

    def release(self) -> None:
        """Release the lock, if it is held."""
        self._close()
        self._identity = 0

    def follow_netns(self) -> None:
        """Move the lock if its namespace was deleted, and perhaps made again under the same name.

        The lock of the old namespace is released, because its socket would keep the deleted namespace alive. Then the
        lock of the new namespace is taken, as soon as there is one. Raises `AlreadyRunningError` if another daemon
        holds the lock of the new namespace.
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
    """Take the name of the abstract socket, and return the socket. Returns None when another user has the name.

    Raises `AlreadyRunningError` when a process of root or of the daemon's own user has it.
    """
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
    """Ask the kernel for the pid and user of the process that has the abstract name; -1 and -1 if there is none."""
    with _socket(netns) as asking:
        asking.settimeout(1)
        with contextlib.suppress(OSError):
            asking.connect(_NAME)
            credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid, user, _ = struct.unpack("3i", credentials)
            return pid, user
    return -1, -1
