"""Programs as checks of a running daemon: one that passes and fails, in this process and in probe workers."""

import contextlib
import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.daemon_process import daemon, run_cli

SERVER = "127.0.0.1:81"


def written(folder: Path, *, has_exec: bool = True, workers: int = 1) -> Path:
    """Write a configuration whose only check passes while the file `good` is there."""
    command = f'["/usr/bin/test", "-e", "{folder}/good"]'
    check = f'type = "exec", command = {command}, convention = "keepalived"' if has_exec else 'type = "udp"'
    file = folder / "config.toml"
    file.write_text(f"""
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"
probe_workers = {workers}
[[service]]
name = "web"
address = "127.0.0.100:80"
check = {{ {check}, interval = "{"200ms" if has_exec else "5s"}", timeout = "{"2s" if has_exec else "4s"}" }}
real_server = ["{SERVER}"]
""")
    return file


def helpers(folder: Path) -> list[int]:
    """Return the ids of the processes that run programs for the daemon of this folder."""
    wanted = f"{folder}/exec.sock".encode()
    found = []
    for each in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if each.name.isdigit() and wanted in (each / "cmdline").read_bytes().split(b"\0"):
                found.append(int(each.name))
    return found


@pytest.mark.parametrize("workers", [1, 2])
async def test_server_goes_and_comes_with_its_program(tmp_path: Path, workers: int) -> None:
    good = tmp_path / "good"
    good.touch()
    async with daemon(written(tmp_path, workers=workers), "--table", "memory") as running:
        await running.until("table.changed", operation="add_server", server=SERVER)
        good.unlink()
        down = await running.until("real_server.down", server=SERVER)
        assert down["reason"] == "exit status 1"
        good.touch()
        await running.until("real_server.up", server=SERVER)
    assert helpers(tmp_path) == []


async def test_process_for_programs_is_there_once_a_reload_needs_it_and_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "good").touch()
    async with daemon(written(tmp_path, has_exec=False), "--table", "memory") as running:
        await running.until("daemon.started")
        assert helpers(tmp_path) == []
        written(tmp_path)
        running.process.send_signal(signal.SIGHUP)
        await running.until("real_server.up", server=SERVER)
        (pid,) = helpers(tmp_path)
        os.kill(pid, signal.SIGKILL)
        failed = await running.until("exec.error")
        assert failed["reason"] == "killed by signal 9"
        after = len(running.lines)
        (tmp_path / "good").unlink()
        await running.until("real_server.down", server=SERVER, after=after)  # judged again
    assert not [line for line in running.lines[:after] if line["event"] == "real_server.down"]


@pytest.mark.parametrize("workers", [1, 2])
async def test_one_run_decides_about_all_servers_of_a_service(tmp_path: Path, workers: int) -> None:
    """Servers go and come by their names in the summary, and a reload takes one out of the run."""
    bad, log, script = tmp_path / "bad", tmp_path / "log", tmp_path / "web.monitor"
    bad.touch()
    script.write_text(f'#!/bin/sh\necho "$MON_GROUP: $*" >> {log}\ncat {bad}\ntest ! -s {bad}\n')
    script.chmod(0o755)
    servers = [f"127.0.0.1:{port}" for port in (81, 82)] + ["127.0.0.2:81"]
    file = written(tmp_path, workers=workers)
    check = (
        f'check = {{ type = "exec", command = ["{script}"], convention = "mon", per = "group", interval = "200ms" }}'
    )
    text = re.sub("(?m)^check = .*", check, file.read_text())
    file.write_text(re.sub("(?m)^real_server = .*", f"real_server = {json.dumps(servers)}", text))
    async with daemon(file, "--table", "memory") as running:
        for server in servers:
            await running.until("table.changed", operation="add_server", server=server)
        bad.write_text("127.0.0.2\n")
        down = await running.until("real_server.down", server=servers[2])
        assert down["reason"] == "exit status 1: 127.0.0.2"
        after = len(running.lines)
        bad.write_text("127.0.0.1:82\n")
        await running.until("real_server.down", server=servers[1])
        await running.until("real_server.up", server=servers[2], after=after)
        file.write_text(re.sub("(?m)^real_server = .*", f"real_server = {json.dumps(servers[:2])}", text))
        running.process.send_signal(signal.SIGHUP)
        await running.until("config.reloaded")
        after = len(running.lines)
        bad.write_text("")
        await running.until("real_server.up", server=servers[1], after=after)
        assert not [
            line for line in running.lines if line["event"] == "real_server.down" and line["server"] == servers[0]
        ]
    runs = log.read_text().splitlines()
    assert list(dict.fromkeys(runs)) == ["web: 127.0.0.1 127.0.0.2", "web: 127.0.0.1"]  # each host once


async def test_probe_verb_runs_programs_without_a_daemon(tmp_path: Path) -> None:
    file = written(tmp_path)
    code, out, _ = await run_cli("probe", "--config", str(file))
    assert (code, "exit status 1" in out) == (3, True)
    (tmp_path / "good").touch()
    code, out, _ = await run_cli("probe", "--config", str(file))
    assert (code, "exit status 0" in out) == (0, True)
    assert helpers(tmp_path) == []


async def test_probe_verb_says_when_the_unit_for_programs_does_not_run(tmp_path: Path) -> None:
    file = written(tmp_path)
    socket = tmp_path / "unit.sock"
    file.write_text(file.read_text().replace("[daemon]\n", f'[daemon]\nexec_socket = "{socket}"\n'))
    code, out, _ = await run_cli("probe", "--config", str(file))
    assert code == 3
    assert f"the process that runs programs is not there: {socket}" in out
