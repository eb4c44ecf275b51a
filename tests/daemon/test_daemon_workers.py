"""The whole daemon with probe worker processes, on a table in memory."""

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import DaemonProcess, daemon, run_cli
from tests.probes.peers import free_port, silent, stream_server
from tests.processes import children, until_gone

DEAD = 20
"""Servers that never answer, so that both workers have something to do."""


class Site:
    """One server that can be switched on and off, and some that are always dead."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "config.toml"
        self.control = folder / "control.sock"
        self.state = folder / "state.json"
        self.port = free_port()
        self.write()

    def write(self, *, workers: int = 2, dead: int = DEAD) -> None:
        servers = [f"127.0.0.1:{self.port}", *(f"127.0.0.1:{port}" for port in range(1, dead + 1))]
        self.file.write_text(f"""
[daemon]
listen = ""
control = "{self.control}"
state = "{self.state}"
resync = "1s"
probe_workers = {workers}

[[service]]
name = "web"
address = "127.0.0.100:80"
check = {{ type = "tcp", interval = "100ms", timeout = "1s" }}
real_server = {json.dumps(servers)}
""")

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def workers_of(running: DaemonProcess, count: int) -> list[int]:
    """Wait until the daemon has `count` workers, and return their process ids."""
    async with asyncio.timeout(60):
        while len(found := children(running.pid)) != count:
            await asyncio.sleep(0.02)
    return found


async def all_at_work(running: DaemonProcess, site: Site) -> list[int]:
    """Wait until the status counts both workers, and return their process ids."""
    await running.until("daemon.started")
    async with asyncio.timeout(60):
        while (await status(site))["daemon"]["probe_workers"] != 2:
            await asyncio.sleep(0.02)
    return children(running.pid)


async def status(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await run_cli("status", "--config", str(site.file), "--json"))[1])
    return found


async def up(running: DaemonProcess, site: Site, *, after: int = 0) -> None:
    await running.until("table.changed", operation="add_server", server=site.server, after=after)


async def down(running: DaemonProcess, site: Site) -> None:
    await running.until("table.changed", operation="delete_server", server=site.server)


async def test_dead_server_is_removed_comes_back_and_stop_leaves_no_process(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        async with stream_server(silent, port=site.port):
            await up(running, site)
            pids = await workers_of(running, 2)
            alive = time.monotonic()
        await down(running, site)
        removed = running.of("table.changed", operation="delete_server", server=site.server)[0]
        assert removed["reason"] == "connection refused"
        assert 0 < removed["detection_s"] <= time.monotonic() - alive
        async with stream_server(silent, port=site.port):
            await up(running, site, after=len(running.lines))
            _, out, _ = await run_cli("status", "--config", str(site.file), "--json")
            assert json.loads(out)["daemon"]["probe_workers"] == 2
            begun = time.monotonic()
            assert await running.stop() == 0
            assert time.monotonic() - begun < 2.0
        await until_gone(*pids)
        assert running.garbage == []
        assert running.of("worker.error") == []


async def test_killed_worker_removes_nothing_and_is_replaced(site: Site) -> None:
    async with stream_server(silent, port=site.port), daemon(site.file, "--table", "memory") as running:
        await up(running, site)
        first, second = await workers_of(running, 2)
        for pid in (first, second):
            os.kill(pid, signal.SIGKILL)
            failed = await running.until("worker.error", pid=pid)
            assert failed["reason"] == "was killed by SIGKILL"
        await running.until("check.unsure", reason="its probe worker was killed by SIGKILL", server=site.server)
        replaced = await workers_of(running, 2)
        assert not {first, second} & set(replaced)
        assert running.of("table.changed", operation="delete_server") == []
        assert (await status(site))["services"][0]["real_servers"][0]["weight_actual"] == 1


async def test_killed_daemon_leaves_no_worker_behind(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        pids = await workers_of(running, 2)
        # A worker that is stopped cannot see the daemon die.
        os.kill(pids[0], signal.SIGSTOP)
        running.process.send_signal(signal.SIGKILL)
        await until_gone(pids[1])
        os.kill(pids[0], signal.SIGCONT)
        await until_gone(pids[0])


async def test_signals_to_all_processes_stop_in_order_and_reload_all_the_same(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        pids = [*await all_at_work(running, site), running.pid]
        for pid in pids:
            os.kill(pid, signal.SIGHUP)
        await running.until("config.reloaded")
        for pid in pids:
            os.kill(pid, signal.SIGTERM)
        assert await running.ended() == 0
        assert running.of("worker.error") == []


async def test_reload_shares_out_new_servers_and_says_that_the_number_of_workers_stays(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        await running.until("real_server.down")
        pids = await workers_of(running, 2)
        position = len(running.lines)
        async with stream_server(silent) as port:
            site.port = port
            site.write(workers=3)
            running.process.send_signal(signal.SIGHUP)
            needed = await running.until("config.restart_needed", after=position)
            assert (needed["key"], needed["configured"], needed["in_force"]) == ("probe_workers", "3", "2")
            await up(running, site, after=position)
        assert children(running.pid) == pids
