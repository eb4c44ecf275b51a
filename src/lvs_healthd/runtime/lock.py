"""One writer per director: a second daemon in the same network namespace is refused with the first one's pid.

The lock is an abstract Unix socket. Such names belong to the network namespace, just as IPVS tables do, vanish with
their process even after kill -9, and the kernel vouches for the holder's pid (SO_PEERCRED).
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
    """Take the lock of a network namespace; it is held until the returned socket is closed or the process ends.

    Raises `AlreadyRunningError` with the holder's pid, and `NetnsError`.
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
    """Let go of whoever asked for our pid; called when the lock is readable, so that its queue never fills."""
    with contextlib.suppress(OSError):
        asking, _ = lock.accept()
        asking.close()


class TableLock:
    """The lock as a daemon holds it, on the running event loop, for as long as it writes."""

    def __init__(self, netns: Netns) -> None:
        self._netns = netns
        self._held: socket.socket | None = None
        self._identity = 0
        """The namespace whose lock is held or waited for; 0 where none is."""

    def take(self) -> bool:
        """Take it, and say whether it was not held before. Raises `AlreadyRunningError` and `NetnsError`."""
        if self._held is not None:
            return False
        identity = self._netns.identity()
        self._held = lock_table(self._netns)
        self._identity = identity
        asyncio.get_running_loop().add_reader(self._held, answer_lock, self._held)
        return True

    def release(self) -> None:
        """Give it back."""
        self._close()
        self._identity = 0

    def follow_netns(self) -> None:
        """Let go of a named namespace that was deleted, which the socket would keep alive; take the lock of a new one.

        Raises `AlreadyRunningError`.
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
