"""Hooks of a running daemon, with real programs, a real web server and pipes; and hooks that hang."""

import asyncio
import contextlib
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.daemon_process import TIMEOUT_S, DaemonProcess, daemon, run_cli
from tests.hooks.test_senders import Receiver
from tests.probes.peers import free_port, silent, stream_server

MANY = 1000


def written(
    folder: Path, hooks: str, *, servers: tuple[str, ...], daemon: str = "", check: str = 'type = "tcp"', more: str = ""
) -> Path:
    file = folder / "config.toml"
    file.write_text(f"""
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"
{daemon}
[[service]]
name = "web"
address = "127.0.0.100:80"
check = {{ {check}, interval = "200ms", timeout = "200ms", rise = 1, fall = 2 }}
real_server = {json.dumps(list(servers))}
{more}
{hooks}
""")
    return file


async def until(condition: Any) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():
            await asyncio.sleep(0.05)


def events_of(log: Path) -> list[tuple[str, str]]:
    found = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return [(each["event"], each.get("server", "")) for each in found]


def bodies(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for _, _, body in receiver.got]


async def test_each_kind_of_hook_is_told_of_a_server_that_goes_and_comes(tmp_path: Path) -> None:
    port, log, fifo, receiver = free_port(), tmp_path / "log", tmp_path / "fifo", Receiver()
    server = f"127.0.0.1:{port}"
    hooks = f"""
[[hook]]
command = ["/bin/sh", "-c", "cat >> {log}"]
on = ["real_server.*", "daemon.*"]
[[hook]]
url = "http://127.0.0.1:{receiver.port}/"
on = ["real_server.*"]
[[hook]]
fifo = "{fifo}"
"""
    file = written(tmp_path, hooks, servers=(server,))
    async with receiver.running(), daemon(file, "--table", "memory") as running:
        async with stream_server(silent, port=port):
            await running.until("real_server.up", server=server)
        await running.until("real_server.down", server=server)
        wanted = [("real_server.up", server), ("real_server.down", server)]
        await until(lambda: [(each["event"], each["server"]) for each in bodies(receiver)] == wanted)
        await until(lambda: sorted(events_of(log)) == sorted([("daemon.started", ""), *wanted]))
        assert await running.stop() == 0
        assert running.of("hook.error") == []
    assert events_of(log)[-1] == ("daemon.stopping", "")  # what is told last is not lost
    assert fifo.is_fifo()


async def test_fifo_s_reader_gets_keepalived_s_lines(tmp_path: Path) -> None:
    port, fifo = free_port(), tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    file = written(tmp_path, f'[[hook]]\nfifo = "{fifo}"', servers=(f"127.0.0.1:{port}",))
    heard = bytearray()

    def hears(text: str) -> bool:
        with contextlib.suppress(BlockingIOError):
            heard.extend(os.read(reader, 4096))
        return heard.endswith(text.encode())

    rs = f"RS [127.0.0.1]:tcp:{port} [127.0.0.100]:tcp:80"
    vs = "VS [127.0.0.100]:tcp:80"
    async with daemon(file, "--table", "memory") as running:
        await running.until("real_server.down")
        await until(lambda: hears(f"{rs} DOWN\n{vs} DOWN\n"))
        async with stream_server(silent, port=port):
            await until(lambda: hears(f"{rs} UP\n{vs} UP\n"))
    os.close(reader)


