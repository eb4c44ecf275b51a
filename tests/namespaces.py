"""Network namespaces of this host for tests, with servers in them. Without root such a test is skipped."""

import asyncio
import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator

import pytest

from lab.netns import Namespace

_numbers = itertools.count()


@contextlib.contextmanager
def namespace(name: str = "host") -> Iterator[Namespace]:
    """Make a namespace whose loopback is up, for the length of the block."""
    made = Namespace(f"lvs-{os.getpid()}-{next(_numbers)}-{name}")
    command = ["ip", "netns", "add", made.name]
    if shutil.which("ip") is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no network namespaces here")
    try:
        made.run(["ip", "link", "set", "lo", "up"])
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", made.name], check=False)


def dummy(at: Namespace, name: str) -> None:
    """Make an interface for addresses that BGP announces, and set it up.

    It is half of a pair where the kernel has no dummies. To addresses that is the same.
    """
    if at.run(["ip", "link", "add", name, "type", "dummy"], check=False).returncode:
        at.run(["ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-peer"])
        at.run(["ip", "link", "set", f"{name}-peer", "up"])
    at.run(["ip", "link", "set", name, "up"])


class Server:
    """A TCP server in a namespace, which counts its connections, says "hi" on each and closes it."""

    def __init__(self, at: Namespace, address: str, port: int) -> None:
        self._at = at
        self._address = address
        self._port = port
        self._server: asyncio.Server | None = None
        self.connections = 0

    @property
    def name(self) -> str:
        return f"{self._address}:{self._port}"

    async def start(self) -> None:
        with self._at.entered():
            self._server = await asyncio.start_server(self._serve, self._address, self._port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.write(b"hi\n")
        writer.close()


@contextlib.asynccontextmanager
async def server(at: Namespace, address: str = "127.0.0.1", port: int = 8080) -> AsyncIterator[Server]:
    made = Server(at, address, port)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
