"""The whole daemon as a process, on a table in memory: what it does, what it says and what it survives."""

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.model import Config
from lvs_healthd.daemon.daemon import Daemon
from lvs_healthd.daemon.parts import Settings, Surroundings, build
from lvs_healthd.director.aspect import Setting
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.log import configure
from lvs_healthd.probing.scheduler import Scheduler
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.state.file import Ours, write_state
from lvs_healthd.view.view import RECONCILER_STUCK_S, STUCK_S
from tests.daemon_process import TIMEOUT_S, DaemonProcess, daemon, run_cli
from tests.ipvs.tables import WEB, entry, server, service, table
from tests.probes.peers import free_port, silent, stream_server

VIP = "127.0.0.100:80"


class Site:
    """A configuration in a folder of its own, and one web server that can be switched on and off."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "config.toml"
        self.control = folder / "control.sock"
        self.state = folder / "state.json"
        self.listen = f"127.0.0.1:{free_port()}"
        self.port = free_port()
        self.write()

    def write(self, *, daemon: str = "", check: str = "", service: str = "") -> None:
        self.file.write_text(f"""
[daemon]
listen = "{self.listen}"
control = "{self.control}"
state = "{self.state}"
resync = "1s"
{daemon}

[[service]]
name = "web"
address = "{VIP}"
scheduler = "rr"
check = {{ type = "tcp", interval = "100ms", timeout = "1s", rise = 2, fall = 3 {check} }}
real_server = [{{ address = "127.0.0.1:{self.port}", weight = 5 }}]
{service}
""")

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def web_server(self) -> AsyncIterator[None]:
        async with stream_server(silent, port=self.port):
            yield

    async def get(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.listen}{path}") as answer:
            return answer.status, await answer.text()

    async def status(self) -> dict[str, Any]:
        code, text = await self.get("/api/v1/status")
        assert code == 200
        found: dict[str, Any] = json.loads(text)
        return found

    async def real_server(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.status())["services"][0]["real_servers"][0]
        return found


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def up(running: DaemonProcess, site: Site) -> None:
    await running.until("table.changed", operation="add_server", server=site.server)


async def test_server_earns_its_place_loses_it_and_comes_back_with_its_own_weight(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        started = await running.until("daemon.started")
        assert (started["mode"], started["services"], started["real_servers"], started["checks"]) == (
            "enforce",
            1,
            1,
            1,
        )
        async with site.web_server():
            await up(running, site)
            found = await site.real_server()
            assert (found["verdict"], found["weight_wanted"], found["weight_actual"]) == ("up", 5, 5)
            assert found["checks"][0]["reason"] == "connected"
            alive = time.monotonic()
        down = await running.until("real_server.down")
        assert (down["service"], down["server"], down["reason"], down["failures"], down["fall"]) == (
            "web",
            site.server,
            "connection refused",
            3,
            3,
        )
        removed = await running.until("table.changed", operation="delete_server")
        assert removed["reason"] == "connection refused"
        assert 0 < removed["detection_s"] <= time.monotonic() - alive
        assert (await site.real_server())["weight_actual"] is None
        assert running.of("service.fallback", service="web", fallback=[])
        position = len(running.lines)
        async with site.web_server():
            await running.until("table.changed", operation="add_server", after=position)
            assert (await site.real_server())["weight_actual"] == 5
            await running.until("service.serving", after=position)
        assert running.garbage == []


async def test_held_service_keeps_its_dead_server_over_a_crash_until_it_is_released(site: Site) -> None:
    control = ("--control", str(site.control))
    async with daemon(site.file, "--table", "memory") as running:
        async with site.web_server():
            await up(running, site)
            assert await run_cli("hold", "web", "--reason", "migration", *control) == (0, "held: web\n", "")
        await running.until("service.fallback", service="web")
        (hold,) = (await site.status())["daemon"]["holds"]
        assert (hold["service"], hold["uid"], hold["reason"]) == ("web", os.geteuid(), "migration")
        found = await site.real_server()
        assert (found["verdict"], found["weight_wanted"], found["weight_actual"]) == ("down", None, 5)
        assert running.of("operator.request", request="hold web")
        await running.stop(signal.SIGKILL)
    async with daemon(site.file, "--table", "memory") as running:
        held = await running.until("table.held", service="web")
        assert held["reason"] == "migration"
        await running.until("service.fallback", service="web")
        assert running.of("table.changed") == []  # not even the service itself is added to the empty table
        assert (await run_cli("release", *control))[:2] == (0, "held: nothing\n")
        await running.until("table.changed", operation="add_service")
        assert running.of("table.released", service="web")
        assert (await site.status())["daemon"]["holds"] == []


async def test_service_in_shadow_mode_is_decided_and_not_written_until_a_reload_enforces_it(site: Site) -> None:
    site.write(service='mode = "shadow"')
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        told = await running.until("table.changed", operation="add_server", server=site.server)
        assert told["shadow"] is True
        found = await site.real_server()
        assert (found["verdict"], found["weight_wanted"], found["weight_actual"]) == ("up", 5, None)
        assert (await site.status())["services"][0]["held_by"] == "shadow"
        _, metrics = await site.get("/metrics")
        assert 'lvs_healthd_service_shadow{service="web"} 1' in metrics
        site.write()
        running.process.send_signal(signal.SIGHUP)
        await running.until("table.changed", operation="add_server", server=site.server, shadow=False)
        assert (await site.real_server())["weight_actual"] == 5


async def test_good_probes_write_no_line(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        count = len(running.lines)
        before = (await site.real_server())["checks"][0]["last_probe"]
        while (await site.real_server())["checks"][0]["last_probe"] < before + 1.0:
            await asyncio.sleep(0.1)
        # A machine that is busy with other work may hold up the daemon, which then says so.
        assert [line for line in running.lines[count:] if line["event"] != "scheduler.lag"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stop_takes_less_than_two_seconds_and_leaves_the_control_socket_gone(
    site: Site, number: signal.Signals
) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        async with aiohttp.ClientSession() as session, session.get(f"http://{site.listen}/healthz"):
            begun = time.monotonic()
            assert await running.stop(number) == 0
            assert time.monotonic() - begun < 2.0
        assert running.of("daemon.stopping", signal=number.name)
        assert running.of("table.changed", operation="delete_server") == []
        assert not site.control.exists()


async def test_reload_carries_state_over_and_counts_what_changed(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        await running.until("real_server.down")
        since = (await site.real_server())["since"]
        site.write(
            check=", port = 1",
            service=f'[[service]]\nname = "b"\naddress = "127.0.0.101:80"\n'
            f'check = {{ type = "tcp" }}\nreal_server = ["127.0.0.1:{site.port}"]',
        )
        running.process.send_signal(signal.SIGHUP)
        event = await running.until("config.reloaded")
        assert (event["services_added"], event["servers_added"], event["checks_changed"]) == (1, 1, 1)
        found = await site.real_server()
        assert found["verdict"] == "down"
        assert found["since"] == pytest.approx(since, abs=0.1)
        site.write()
        running.process.send_signal(signal.SIGHUP)
        await running.until("config.reloaded", services_removed=1)
        await running.until("table.changed", operation="delete_service")


async def test_bad_reload_changes_nothing_and_says_so_everywhere(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        site.write(check=", intervall = 3", daemon="resinc = 1")
        running.process.send_signal(signal.SIGHUP)
        rejected = await running.until("config.rejected")
        assert len(rejected["errors"]) == 2
        assert any("did you mean" in error and "interval" in error for error in rejected["errors"])
        found = await site.status()
        assert "intervall" in found["daemon"]["config_error"]
        assert found["services"][0]["real_servers"][0]["weight_actual"] == 5
        assert "lvs_healthd_config_last_reload_successful 0" in (await site.get("/metrics"))[1]
        site.write()
        running.process.send_signal(signal.SIGHUP)
        await running.until("config.reloaded")
        assert (await site.status())["daemon"]["config_error"] == ""
        assert "lvs_healthd_config_last_reload_successful 1" in (await site.get("/metrics"))[1]


async def test_reload_moves_the_listening_address_or_keeps_the_old_one(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        await running.until("daemon.started")
        old, taken = site.listen, socket.create_server(("127.0.0.1", 0))
        with taken:
            site.listen = f"127.0.0.1:{taken.getsockname()[1]}"
            site.write()
            running.process.send_signal(signal.SIGHUP)
            rejected = await running.until("config.rejected")
            assert "already in use" in rejected["errors"][0]
            site.listen = old
            assert (await site.get("/healthz"))[0] == 200
        site.listen = f"127.0.0.1:{free_port()}"
        site.write()
        running.process.send_signal(signal.SIGHUP)
        await running.until("config.reloaded")
        assert (await site.get("/healthz"))[0] == 200


async def test_service_manager_hears_of_every_step(site: Site) -> None:
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(site.folder / "notify"))
        channel.setblocking(False)

        async def until(text: str) -> None:
            async with asyncio.timeout(20):
                while not any(text in message for message in heard):
                    heard.append((await asyncio.get_running_loop().sock_recv(channel, 4096)).decode())

        env = {"NOTIFY_SOCKET": str(site.folder / "notify"), "WATCHDOG_USEC": "600000"}
        async with daemon(site.file, "--table", "memory", env=env) as running:
            await until("READY=1")
            await until("WATCHDOG=1")
            heard.clear()
            site.write(daemon="bogus = 1")
            running.process.send_signal(signal.SIGHUP)
            await until("RELOADING=1")
            await until("RELOAD REJECTED, old configuration in force")
            assert await running.stop() == 0
            await until("STOPPING=1")


async def test_watchdog_hangs_on_progress_of_scheduler_and_reconciler(site: Site) -> None:
    loop = asyncio.get_running_loop()
    around = Surroundings(table=MemoryTable(), log=configure(), netns=Netns(), aspects=(), exclusive=False)
    watched = build(Settings(config_file=site.file), Config(), around)
    assert not watched.view.stuck()
    assert isinstance(watched.prober, Scheduler)
    watched.prober._armed_for = loop.time() - STUCK_S - 1
    assert watched.view.stuck()
    watched.prober._armed_for = loop.time()
    assert not watched.view.stuck()
    watched.reconciler._readback.progress = loop.time() - RECONCILER_STUCK_S - 1
    assert watched.view.stuck()
    watched.prober.close()


async def test_pause_of_the_daemon_removes_no_server(site: Site) -> None:
    # A single failure suffices to go down. With more, a pass between two pauses could hide them.
    site.file.write_text(site.file.read_text().replace("fall = 3", "fall = 1"))
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        for _ in range(3):
            running.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(0.7)
            running.process.send_signal(signal.SIGCONT)
            await asyncio.sleep(0.3)
        assert running.of("real_server.down") == []
        assert (await site.real_server())["verdict"] == "up"


async def healthz(session: aiohttp.ClientSession) -> tuple[int, str]:
    async with session.get("/healthz") as answer:
        return answer.status, await answer.text()


async def test_used_up_descriptors_remove_no_server_and_show_as_blindness(site: Site) -> None:
    # Sockets are used for one probe after another. So there are too few of them only when more probes than before are
    # under way at once: when many servers no longer answer quickly. At most 64 sockets are kept for later probes, so
    # 150 servers are enough, however many probes were under way at once before.
    answers = True

    async def answer_or_hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if not answers:
            await asyncio.Event().wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    async with stream_server(answer_or_hang, host="0.0.0.0") as port:  # all of 127.0.0.0/8
        site.write(
            service=f"""
