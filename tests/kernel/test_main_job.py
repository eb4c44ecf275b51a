"""The main job with everything real: kernel IPVS, nginx, clients, and the daemon as its own process."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.load import Load, by_server
from lab.nginx import Nginx
from lab.topology import Topology
from tests.daemon_process import daemon, run_cli
from tests.kernel.main_job import (
    FALL,
    FOREIGN,
    INTERVAL_S,
    RESYNC_S,
    RS1,
    RS2,
    TIMEOUT_S,
    both_in,
    configuration,
    moment,
    on_director,
    wait_for_table,
)


@pytest.fixture(autouse=True)
def clean_table(nat: Topology) -> Iterator[None]:
    """Begin each test with only somebody else's service. At the end, assert that this service was left alone."""
    nat.ipvsadm.clear()
    nat.ipvsadm.restore(FOREIGN)
    yield
    assert FOREIGN in nat.ipvsadm.saved()
    nat.ipvsadm.clear()


async def test_kill_9_and_restart_lose_no_request_and_write_nothing(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    file = configuration(tmp_path)
    async with on_director(nat, file) as running:
        await both_in(running)
        before = nat.ipvsadm.saved()
        # The pause leaves the emulated processor to the daemon, which starts beside these requests.
        with Load.running(nat.client, nat.vip, timeout_s=3.0, pause_s=0.1) as load:
            await running.stop(signal.SIGKILL)
            begun = time.monotonic()
            async with on_director(nat, file) as again:
                await again.until("daemon.started")
                # Long enough for a verdict of every check, and for a resync.
                await asyncio.sleep(RESYNC_S + FALL * INTERVAL_S + TIMEOUT_S)
                assert again.of("table.changed") == []
                assert again.of("table.drift") == []
                assert nat.ipvsadm.saved() == before
                served = await asyncio.to_thread(load.wait_for, 30, since=begun)
                assert [request.outcome for request in served if not request.ok] == []
                assert await again.stop() == 0
            assert nat.ipvsadm.saved() == before
            assert load.failed_since(begun) == []


async def test_wiped_table_is_rebuilt_without_what_was_not_ours(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    async with on_director(nat, configuration(tmp_path)) as running:
        await both_in(running)
        ours = nat.ipvsadm.saved().replace(FOREIGN, "")
        nat.ipvsadm.clear()
        await asyncio.to_thread(wait_for_table, nat, ours)
        await running.stop()
    nat.ipvsadm.restore(FOREIGN)


async def test_server_down_at_start_stays_in_until_proven_and_absent_one_earns_its_place(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    nat.ipvsadm.restore(f"-A -t 192.0.2.100:80 -s rr\n-a -t 192.0.2.100:80 -r {RS1} -m -w 3\n")
    web[0].kill()
    try:
        async with on_director(nat, configuration(tmp_path)) as running:
            await running.until("daemon.started")
            removed = await running.until("table.changed", operation="delete_server", server=RS1)
            assert removed["reason"] == "connection refused"
            assert running.of("check.failing", server=RS1)[0]["failures"] == 1
            await running.until("table.changed", operation="add_server", server=RS2)
            assert running.of("table.changed", operation="add_service") == []
    finally:
        web[0].start()


async def test_quiescing_service_keeps_a_failed_server_at_weight_zero(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    file = configuration(tmp_path)
    file.write_text(file.read_text().replace('scheduler = "rr"', 'scheduler = "rr"\non_failure = "quiesce"'))
    async with on_director(nat, file) as running:
        # The server is not proven yet, so it is added with weight 0, and raised later.
        for server in (RS1, RS2):
            await running.until("table.changed", operation="set_server", server=server, fields="weight 0 -> 3")
        web[0].kill()
        try:
            await running.until("table.changed", operation="set_server", server=RS1, fields="weight 3 -> 0")
            assert f"-r {RS1} -m -w 0" in nat.ipvsadm.saved()
        finally:
            position = len(running.lines)
            web[0].start()
        await running.until("table.changed", after=position, server=RS1, fields="weight 0 -> 3")


async def test_fallback_serves_only_while_nobody_else_may(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    file = configuration(tmp_path, servers=f'"{RS1}"')
    file.write_text(file.read_text().replace("real_server =", f'fallback = ["{RS2}"]\nreal_server ='))
    async with on_director(nat, file) as running:
        await running.until("table.changed", operation="delete_server", server=RS2)
        with Load.running(nat.client, nat.vip, timeout_s=3.0) as load:
            web[0].kill()
            try:
                added = await running.until("table.changed", after=1, operation="delete_server", server=RS1)
                served = await asyncio.to_thread(load.wait_for, 10, since=moment(added))
                assert [request.outcome for request in served if not request.ok] == []
                assert by_server(served).keys() == {"rs2"}
            finally:
                web[0].start()


@pytest.mark.long
async def test_second_daemon_on_the_same_director_is_refused_with_the_pid_of_the_first(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    first_folder, second_folder = tmp_path / "first", tmp_path / "second"
    first_folder.mkdir()
    second_folder.mkdir()
    async with on_director(nat, configuration(first_folder)) as running:
        await running.until("daemon.started")
        async with on_director(nat, configuration(second_folder)) as second:
            assert await second.ended() == 1
            assert f"another lvs-healthd (pid {running.pid}) already manages" in second.of("daemon.error")[0]["error"]
        async with on_director(nat, configuration(second_folder), "--shadow") as shadow:
            started = await shadow.until("daemon.started")
            assert started["mode"] == "shadow"
            assert await shadow.stop() == 0


async def test_without_cap_net_admin_the_daemon_says_what_to_grant(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    powerless = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--ambient-caps=-net_admin")
    async with daemon(configuration(tmp_path), command=(*nat.director.prefix, *powerless)) as running:
        assert await running.ended() == 1
        assert "CAP_NET_ADMIN" in running.of("daemon.error")[0]["error"]


async def test_flush_takes_what_is_ours_and_export_brings_it_back(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    file = configuration(tmp_path)
    flush = ("flush", "--config", str(file))
    async with on_director(nat, file) as running:
        await both_in(running)
        code, exported, _ = await run_cli("export", "--config", str(file))
        assert code == 0
        code, _, err = await run_cli(*flush, "--yes", namespace=nat.director)
        assert (code, f"(pid {running.pid})" in err) == (1, True)
    before = nat.ipvsadm.saved()
    assert exported in before
    assert (await run_cli(*flush, namespace=nat.director))[0] == 2
    assert nat.ipvsadm.saved() == before
    code, out, _ = await run_cli(*flush, "--yes", namespace=nat.director)
    assert (code, out) == (0, "192.0.2.100:80/tcp: 2 servers\n1 service deleted\n")
    assert nat.ipvsadm.saved() == FOREIGN
    nat.ipvsadm.restore(exported)
    assert nat.ipvsadm.saved() == before
