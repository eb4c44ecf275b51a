"""Tells systemd about the daemon's state, with the datagrams of sd_notify(3) but without systemd's library.

Outside systemd nothing happens. No call raises an exception, because a service manager that does not listen is no
reason to stop checking. No call blocks either, and systemd's socket has room for far more messages than are sent.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping

_STATUS_MAX = 1024
"""The maximum length of STATUS=, characters. It is one line of `systemctl status`, and datagrams have a size limit."""


class Notifier:
    """Sends state changes to the service manager's socket.

    address: the value of NOTIFY_SOCKET; "" sends nothing.
    watchdog_s: the time after which systemd kills the service if `watchdog` is not called again, seconds. None means
        that there is no watchdog.
    clock: the time of CLOCK_MONOTONIC, seconds.
    """

    def __init__(
        self, address: str, *, watchdog_s: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.watchdog_s = watchdog_s
        self._clock = clock
        # systemd writes an abstract socket's leading NUL byte as "@".
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "Notifier":
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, which systemd sets."""
        variables = os.environ if environment is None else environment
        address = variables.get("NOTIFY_SOCKET", "")
        return cls(address if address[:1] in ("/", "@") else "", watchdog_s=_watchdog_s(variables))

    def ready(self, status: str) -> None:
        """Tell systemd that the start or a reload is complete, with the line for `systemctl status`."""
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        """Tell systemd that a reload has begun. Call `ready` at its end.

        systemd 253 and later need the time with it (Type=notify-reload).
        """
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock() * 1_000_000)}")

    def stopping(self) -> None:
        """Tell systemd that the stop has begun."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(_status(text))

    def watchdog(self) -> None:
        """Tell systemd's watchdog that the daemon makes progress. Call this at least twice in each `watchdog_s`."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            # Nobody listens, or the daemon is out of descriptors. The next message tries again.
            return


def _status(text: str) -> str:
    """Format STATUS= on one line, because a line break would start another assignment."""
    return "STATUS=" + " ".join(text.split())[:_STATUS_MAX]


def _watchdog_s(variables: Mapping[str, str]) -> float | None:
    """Read the watchdog's timeout, seconds.

    A timeout that is meant for another process is ignored, as in sd_watchdog_enabled(3).
    """
    try:
        timeout_us = int(variables.get("WATCHDOG_USEC", "0"))
        pid = int(variables.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return timeout_us / 1_000_000 if timeout_us > 0 and pid == os.getpid() else None
