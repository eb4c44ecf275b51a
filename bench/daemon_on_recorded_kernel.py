"""Runs the whole of lvs-healthd, including its netlink client, over a recorded kernel's socket instead of netlink.

It is a separate program: `python -m bench.daemon_on_recorded_kernel SOCKET CONFIG`.
"""

import asyncio
import socket
import sys
from pathlib import Path
from typing import Any

from lvs_healthd.daemon.daemon import Daemon
from lvs_healthd.daemon.parts import Settings
from lvs_healthd.ipvs.kernel import channel
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.log import configure


class KernelSocket(socket.socket):
    """A Unix socket on which everything seems to come from the kernel, as it does on netlink."""

    def recvfrom(self, size: int, flags: int = 0) -> tuple[bytes, Any]:
        """Receive, and return the kernel's netlink address as the sender's: port 0, no groups."""
        return self.recv(size, flags), (0, 0)


def open_on(path: str) -> KernelSocket:
    """Connect to a recorded kernel, and return a socket that can be used like a netlink socket."""
    connection = KernelSocket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    connection.connect(path)
    connection.setblocking(False)
    return connection


def use(path: str) -> None:
    """Make every netlink client of this process talk to the recorded kernel at `path`."""
    channel._opened = lambda: open_on(path)  # noqa: SLF001  # the one place that opens a netlink socket


def main() -> None:
    """Run until SIGTERM."""
    path, file = sys.argv[1:3]
    use(path)
    log = configure(level="info")

    async def serve() -> None:
        # The lock protects the table of a network namespace. The recorded kernel's table does not belong to one.
        await Daemon(Settings(config_file=Path(file)), IpvsClient(), log, exclusive=False).run()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
