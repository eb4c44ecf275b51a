"""What keepalived and mon get wrong, each as it was seen with the real program, and what the daemon does instead.

keepalived's checkers lose their table when the director's own network fails: see tests/kernel/test_brake.py.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess, daemon
from tests.probes.peers import free_port, silent, stream_server

RELOAD_S = 0.8


class Site:
    """A service with two servers, each of which can be switched on and off."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "config.toml"
        self.ports = (free_port(), free_port())
        self.servers = tuple(f"127.0.0.1:{port}" for port in self.ports)
        self._folder = folder
        self.write()

    def write(self, *, service: str = "", interval: str = "100ms", timeout: str = "1s") -> None:
        servers = ", ".join(f'"{server}"' for server in self.servers)
        self.file.write_text(f"""
[daemon]
listen = ""
control = "{self._folder}/control.sock"
state = "{self._folder}/state.json"
resync = "1s"

[[service]]
name = "web"
address = "127.0.0.100:80"
scheduler = "rr"
check = {{ type = "tcp", interval = "{interval}", timeout = "{timeout}", rise = 2, fall = 3 }}
real_server = [{servers}]
{service}
""")

    @contextlib.asynccontextmanager
    async def on(self, which: int) -> AsyncIterator[None]:
        """Let one of the servers accept connections."""
        async with stream_server(silent, port=self.ports[which]):
            yield


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def in_service(running: DaemonProcess, server: str, *, after: int = 0) -> None:
    await running.until("table.changed", operation="add_server", server=server, after=after)


async def taken_out(running: DaemonProcess, server: str, *, after: int = 0) -> None:
    await running.until("table.changed", operation="delete_server", server=server, after=after)


def reload(running: DaemonProcess) -> None:
    running.process.send_signal(signal.SIGHUP)


async def test_reload_that_edits_the_timeout_of_a_dead_server_does_not_put_it_back(site: Site) -> None:
    """keepalived takes the edited check for a new one, which begins as up."""
    async with daemon(site.file, "--table", "memory") as running, site.on(1):
        async with site.on(0):
            await in_service(running, site.servers[0])
            await in_service(running, site.servers[1])
        await taken_out(running, site.servers[0])
        position = len(running.lines)
        site.write(timeout="900ms")
        reload(running)
        await running.until("config.reloaded", checks_changed=2)
        site.write(timeout="800ms", interval="150ms")
        reload(running)
        await running.until("config.reloaded", after=position + 1)
        await asyncio.sleep(1.0)
        assert not [line for line in running.lines[position:] if line["event"] == "table.changed"]


async def test_server_that_dies_is_found_out_though_the_file_is_edited_all_the_time(site: Site) -> None:
    """keepalived begins each check from zero at a reload, with a delay, and never ends a row of failures."""
    async with daemon(site.file, "--table", "memory") as running, site.on(1):
        async with site.on(0):
            await in_service(running, site.servers[0])
            await in_service(running, site.servers[1])

        async def edit() -> None:
            for number in range(1000):
                site.write(interval="400ms", timeout=f"{900 + number % 2}ms")
                reload(running)
                await asyncio.sleep(RELOAD_S)

        editing = asyncio.create_task(edit())
        try:
            await taken_out(running, site.servers[0])
        finally:
            editing.cancel()
        assert running.of("config.reloaded")


async def test_two_servers_of_two_serve_with_a_quorum_of_two_and_a_hysteresis_of_one(site: Site) -> None:
    """keepalived begins as below, needs three to leave that, and has only the sorry server in the table for ever."""
    site.write(service='min_up = { count = 2, hysteresis = 1 }\nfallback = ["127.0.0.99:80"]')
    async with daemon(site.file, "--table", "memory") as running, site.on(0), site.on(1):
        await in_service(running, site.servers[0])
        await in_service(running, site.servers[1])
        await running.until("table.changed", operation="delete_server", server="127.0.0.99:80")
        assert running.of("service.below") == []


async def test_server_comes_back_while_another_one_stays_down(site: Site) -> None:
    """mon has one state for a group of hosts, so its upalert for the first waits for the second."""
    async with daemon(site.file, "--table", "memory") as running:
        async with site.on(0), site.on(1):
            await in_service(running, site.servers[0])
            await in_service(running, site.servers[1])
        await taken_out(running, site.servers[0])
        await taken_out(running, site.servers[1])
        position = len(running.lines)
        async with site.on(0):
            await in_service(running, site.servers[0], after=position)
        assert not running.of("real_server.up", server=site.servers[1])[1:]


async def test_server_that_recovers_while_the_daemon_is_dead_comes_back_after_its_start(site: Site) -> None:
    """mon's first success is silent, so nobody puts the server back."""
    async with site.on(1):
        async with daemon(site.file, "--table", "memory") as running:
            async with site.on(0):
                await in_service(running, site.servers[0])
            await taken_out(running, site.servers[0])
            await running.stop(signal.SIGKILL)
        async with site.on(0), daemon(site.file, "--table", "memory") as running:
            await in_service(running, site.servers[0])


async def test_server_that_stays_down_is_removed_once(site: Site) -> None:
    """mon runs its alert, and so `ipvsadm -d`, at every failing check."""
    async with daemon(site.file, "--table", "memory") as running, site.on(1):
        async with site.on(0):
            await in_service(running, site.servers[0])
        await taken_out(running, site.servers[0])
        await asyncio.sleep(2.0)
        assert len(running.of("table.changed", operation="delete_server")) == 1
        assert len(running.of("real_server.down")) == 1
        assert not running.of("table.error")


FAILING_TWICE = """
import errno
from lvs_healthd.ipvs import in_memory
from lvs_healthd.ipvs.records import Verb
made = in_memory.MemoryTable.__init__
def failing(self, **options):
    made(self, **options)
    self.fail_next(Verb.DELETE_SERVER, errno.ENOMEM, times=2)
in_memory.MemoryTable.__init__ = failing
"""


async def test_removal_that_fails_is_told_and_tried_again(site: Site) -> None:
    """mon counts an alert as sent when it is started, and does not look at how it ended."""
    async with daemon(site.file, "--table", "memory", before=FAILING_TWICE) as running, site.on(1):
        async with site.on(0):
            await in_service(running, site.servers[0])
        error = await running.until("table.error", operation="delete_server", server=site.servers[0])
        assert error["error"]
        await taken_out(running, site.servers[0])