@pytest.mark.long
async def test_hanging_program_and_dead_webhook_change_no_decision(tmp_path: Path) -> None:
    """Servers go and come by an exec check, for which there is a single place, while every hook hangs."""
    good, ports = tmp_path / "good", [free_port() for _ in range(8)]
    good.touch()
    dead = Receiver()
    dead.delay_s = 1000.0
    hooks = f"""
[[hook]]
name = "hanging"
command = ["/bin/sleep", "1000"]
on = ["*"]
timeout = "1m"
[[hook]]
name = "refused"
url = "http://127.0.0.1:{free_port()}/"
on = ["*"]
[[hook]]
name = "silent"
url = "http://127.0.0.1:{dead.port}/"
on = ["*"]
[[hook]]
name = "gone"
command = ["/no/such/program"]
on = ["*"]
[[hook]]
name = "mail"
mail = {{ to = "a@example.org", from = "b@example.org", relay = "127.0.0.1:{free_port()}" }}
every = "0s"
"""
    servers = tuple(f"127.0.0.1:{port}" for port in ports)
    check = f'type = "exec", command = ["/usr/bin/test", "-e", "{good}"], convention = "keepalived"'
    listen = f"127.0.0.1:{free_port()}"
    file = written(tmp_path, hooks, servers=servers, daemon="max_exec = 1", check=check)
    file.write_text(file.read_text().replace('listen = ""', f'listen = "{listen}"').replace('"200ms"', '"3s"'))
    async with dead.running(), daemon(file, "--table", "memory") as running:
        for server in servers:
            await running.until("table.changed", operation="add_server", server=server)
        good.unlink()
        for server in servers:
            down = await running.until("real_server.down", server=server)
            assert down["reason"] == "exit status 1"
            await running.until("table.changed", operation="delete_server", server=server)
        await running.until("hook.error", hook="gone")
        await running.until("hook.error", hook="refused")
        await running.until("hook.error", hook="mail")
        assert running.of("check.unsure") == []
        assert running.of("exec.error") == []
        async with aiohttp.ClientSession() as session, session.get(f"http://{listen}/metrics") as answer:
            text = await answer.text()
        code, _, err = await run_cli("status", "--control", f"{tmp_path}/control.sock")
        assert (code, "HOOK FAILS: gone: cannot run /no/such/program: No such file" in err) == (3, True)
        waiting = dict(re.findall(r'lvs_healthd_hook_messages_waiting\{hook="(\w+)"\} ([\d.]+)', text))
        assert float(waiting["hanging"]) > len(servers)
        assert float(waiting["refused"]) > len(servers)
        failed = re.search(r'lvs_healthd_hook_messages_total\{hook="gone",result="failed"\} ([\d.]+)', text)
        assert failed is not None
        assert float(failed[1]) > 0
        assert await running.stop() == 0


async def reloaded(running: DaemonProcess) -> dict[str, Any]:
    after = len(running.lines)
    running.process.send_signal(signal.SIGHUP)
    return await running.until("config.reloaded", after=after)


async def test_reload_keeps_what_has_been_gathered_and_counts_changed_hooks(tmp_path: Path) -> None:
    receiver, server = Receiver(), f"127.0.0.1:{free_port()}"
    hook = f'[[hook]]\nurl = "http://127.0.0.1:{receiver.port}/"\non = ["real_server.*", "config.*"]\nevery = "3s"\n'
    file = written(tmp_path, hook, servers=(server,))
    async with receiver.running(), daemon(file, "--table", "memory") as running:
        await running.until("real_server.down", server=server)
        other = '[[hook]]\nname = "other"\ncommand = ["/bin/true"]\n'
        written(tmp_path, other + hook, servers=(server,))
        assert (await reloaded(running))["hooks_changed"] == 1
        await until(lambda: receiver.got)
        (message,) = bodies(receiver)
        assert message["counts"] == {"config.remarks": 1, "real_server.down": 1, "config.reloaded": 1} or (
            message["counts"] == {"real_server.down": 1, "config.reloaded": 1}
        )


async def test_shadow_mode_tells_nobody(tmp_path: Path) -> None:
    receiver, server = Receiver(), f"127.0.0.1:{free_port()}"
    hooks = "".join(
        f'[[hook]]\nname = "{name}"\nurl = "http://127.0.0.1:{receiver.port}/{name}"\nin_shadow = {asked}\n'
        for name, asked in (("asked", "true"), ("not", "false"))
    )
    file = written(tmp_path, hooks, servers=(server,))
    async with receiver.running(), daemon(file, "--shadow", "--table", "memory") as running:
        await running.until("real_server.down", server=server)
        await until(lambda: receiver.got)
        assert await running.stop() == 0
    assert {path for path, _, _ in receiver.got} == {"/asked"}


async def test_thousand_failures_at_once_are_one_message(tmp_path: Path) -> None:
    receiver = Receiver()
    ports = [free_port() for _ in range(4)]
    servers = tuple(f"127.1.{number // 200}.{number % 200 + 1}:{ports[0]}" for number in range(MANY))
    hooks = f"""
[[hook]]
url = "http://127.0.0.1:{receiver.port}/"
on = ["real_server.down"]
every = "5s"
[[hook]]
name = "hanging"
command = ["/bin/sleep", "1000"]
on = ["real_server.down"]
timeout = "1m"
"""
    file = written(tmp_path, hooks, servers=servers)
    async with receiver.running(), daemon(file, "--table", "memory") as running:
        await until(lambda: sum(each["total"] for each in bodies(receiver)) == MANY)
        assert await running.stop() == 0
    messages = bodies(receiver)
    assert len(messages) <= 2  # a busy machine may take longer than the window for its probes
    told = [each["server"] for message in messages for each in message["events"]]
    assert len(told) + sum(message["left_out"] for message in messages) == MANY
    assert set(told) <= set(servers)
    assert len(told) > MANY / 2
