"""The daemon's main job, tested while one daemon runs. Before and after every test, both servers are in the table.

An emulated start of the daemon takes longer than most of these tests.
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from lab.load import Load, by_server
from lab.nginx import Nginx
from lab.topology import Topology
from tests.daemon_process import DaemonProcess, run_cli
from tests.kernel.main_job import (
    FALL,
    FOREIGN,
    INTERVAL_S,
    RESYNC_S,
    RS1,
    RS2,
    SLACK_S,
    TIMEOUT_S,
    both_in,
    configuration,
    moment,
    on_director,
    wait_for_table,
)
from tests.pacing import EXTENDED

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the daemon's configuration is."""
    return tmp_path_factory.mktemp("daemon")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(nat: Topology, web: tuple[Nginx, ...], folder: Path) -> AsyncIterator[DaemonProcess]:
    """Start the daemon for all tests of this file, beside somebody else's service."""
    del web
    nat.ipvsadm.clear()
    nat.ipvsadm.restore(FOREIGN)
    async with on_director(nat, configuration(folder)) as running:
        await both_in(running)
        yield running
    nat.ipvsadm.clear()


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def whole(nat: Topology, running: DaemonProcess, folder: Path) -> AsyncIterator[str]:
    """Return the table with both servers. After the test, wait for the same table, and check the foreign service."""
    whole = nat.ipvsadm.saved()
    assert FOREIGN in whole
    assert all(f"-r {server} -m -w 3" in whole for server in (RS1, RS2))
    yield whole
    assert FOREIGN in nat.ipvsadm.saved()
    configuration(folder)
    await reload(running)
    await asyncio.to_thread(wait_for_table, nat, whole)


async def reload(running: DaemonProcess) -> int:
    """Reload the configuration, and return the position in the log at which the reload began."""
    position = len(running.lines)
    running.process.send_signal(signal.SIGHUP)
    await running.until("config.reloaded", after=position)
    return position


EDITS = {
    "missing": ("-D", "-t", "192.0.2.100:80"),
    "missing server": ("-d", "-t", "192.0.2.100:80", "-r", RS1),
    "weight 9, expected 3": ("-e", "-t", "192.0.2.100:80", "-r", RS1, "-m", "-w", "9"),
    "forward dr": ("-e", "-t", "192.0.2.100:80", "-r", RS2, "-g", "-w", "3"),
    "not configured": ("-a", "-t", "192.0.2.100:80", "-r", "198.51.100.66:80", "-m"),
    "scheduler": ("-E", "-t", "192.0.2.100:80", "-s", "wlc"),
}


@pytest.mark.parametrize("trouble", ["killed", "hung"])
async def test_failing_server_is_out_in_time_and_costs_no_request_after_that(
    nat: Topology, web: tuple[Nginx, ...], running: DaemonProcess, trouble: str
) -> None:
    with Load.running(nat.client, nat.vip, timeout_s=3.0) as load:
        await asyncio.to_thread(load.wait_for, 10, since=time.monotonic())
        position = len(running.lines)
        if trouble == "killed":
            web[0].kill()
        else:
            web[0].hang()
        try:
            removed = await running.until("table.changed", after=position, operation="delete_server", server=RS1)
            expected = "connection refused" if trouble == "killed" else "connected, but no answer in 1s"
            assert removed["reason"].removesuffix(EXTENDED) == expected
            assert removed["detection_s"] <= FALL * INTERVAL_S + TIMEOUT_S + SLACK_S
            assert RS1 not in nat.ipvsadm.saved()
            served = await asyncio.to_thread(load.wait_for, 30, since=moment(removed))
            assert [request.outcome for request in served if not request.ok] == []
            assert by_server(served).keys() == {"rs2"}
        finally:
            position = len(running.lines)
            if trouble == "killed":
                await asyncio.to_thread(web[0].start)
            else:
                web[0].resume()
        back = await running.until("table.changed", after=position, operation="add_server", server=RS1)
        assert f"-r {RS1} -m -w 3" in nat.ipvsadm.saved()
        up = await running.until("real_server.up", after=position, server=RS1)
        assert (up["passes"], up["rise"]) == (2, 2)
        served = await asyncio.to_thread(load.wait_for, 30, since=moment(back) + 0.001)
        assert [request.outcome for request in served if not request.ok] == []
        assert by_server(served).keys() == {"rs1", "rs2"}


async def test_foreign_edits_are_told_and_undone_within_a_resync(
    nat: Topology, running: DaemonProcess, whole: str
) -> None:
    for what, edit in EDITS.items():
        position, edited = len(running.lines), time.monotonic()
        nat.ipvsadm(*edit)
        drift = await running.until("table.drift", after=position)
        assert drift["found"].startswith(what.removesuffix(" server"))
        assert moment(drift) - edited <= RESYNC_S + SLACK_S
        await asyncio.to_thread(wait_for_table, nat, whole)


