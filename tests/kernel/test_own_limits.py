"""The director runs out of neighbour entries, or the daemon of descriptors: nobody is removed.

The counters of a full neighbour table exist only in the first network namespace, so this director is there.
"""

import asyncio
import contextlib
import resource
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from lab.netns import RealServer
from lab.nginx import Nginx
from tests.daemon_process import DaemonProcess, daemon
from tests.kernel.main_job import FALL, INTERVAL_S, configuration

pytestmark = pytest.mark.asyncio(loop_scope="module")

NET = "203.0.113"
SERVERS = tuple(f"{NET}.{number}" for number in range(11, 15))
NOBODY = tuple(f"{NET}.{number}" for number in range(100, 200))
"""Addresses that nobody has. To look for them takes up neighbour entries."""
LONG_ENOUGH_S = (FALL + 2) * INTERVAL_S
"""How long a fault lasts that must not remove anybody, seconds: longer than `FALL` failures take."""
THRESHOLDS = tuple(f"net/ipv4/neigh/default/gc_thresh{number}" for number in (1, 2, 3))


def ip(words: str) -> None:
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


@pytest.fixture(scope="module")
def web() -> Iterator[Nginx]:
    """A machine with four addresses behind an interface of the first network namespace, and its nginx."""
    made = RealServer("crowd", SERVERS[0], "")
    ip("netns add crowd")
    try:
        ip("link add crowd type veth peer name eth0 netns crowd")
        ip(f"address add {NET}.1/24 dev crowd")
        ip("link set crowd up")
        for address in SERVERS:
            made.run(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
        for link in ("lo", "eth0"):
            made.run(["ip", "link", "set", link, "up"])
        with Nginx.serving(made) as nginx:
            yield nginx
    finally:
        ip("netns delete crowd")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(web: Nginx, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DaemonProcess]:
    del web
    servers = ", ".join(f'"{each}:80"' for each in SERVERS)
    async with daemon(configuration(tmp_path_factory.mktemp("limits"), servers=servers)) as running:
        for each in SERVERS:
            await running.until("table.changed", operation="add_server", server=f"{each}:80")
        yield running
    subprocess.run(["ipvsadm", "-C"], check=True)


def removed(running: DaemonProcess, began: int) -> list[object]:
    return [line for line in running.lines[began:] if line["event"] in {"table.changed", "real_server.down"}]


@contextlib.contextmanager
def full_neighbour_table() -> Iterator[None]:
    """Let the table hold next to nothing, and look for many addresses, so that it is always full."""
    files = [Path("/proc/sys") / name for name in THRESHOLDS]
    before = [file.read_text() for file in files]
    ends = threading.Event()

    def crowd() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not ends.wait(0.05):
                for address in NOBODY:
                    with contextlib.suppress(OSError):
                        sender.sendto(b"?", (address, 9))

    crowding = threading.Thread(target=crowd)
    try:
        for file in files:
            file.write_text("8")
        crowding.start()
        ip("neigh flush dev crowd")
        yield
    finally:
        ends.set()
        crowding.join()
        for file, text in zip(files, before, strict=True):
            file.write_text(text)


@pytest.mark.long
async def test_full_neighbour_table_removes_nobody_and_is_named(running: DaemonProcess) -> None:
    began = len(running.lines)
    with full_neighbour_table():
        fault = await running.until("network.impaired", after=began)
        assert "the director's ARP table is full: raise net.ipv4.neigh.default.gc_thresh3" in fault["fault"]
        unsure = await running.until("check.unsure", after=began)
        assert "gc_thresh3" in unsure["reason"]
        await asyncio.sleep(LONG_ENOUGH_S)
        assert removed(running, began) == []
    await running.until("network.recovered", after=began)
    await asyncio.sleep(LONG_ENOUGH_S)
    assert removed(running, began) == []


@pytest.mark.long
async def test_daemon_without_descriptors_goes_on_and_finds_out_who_dies(running: DaemonProcess, web: Nginx) -> None:
    """It keeps its sockets from one probe to the next, so it needs no new descriptors."""
    began = len(running.lines)
    before = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (4, before[1]))
    try:
        await asyncio.sleep(LONG_ENOUGH_S)
        assert removed(running, began) == []
        web.kill()
        for each in SERVERS:
            gone = await running.until("table.changed", after=began, server=f"{each}:80")
            assert (gone["operation"], gone["reason"]) == ("delete_server", "connection refused")
        web.start()
        for each in SERVERS:
            await running.until("table.changed", after=began, operation="add_server", server=f"{each}:80")
    finally:
        resource.prlimit(running.pid, resource.RLIMIT_NOFILE, before)
