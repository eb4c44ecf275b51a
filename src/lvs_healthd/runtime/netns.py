"""The network namespace whose IPVS is managed: this process's own, or the one that `[ipvs] netns` names.

A socket, an open file of /proc/sys/net and a child process belong to the namespace of the thread that makes them. So a
thread enters the namespace to make one of these, and then leaves it again. (This module calls setns(2) itself, because
`os.setns` exists only since Python 3.12.)
"""

import contextlib
import ctypes
import errno
import os
from collections.abc import Iterator

from lvs_healthd.runtime.exceptions import HostError

_CLONE_NEWNET = 0x40000000  # sched.h
_OWN = "/proc/thread-self/ns/net"
_FOLDER = "/run/netns"
"""The folder in which `ip netns` has a file for each named namespace."""


class NetnsError(HostError):
    """Raised when a network namespace cannot be entered. The message says what to do."""


class Netns:
    """A network namespace, given by name or path. "" means the process's own."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        """The name or path. It may be changed until the namespace is first used."""

    @property
    def path(self) -> str:
        """The file that represents the namespace; "" for the process's own."""
        return self.name if not self.name or self.name.startswith("/") else f"{_FOLDER}/{self.name}"

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread into the namespace during a `with` block, in which nothing may be awaited.

        Ends the process if the thread cannot return, because it would write to the wrong namespace from then on. Raises
        `NetnsError` when the namespace cannot be entered.
        """
        if not self.name:
            yield
            return
        with contextlib.ExitStack() as stack:
            try:
                outside = stack.enter_context(open(_OWN, "rb"))  # noqa: PTH123  # a handle, not its content
                inside = stack.enter_context(open(self.path, "rb"))  # noqa: PTH123
                _setns(inside.fileno())
            except OSError as error:
                raise NetnsError(self._why(error)) from error
            try:
                yield
            finally:
                _return_to(outside.fileno())

    def identity(self) -> int:
        """Return a number that changes when the namespace is deleted and made again under the same name.

        Raises `NetnsError` when there is no such namespace.
        """
        try:
            return os.stat(self.path or _OWN).st_ino  # noqa: PTH116
        except OSError as error:
            raise NetnsError(self._why(error)) from error

    def _why(self, error: OSError) -> str:
        what = f"ipvs.netns: cannot enter the network namespace {self.path}"
        match error.errno:
            case errno.ENOENT:
                fix = f"; make it: ip netns add {self.name}" if not self.name.startswith("/") else ""
                return f"{what}: there is none{fix}"
            case errno.EPERM | errno.EACCES:
                return f"{what}: not permitted: needs CAP_SYS_ADMIN: run as root, or see docs/systemd.md for the unit"
            case errno.EINVAL:
                return f"{what}: it is no network namespace"
            case _:
                return f"{what}: {error.strerror}"


def _return_to(fileno: int) -> None:
    try:
        _setns(fileno)
    except OSError as error:
        # An exception would not be enough: its handler, or the thread's next task, would run in the wrong namespace.
        text = f"lvs-healthd: a thread cannot return to its own network namespace ({error.strerror}): the daemon ends\n"
        with contextlib.suppress(OSError):
            os.write(2, text.encode())
        os._exit(1)


def _setns(fileno: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fileno, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