[[service]]
name = "many"
address = "127.0.0.100:81"
check = {{ type = "http", interval = "500ms", timeout = "60s" }}
real_server = ["127.0.0.101-127.0.0.250:{port}"]
"""
        )
        async with daemon(site.file, "--table", "memory") as running, site.web_server():
            await up(running, site)
            async with asyncio.timeout(20):  # not by the log, which summarises so many changes
                while any(each["verdict"] != "up" for each in (await site.status())["services"][1]["real_servers"]):
                    await asyncio.sleep(0.1)
            # This connection must exist beforehand: with no descriptors left the daemon cannot accept a new one.
            async with aiohttp.ClientSession(f"http://{site.listen}") as session:
                async with session.get("/healthz") as answer:
                    assert (answer.status, await answer.text()) == (200, "ok\n")
                old = resource.prlimit(running.pid, resource.RLIMIT_NOFILE)
                resource.prlimit(running.pid, resource.RLIMIT_NOFILE, (3, old[1]))
                answers = False
                unsure = await running.until("check.unsure")
                assert "LimitNOFILE" in unsure["reason"]
                async with asyncio.timeout(20):
                    while (await healthz(session))[0] == 200:
                        await asyncio.sleep(0.1)
                await asyncio.sleep(1.0)
                status, text = await healthz(session)
                assert status == 503
                said = re.search(r"(\d+) of 151 cannot tell: our file descriptors are used up", text)
                assert said is not None
                async with session.get("/api/v1/status") as answer:
                    blind = (await answer.json())["daemon"]
                    assert (blind["probes"], blind["probes_unsure"]) == (151, int(said[1]))
                resource.prlimit(running.pid, resource.RLIMIT_NOFILE, old)
            assert running.of("real_server.down") == []
            weights = {each["weight_actual"] for each in (await site.status())["services"][1]["real_servers"]}
            assert weights == {1}
            assert (await site.real_server())["weight_actual"] == 5


async def test_reasons_survive_kill_9_and_a_stale_control_socket_is_replaced(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        await running.until("real_server.down")
        while not site.state.exists() or "refused" not in site.state.read_text():
            await asyncio.sleep(0.05)
        since = (await site.real_server())["since"]
        await running.stop(signal.SIGKILL)
    assert site.control.exists()
    async with daemon(site.file, "--table", "memory") as running:
        await running.until("daemon.started")
        found = await site.real_server()
        assert (found["verdict"], found["reason"]) == ("down", "tcp: connection refused")
        assert found["since"] == pytest.approx(since, abs=0.5)


async def test_ownership_is_saved_before_anything_fails(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        while not site.state.exists() or "127.0.0.100" not in json.dumps(json.loads(site.state.read_text())["owned"]):
            await asyncio.sleep(0.05)


async def test_replacing_every_server_by_a_reload_never_empties_the_service(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        old = site.server
        async with stream_server(silent) as port:
            site.port, position = port, len(running.lines)
            site.write()
            running.process.send_signal(signal.SIGHUP)
            await running.until("table.changed", operation="delete_server", server=old)
            order = [line["operation"] for line in running.of("table.changed") if line in running.lines[position:]]
            assert order == ["add_server", "delete_server"]


async def test_broken_state_file_is_put_aside_and_told(site: Site) -> None:
    site.state.write_text("{ half a file")
    async with daemon(site.file, "--table", "memory") as running:
        error = await running.until("state.error")
        await running.until("daemon.started")
        assert "put aside as" in error["error"]
        assert (site.folder / "state.json.bad").read_text() == "{ half a file"


async def test_unwritable_state_is_told_once_and_the_daemon_goes_on(site: Site) -> None:
    (site.folder / "file").write_text("")
    site.state = site.folder / "file" / "state.json"
    site.write()
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        await running.until_line(
            lambda line: line["event"] == "state.error" and "cannot write" in line["error"], "state.error"
        )
        assert (await site.get("/healthz"))[0] == 200
        assert "cannot write: " in (await site.status())["daemon"]["state_error"]
        assert "lvs_healthd_state_error 1" in (await site.get("/metrics"))[1]
        (site.folder / "file").unlink()
        assert (await running.until("state.recovered"))["file"] == str(site.state)
        assert (await site.status())["daemon"]["state_error"] == ""
        assert "lvs_healthd_state_error 0" in (await site.get("/metrics"))[1]


async def test_shadow_decides_and_tells_but_writes_nothing(site: Site) -> None:
    async with daemon(site.file, "--table", "memory", "--shadow") as running, site.web_server():
        changed = await running.until("table.changed", operation="add_service")
        assert changed["shadow"] is True
        found = await site.real_server()
        while found["weight_wanted"] is None:
            await asyncio.sleep(0.05)
            found = await site.real_server()
        assert (found["verdict"], found["weight_wanted"], found["weight_actual"]) == ("up", 5, None)
        assert (await site.status())["daemon"]["mode"] == "shadow"
        assert not site.state.exists()


async def cannot_start(site: Site, *options: str) -> str:
    """Run the daemon, check that it ends by itself with exit status 1, and return what it said."""
    async with daemon(site.file, *options) as running:
        assert await running.ended() == 1
        assert running.garbage == []
        (last,) = [line for line in running.lines if line["event"] in ("daemon.error", "config.rejected")]
        return "\n".join(last["errors"]) if "errors" in last else str(last["error"])


async def test_taken_port_refuses_to_start(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        site.listen = f"127.0.0.1:{taken.getsockname()[1]}"
        site.write()
        said = await cannot_start(site, "--table", "memory")
    assert f"listen {site.listen}: address already in use" in said
    assert "ss -ltnp" in said


async def test_impossible_control_path_refuses_to_start(site: Site) -> None:
    (site.folder / "file").write_text("")
    site.control = site.folder / "file" / "control.sock"
    site.write()
    said = await cannot_start(site, "--table", "memory")
    assert str(site.control) in said


async def test_broken_file_refuses_to_start_with_every_error(site: Site) -> None:
    site.write(check=", port = 0, bogus = 1", daemon="nonsense = 1")
    said = await cannot_start(site, "--table", "memory")
    assert said.count(f"{site.file}:") == 3


async def test_unreadable_file_refuses_to_start(site: Site) -> None:
    site.file.unlink()
    assert "No such file" in await cannot_start(site, "--table", "memory")


async def test_unusable_ca_refuses_to_start(site: Site) -> None:
    (site.folder / "ca.pem").write_text("no certificate")
    site.file.write_text(site.file.read_text().replace('type = "tcp"', f'type = "https", ca = "{site.folder}/ca.pem"'))
    said = await cannot_start(site, "--table", "memory")
    assert "ca.pem" in said


@pytest.mark.skipif(Path("/proc/net/ip_vs").exists(), reason="this host has IPVS")
async def test_host_without_ipvs_says_how_to_get_it(site: Site) -> None:
    assert "modprobe ip_vs" in await cannot_start(site)


async def test_status_verb_shows_what_the_daemon_holds(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        code, out, _ = await run_cli("status", "--config", str(site.file))
        assert code == 0
        assert site.server in out
        assert "connected" in out
        code, out, _ = await run_cli("status", "--config", str(site.file), "--json")
        assert json.loads(out)["services"][0]["service"] == "web"
    code, _, err = await run_cli("status", "--config", str(site.file))
    assert code == 4
    assert str(site.control) in err


async def test_reload_verb_waits_and_says_what_changed_or_was_rejected(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        await running.until("daemon.started")
        site.write(
            service='[[service]]\nname = "more"\naddress = "192.0.2.101:80"\nforward = "dr"\ncheck = { type = "tcp" }\n'
            'real_server = ["127.0.0.1:80"]'
        )
        code, out, err = await run_cli("reload", "--config", str(site.file))
        assert (code, out, err) == (0, f"{site.file}: 1 service added, 1 real server added\n", "")
        assert running.of("operator.request", request="reload", uid=os.getuid())
        site.write(daemon="nonsense = 1")
        code, out, err = await run_cli("reload", "--config", str(site.file))
        assert (code, out) == (1, "")
        assert "nonsense" in err.splitlines()[0]
        assert "the old configuration stays in force" in err
        assert [each["service"] for each in (await site.status())["services"]] == ["web", "more"]


async def test_table_verb_shows_what_the_daemon_holds(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        code, out, err = await run_cli("table", "--config", str(site.file))
        assert (code, err) == (0, "")
        assert f"{VIP}/tcp  web   {site.server}  nat     5       0       0      up       ok     connected" in out
        code, out, _ = await run_cli("table", "web", "--config", str(site.file), "--json")
        assert json.loads(out)["services"][0]["servers"][0]["statistics"]["connections"] == 0
        assert (await run_cli("table", "wbe", "--config", str(site.file)))[0] == 2
        code, out, _ = await run_cli("table", "--config", str(site.file), "--connections")
        assert (code, len(out.splitlines())) == (0, 1)
        metrics = (await site.get("/metrics"))[1]
        assert f'lvs_healthd_real_server_connections_total{{service="web",server="{site.server}"}} 0' in metrics
        assert (await site.get("/api/v1/connections"))[0] == 403
    assert (await run_cli("table", "--config", str(site.file)))[0] == 4


async def test_probe_verb_runs_every_check_once(site: Site) -> None:
    code, out, _ = await run_cli("probe", "--config", str(site.file))
    assert code == 3
    assert "connection refused" in out
    async with stream_server(silent) as port:
        site.port = port
        site.write()
        code, out, _ = await run_cli("probe", "--config", str(site.file))
        assert code == 0
        assert "connected" in out
        code, out, _ = await run_cli("probe", "web", "--json", "--config", str(site.file))
        found = json.loads(out)[0]
        assert (found["server"], found["status"], found["detail"]) == (site.server, "up", "connected")
        assert found["latency_s"] > 0


async def test_fault_in_our_own_probe_code_ends_the_daemon_loudly_and_removes_nothing(site: Site) -> None:
    """Left alone, the event loop would only log the fault, and the probe's timeout would blame a healthy server."""
    (site.folder / "sitecustomize.py").write_text(
        "import lvs_healthd.probes.tcp as tcp\n"
        "begun = 0\n"
        "def connected(self):\n"
        "    global begun\n"
        "    begun += 1\n"
        "    if begun > 5:\n"
        "        raise ZeroDivisionError('a fault of ours')\n"
        "    return tcp._CONNECTED\n"
        "tcp._ConnectOnly.connected = connected\n"
    )
    async with (
        site.web_server(),
        daemon(site.file, "--table", "memory", env={"PYTHONPATH": str(site.folder)}) as running,
    ):
        assert await running.ended() == 1
    assert running.of("daemon.error")
    assert any("ZeroDivisionError: a fault of ours" in line for line in running.garbage)
    assert running.of("table.changed", operation="add_server")
    assert running.of("table.changed", operation="delete_server") == []


