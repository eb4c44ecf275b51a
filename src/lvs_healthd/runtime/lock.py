"""Lets only one daemon write the IPVS table of a network namespace. A second one is refused, with the first one's pid.

The lock is an abstract Unix socket. Its name belongs to the network namespace, just as the IPVS table does, and
vanishes with its process even after kill -9. The kernel vouches for the holder's pid (SO_PEERCRED).
"""

import asyncio
import contextlib
import errno
import socket
import struct

from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.runtime.netns import Netns, NetnsError

_NAME = "\0lvs-healthd/ipvs-writer"


class AlreadyRunningError(HostError):
    """Another daemon writes this network namespace's IPVS table."""


def lock_table(netns: Netns | None = None) -> socket.socket:
    """Take the lock of a network namespace (None: the process's own) and return the socket that holds it.

    The lock is held until the socket is closed or the process ends. Raises `AlreadyRunningError` with the holder's pid,
    and `NetnsError`.
    """
    namespace = netns or Netns()
    lock = _socket(namespace)
    try:
        lock.bind(_NAME)
    except OSError as error:
        lock.close()
        if error.errno != errno.EADDRINUSE:
            raise
        raise AlreadyRunningError(
            f"another lvs-healthd ({_holder(namespace)}) already manages the IPVS table of this network namespace; "
            'stop it first, or give this one mode = "shadow" and its own listen and control, to watch beside it'
        ) from error
    lock.listen()
    lock.setblocking(False)
    return lock


def answer_lock(lock: socket.socket) -> None:
    """Disconnect whoever asked for our pid. Call it when the lock is readable, so that its queue never fills."""
    with contextlib.suppress(OSError):
        asking, _ = lock.accept()
        asking.close()


class TableLock:
    """The lock as a daemon on an event loop holds it, for as long as it writes the table."""

    def __init__(self, netns: Netns) -> None:
        self._netns = netns
        self._held: socket.socket | None = None
        self._identity = 0
        """The namespace whose lock we hold or wait for; 0 if there is none."""

    def take(self) -> bool:
        """Take the lock. Returns False if we hold it already. Raises `AlreadyRunningError` and `NetnsError`."""
        if self._held is not None:
            return False
        identity = self._netns.identity()
        self._held = lock_table(self._netns)
        self._identity = identity
        asyncio.get_running_loop().add_reader(self._held, answer_lock, self._held)
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
            asyncio.get_running_loop().remove_reader(self._held)
            self._held.close()
            self._held = None


def _socket(netns: Netns) -> socket.socket:
    with netns.entered():
        return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)


def _holder(netns: Netns) -> str:
    with _socket(netns) as asking:
        asking.settimeout(1)
        with contextlib.suppress(OSError):
            asking.connect(_NAME)
            credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            pid, user, _ = struct.unpack("3i", credentials)
            return f"pid {pid}, user {user}"
    return "pid unknown"
