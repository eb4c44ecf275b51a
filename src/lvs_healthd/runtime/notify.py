"""Tells systemd about our state with the datagrams of sd_notify(3), without its library.

Outside systemd nothing happens. Nothing raises either: a service manager that does not listen is no reason to stop
checking. Sends do not block, and systemd's socket holds far more messages than we send.
"""

import os
import socket
import time
from collections.abc import Callable, Mapping

_STATUS_MAX = 1024
"""The most characters of STATUS= to send: it is one line of `systemctl status`, and a datagram has a size limit."""


class Notifier:
    """Sends state changes to the service manager's socket.

    address: the value of NOTIFY_SOCKET; "" sends nothing.
    watchdog_s: systemd kills the service when two calls of `watchdog` are further apart than this, seconds. None means
        that no watchdog is set.
    clock: CLOCK_MONOTONIC, seconds.
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
        """Announce a reload, which `ready` ends. systemd 253 and later (Type=notify-reload) need the time."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(self._clock() * 1_000_000)}")

    def stopping(self) -> None:
        """Tell systemd that the stop has begun."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Set the line that `systemctl status` shows."""
        self._send(_status(text))

    def watchdog(self) -> None:
        """Tell systemd's watchdog that real work made progress. Call it at least twice per `watchdog_s`."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.setblocking(False)
                channel.sendto("\n".join(lines).encode("utf-8", "replace"), self._address)
        except OSError:
            # Nobody listens, or we are out of descriptors. The next message tries again.
            return


def _status(text: str) -> str:
    """Write STATUS= on one line, because a line break would start another assignment."""
    return "STATUS=" + " ".join(text.split())[:_STATUS_MAX]


def _watchdog_s(variables: Mapping[str, str]) -> float | None:
    """Read the watchdog's timeout as sd_watchdog_enabled(3) does: ignore one that is meant for another process."""
    try:
        timeout_us = int(variables.get("WATCHDOG_USEC", "0"))
        pid = int(variables.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return timeout_us / 1_000_000 if timeout_us > 0 and pid == os.getpid() else None