async def test_mode_can_be_changed_by_a_reload(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        site.write(daemon='mode = "shadow"')
        running.process.send_signal(signal.SIGHUP)
        await running.until("config.reloaded", was="enforce", mode="shadow")
        assert (await site.status())["daemon"]["mode"] == "shadow"
        site.write(daemon='mode = "enforce"')
        position = len(running.lines)
        running.process.send_signal(signal.SIGHUP)
        await running.until("config.reloaded", after=position)
        assert (await site.status())["daemon"]["mode"] == "enforce"


async def test_control_socket_that_somebody_removed_is_made_again_and_told(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        await running.until("daemon.started")
        control = next(site.file.parent.glob("**/control.sock"))
        control.unlink()
        renewed = await running.until("control.renewed")
        assert renewed["socket"] == str(control)
        assert control.exists()


async def test_second_daemon_on_one_state_file_is_refused(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        await running.until("daemon.started")
        other = site.file.with_name("other.toml")
        text = site.file.read_text().replace("control.sock", "other.sock")
        other.write_text(re.sub(r"listen = .*", 'listen = ""', text))
        async with daemon(other, "--table", "memory") as second:
            failed = await second.until("daemon.error")
            assert re.search(r"another lvs-healthd \(pid \d+\) uses this state file", failed["error"])


async def test_configuration_on_a_file_system_that_hangs_ends_the_wait_for_a_signal_at_once(tmp_path: Path) -> None:
    """A FIFO nobody writes to stands in for it: opening it blocks, as a dead NFS server does."""
    file = tmp_path / "config.toml"
    os.mkfifo(file)
    async with daemon(file, "--table", "memory") as running:
        await asyncio.sleep(1.5)
        assert running.process.returncode is None
        began = time.monotonic()
        running.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(running.process.wait(), 20)
        assert time.monotonic() - began < 10


HANGS = """
import json, os, time
from lvs_healthd.daemon import daemon

def hang(*_, **__):
    os.write(2, b'{{"event": "hangs"}}\\n')
    time.sleep(1000)

daemon.READ_S = {seconds}
daemon.{function} = hang
"""
"""Makes a function that the start calls hang, as on a file system that does not answer."""


@pytest.mark.parametrize("function", ["targets", "read_state"])
async def test_files_that_hang_during_the_start_do_not_hold_up_a_stop(site: Site, function: str) -> None:
    before = HANGS.format(seconds=1000, function=function)
    async with daemon(site.file, "--table", "memory", before=before) as running:
        await running.until("hangs")
        running.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.process.wait(), 20) == 0


async def test_certificates_that_hang_end_the_start_with_a_word_about_them(site: Site) -> None:
    before = HANGS.format(seconds=0.5, function="targets")
    async with daemon(site.file, "--table", "memory", before=before) as running:
        assert await running.ended() == 1
        (told,) = running.of("daemon.error")
        assert "reading the certificates and secrets of checks has taken more than 0.5s" in told["error"]


async def test_a_state_file_that_hangs_is_told_and_the_daemon_starts_without_it(site: Site) -> None:
    before = HANGS.format(seconds=0.5, function="read_state")
    async with daemon(site.file, "--table", "memory", before=before) as running:
        told = await running.until("state.error")
        assert (told["file"], "has taken more than 0.5s" in told["error"]) == (str(site.state), True)
        await running.until("daemon.started")


async def test_reload_from_a_file_system_that_hangs_is_rejected_and_the_next_one_works(site: Site) -> None:
    async with daemon(
        site.file, "--table", "memory", before="from lvs_healthd.daemon import reload; reload.READ_S = 0.5"
    ) as running:
        await running.until("daemon.started")
        text = site.file.read_text()
        site.file.unlink()
        os.mkfifo(site.file)
        running.process.send_signal(signal.SIGHUP)
        rejected = await running.until("config.rejected")
        assert f"reading {site.file} has taken more than 0.5s" in rejected["errors"][0]
        site.file.unlink()
        site.file.write_text(text)
        running.process.send_signal(signal.SIGHUP)
        await running.until("config.reloaded")


async def test_sighup_while_it_starts_does_not_end_the_daemon(site: Site) -> None:
    async with daemon(site.file, "--table", "memory", imports=True) as running:
        status = Path(f"/proc/{running.process.pid}/status")
        async with asyncio.timeout(TIMEOUT_S):
            # Until the interpreter has come to our first line, or much later to the one that serves the signal.
            while not (found := re.search(r"(Sig(?:Ign|Cgt)):\s*[0-9a-f]*[13579bdf]\n", status.read_text())):
                await asyncio.sleep(0.005)
        assert found[1] == "SigIgn"
        for _ in range(20):
            running.process.send_signal(signal.SIGHUP)
            await asyncio.sleep(0.02)
        await running.until("daemon.started")


async def test_remarks_are_told_at_the_start_and_at_a_reload_and_shown_while_they_hold(site: Site) -> None:
    site.write(check=', timeout = "2s"')
    site.file.write_text(site.file.read_text().replace('timeout = "1s", ', ""))
    async with daemon(site.file, "--table", "memory") as running:
        told = await running.until("config.remarks")
        assert (told["level"], told["file"]) == ("warning", str(site.file))
        (remark,) = told["remarks"]
        assert "timeout 2s is above interval 100ms" in remark
        assert (await site.status())["daemon"]["config_remarks"] == [remark]
        site.file.write_text("\n" + site.file.read_text())
        running.process.send_signal(signal.SIGHUP)
        (moved,) = (await running.until("config.remarks", after=running.lines.index(told) + 1))["remarks"]
        assert moved != remark
        assert (await site.status())["daemon"]["config_remarks"] == [moved]
        site.write(check="")
        site.file.write_text(site.file.read_text().replace('timeout = "1s"', 'timeout = "100ms"'))
        position = len(running.lines)
        running.process.send_signal(signal.SIGHUP)
        await running.until("config.reloaded", after=position)
        assert (await site.status())["daemon"]["config_remarks"] == []
        assert "lvs_healthd_config_remarks 0" in (await site.get("/metrics"))[1]


def without_services(site: Site, mode: str = "enforce") -> None:
    site.write(daemon=f'mode = "{mode}"')
    site.file.write_text(site.file.read_text().partition("[[service]]")[0])


async def test_daemon_without_services_waits_for_a_reload_and_says_so(site: Site) -> None:
    without_services(site)
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        assert (await running.until("daemon.started"))["services"] == 0
        (remark,) = (await running.until("config.remarks"))["remarks"]
        assert "no [[service]]: nothing is probed" in remark
        await asyncio.sleep(STUCK_S + 0.5)
        assert await site.get("/healthz") == (200, "ok\n")
        assert running.of("table.changed") == []
        site.write()
        running.process.send_signal(signal.SIGHUP)
        await up(running, site)


async def test_reload_without_services_is_refused_while_the_table_has_some_of_ours(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        without_services(site)
        running.process.send_signal(signal.SIGHUP)
        (error,) = (await running.until("config.rejected"))["errors"]
        assert error == (
            f"{site.file}: no [[service]], and services of ours are in the kernel's table, which would be removed: "
            f"{VIP}/tcp. If that is meant: lvs-healthd reload --force"
        )
        assert (await site.real_server())["weight_actual"] == 5
        assert running.of("table.changed", operation="delete_service") == []


async def test_forced_reload_without_services_empties_the_table_of_what_is_ours_and_a_signal_never_does(
    site: Site,
) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        without_services(site)
        code, _, err = await run_cli("reload", "--config", str(site.file))
        assert (code, "lvs-healthd reload --force" in err) == (1, True)
        code, out, err = await run_cli("reload", "--dry-run", "--force", "--config", str(site.file))
        assert (code, out.splitlines()[0], err) == (
            0,
            f"{site.file}: would change: 1 service removed, 1 real server removed",
            "",
        )
        assert running.of("table.changed", operation="delete_service") == []
        code, out, err = await run_cli("reload", "--force", "--config", str(site.file))
        assert (code, out, err) == (0, f"{site.file}: 1 service removed, 1 real server removed\n", "")
        await running.until("table.changed", operation="delete_service")
        assert running.of("operator.request", request="reload --force", uid=os.getuid())


async def test_reload_that_takes_out_most_of_what_serves_is_rejected_until_it_is_forced(site: Site) -> None:
    ten = [f"127.0.0.{number}:{site.port}" for number in range(1, 11)]
    one = f'real_server = [{{ address = "{site.server}", weight = 5 }}]'
    whole = site.file.read_text().replace(one, f"real_server = {json.dumps(ten)}")
    site.file.write_text(whole)
    async with (
        daemon(site.file, "--table", "memory") as running,
        stream_server(silent, host="0.0.0.0", port=site.port),
    ):
        for each in ten:
            await running.until("table.changed", operation="add_server", server=each)
        site.file.write_text(whole.replace(json.dumps(ten), json.dumps(ten[:4])))
        for words in (("reload",), ("reload", "--dry-run")):
            code, _, err = await run_cli(*words, "--config", str(site.file))
            assert (code, "6 of the 10 servers that serve now would be taken out" in err) == (1, True)
            assert "If that is meant: lvs-healthd reload --force" in err
        position = len(running.lines)
        running.process.send_signal(signal.SIGHUP)
        await running.until("config.rejected", after=position)
        assert running.of("table.changed", operation="delete_server") == []
        code, out, _ = await run_cli("reload", "--force", "--config", str(site.file))
        assert (code, out) == (0, f"{site.file}: 6 real servers removed\n")
        for each in ten[4:]:
            await running.until("table.changed", operation="delete_server", server=each)


async def test_dry_run_says_what_a_reload_would_do_and_changes_nothing(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running, site.web_server():
        await up(running, site)
        before = (await site.status())["services"]
        more = '[[service]]\nname = "more"\naddress = "192.0.2.101:80"\nforward = "dr"\ncheck = { type = "tcp" }\n'
        site.write(service=more + 'real_server = ["127.0.0.1:80"]')
        code, out, err = await run_cli("reload", "--dry-run", "--config", str(site.file))
        assert (code, out.splitlines(), err) == (
            0,
            [
                f"{site.file}: would change: 1 service added, 1 real server added",
                'service "more": added',
                'service "more": real server 127.0.0.1:80 added',
                'table: add_service "more": scheduler wlc (configured)',
                (
                    'table: add_server 127.0.0.1:80 of "more": weight 1, forward dr (not proven healthy yet), '
                    "but only when its checks have passed"
                ),
            ],
            "",
        )
        assert running.of("operator.request", request="reload --dry-run", uid=os.getuid())
        site.write(daemon="nonsense = 1")
        code, out, err = await run_cli("reload", "--dry-run", "--config", str(site.file))
        assert (code, out) == (1, "")
        assert "nonsense" in err.splitlines()[0]
        assert err.splitlines()[-1] == f"lvs-healthd reload: {site.file} would be rejected"
        status = await site.status()
        assert [each["service"] for each in status["services"]] == [each["service"] for each in before] == ["web"]
        assert status["daemon"]["config_error"] == ""
        assert running.of("config.reloaded") == running.of("config.rejected") == []
        # What the dry runs have read is not taken for what is in force.
        site.write(service=more + 'real_server = ["127.0.0.1:80"]')
        code, out, _ = await run_cli("reload", "--config", str(site.file))
        assert (code, out) == (0, f"{site.file}: 1 service added, 1 real server added\n")


async def test_start_without_services_is_refused_before_anything_is_written(site: Site) -> None:
    without_services(site)
    kernel = MemoryTable()
    kernel.entries = table(entry(service(), server("198.51.100.1")))
    write_state(site.state, Ours(frozenset({WEB})), ())
    aspect = Watched()
    refused = Daemon(Settings(config_file=site.file), kernel, configure(), exclusive=False, aspects=[aspect])
    with pytest.raises(ConfigError, match=r"no \[\[service\]\], and services of ours.*: 192\.0\.2\.100:80/tcp\."):
        async with asyncio.timeout(20):
            await refused.run()
    assert kernel.entries[WEB].destinations
    assert not aspect.asked


@pytest.mark.parametrize("force", [False, True])
async def test_start_with_a_file_that_takes_out_most_of_what_serves_is_refused_unless_forced(
    site: Site, force: bool
) -> None:
    kernel = MemoryTable()
    kernel.entries = table(entry(service(), *(server(f"198.51.100.{number}") for number in range(1, 11))))
    write_state(site.state, Ours(frozenset({WEB})), ())
    aspect = Watched()
    settings = Settings(config_file=site.file, force=force)
    started = Daemon(settings, kernel, configure(), exclusive=False, aspects=[aspect])
    if force:
        run = asyncio.create_task(started.run())
        async with asyncio.timeout(20):
            while WEB in kernel.entries:
                await asyncio.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
        await run
        return
    with pytest.raises(ConfigError, match=r"10 of the 10 servers that serve now .* meant: lvs-healthd run --force"):
        async with asyncio.timeout(20):
            await started.run()
    assert len(kernel.entries[WEB].destinations) == 10
    assert not aspect.asked


async def test_start_without_services_is_fine_where_ours_are_gone_from_the_table(site: Site) -> None:
    without_services(site)
    write_state(site.state, Ours(frozenset({WEB})), ())
    async with daemon(site.file, "--table", "memory") as running:
        assert (await running.until("daemon.started"))["services"] == 0


class Watched:
    """A setting that notes whether somebody has asked for it."""

    def __init__(self) -> None:
        self.asked = False

    def want(self, config: Config) -> None:
        pass

    async def differing(self) -> list[Setting]:
        self.asked = True
        return []

    async def mend(self, setting: Setting) -> None:
        raise AssertionError(setting)


async def test_start_that_fails_leaves_what_was_saved_before(site: Site) -> None:
    async with daemon(site.file, "--table", "memory") as running:
        async with site.web_server():
            await up(running, site)
        await running.until("table.changed", operation="delete_server")
        await running.stop()
    saved = {file: file.read_bytes() for file in (site.state, site.state.with_name("history.json"))}
    host, port = site.listen.split(":")
    with socket.create_server((host, int(port))):
        async with daemon(site.file, "--table", "memory") as running:
            assert await running.ended() == 1
    assert {file: file.read_bytes() for file in saved} == saved