async def test_ipv6_service_is_served_and_repaired(
    nat: Topology, web: tuple[Nginx, ...], running: DaemonProcess, folder: Path
) -> None:
    servers = ", ".join(f'"[{server.address6}]:80"' for server in nat.servers)
    configuration(folder, address=f"[{nat.vip6}]:80", servers=servers)
    position = await reload(running)
    for server in nat.servers:
        await running.until("table.changed", after=position, operation="add_server", server=f"[{server.address6}]:80")
    with Load.running(nat.client, nat.vip6) as load:
        served = await asyncio.to_thread(load.wait_for, 6, since=time.monotonic())
        assert by_server(served).keys() == {"rs1", "rs2"}
    position = len(running.lines)
    web[0].kill()
    try:
        gone = {"operation": "delete_server", "server": f"[{nat.servers[0].address6}]:80"}
        await running.until("table.changed", after=position, **gone)
    finally:
        web[0].start()


async def test_reload_that_drops_a_service_removes_it_and_only_it(
    nat: Topology, running: DaemonProcess, folder: Path
) -> None:
    second = f"""
[[service]]
name = "admin"
address = "192.0.2.100:8080"
check = {{ type = "tcp", port = 80 }}
real_server = ["{RS1}"]
"""
    configuration(folder, service=second)
    position = await reload(running)
    await running.until("table.changed", after=position, operation="add_server", service="admin")
    configuration(folder)
    position = await reload(running)
    deleted = await running.until("table.changed", after=position, operation="delete_service")
    assert deleted["service"] == "admin"
    assert "192.0.2.100:80 " in nat.ipvsadm.saved()


async def test_dry_run_says_what_the_reload_then_writes_to_the_kernel(
    nat: Topology, running: DaemonProcess, folder: Path, whole: str
) -> None:
    other = f"""
[[service]]
name = "admin"
address = "192.0.2.100:8080"
scheduler = "wlc"
check = {{ type = "tcp", port = 80, rise = 1 }}
real_server = ["{RS2}"]
"""
    file = configuration(folder, service=other, servers=f'{{ address = "{RS1}", weight = 5 }}')
    position = len(running.lines)
    code, out, err = await run_cli("reload", "--dry-run", "--json", "--config", str(file))
    assert (code, err) == (0, "")
    said = json.loads(out)["table"]
    assert nat.ipvsadm.saved() == whole
    assert running.of("table.changed")[-1] in running.lines[:position]
    position = await reload(running)
    removed = await running.until("table.changed", after=position, operation="delete_server", server=RS2)
    names = ("operation", "service", "server", "fields", "reason")
    written = [line for line in running.lines[position : running.lines.index(removed) + 1] if "fields" in line]
    at_once = [[line.get(name, "") for name in names] for line in said if not line.get("when")]
    assert sorted(at_once) == sorted([line[name] for name in names] for line in written)
    assert [line["operation"] for line in written] == ["add_service", "set_server", "delete_server"]
    (later,) = [line for line in said if line.get("when")]
    assert (later["operation"], later["server"], later["when"]) == ("add_server", RS2, "when its checks have passed")
    assert f"-r {RS1} -m -w 5" in nat.ipvsadm.saved()
    await running.until("table.changed", after=position, operation="add_server", service="admin", server=RS2)


async def test_status_shows_wanted_beside_actual(running: DaemonProcess, folder: Path) -> None:
    code, out, _ = await run_cli("status", "--config", str(folder / "config.toml"), "--json")
    assert code == 0
    found = json.loads(out)["services"][0]
    assert [server["weight_actual"] for server in found["real_servers"]] == [3, 3]
    assert found["in_sync"] is True


async def test_reload_that_replaces_every_server_fails_no_request(
    nat: Topology, running: DaemonProcess, folder: Path
) -> None:
    configuration(folder, servers=f'"{RS1}"')
    position = await reload(running)
    await running.until("table.changed", after=position, operation="delete_server", server=RS2)
    with Load.running(nat.client, nat.vip, timeout_s=3.0) as load:
        await asyncio.to_thread(load.wait_for, 10, since=time.monotonic())
        reloaded = time.monotonic()
        configuration(folder, servers=f'"{RS2}"')
        position = await reload(running)
        removed = moment(await running.until("table.changed", after=position, operation="delete_server", server=RS1))
        served = await asyncio.to_thread(load.wait_for, 30, since=removed)
        assert by_server(served).keys() == {"rs2"}
        # A request that is under way to a server may be lost when the server is removed: the kernel drops its packets.
        unexcused = [
            request for request in load.failed_since(reloaded) if not request.started < removed < request.ended
        ]
        assert unexcused == []
