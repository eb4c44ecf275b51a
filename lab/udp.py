"""A UDP service on a real server. It answers with the server's name, and can be killed and started again."""

import contextlib
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab.netns import RealServer

PROGRAM = Path(__file__).with_name("udp_server.py")

START_DEADLINE_S = 30.0
"""How long the service may take to start, seconds. In a busy emulated guest, an interpreter starts slowly."""


class UdpServer:
    """Answers each datagram with its bytes in hexadecimal and the server's name. Build one with `serving`."""

    def __init__(self, server: RealServer, ports: Sequence[int], vips: Sequence[str]) -> None:
        self.server = server
        self._ports = ports
        self._vips = vips
        self._process: subprocess.Popen[str] | None = None

    @classmethod
    @contextlib.contextmanager
    def serving(cls, server: RealServer, *, ports: Sequence[int], vips: Sequence[str] = ()) -> Iterator["UdpServer"]:
        """Serve on the server's own addresses and on `vips`, which it must have. Kill the service at the end."""
        udp = cls(server, ports, vips)
        udp.start()
        try:
            yield udp
        finally:
            udp.kill()

    def start(self) -> None:
        """Start the service and wait until it listens. Raises `ChildProcessError` when it ends, and `TimeoutError`."""
        ports = ",".join(str(port) for port in self._ports)
        addresses = [self.server.address, self.server.address6, *self._vips]
        command = [sys.executable, "-I", "-S", str(PROGRAM), self.server.name, ports, *addresses]
        self._process = self.server.popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None  # noqa: S101  # it was asked for
        if not select.select([self._process.stdout], [], [], START_DEADLINE_S)[0]:
            raise TimeoutError(f"the UDP service on {self.server.name} does not listen")
        if not self._process.stdout.readline():
            raise ChildProcessError(f"the UDP service on {self.server.name} ended with {self._process.wait()}")

    def kill(self) -> None:
        """Kill the service. When this returns, the kernel refuses datagrams."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
