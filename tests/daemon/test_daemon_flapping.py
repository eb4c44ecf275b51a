"""The whole daemon with a server that goes up and down, on a table in memory."""

import socket
from pathlib import Path

import pytest

from tests.daemon_process import DaemonProcess, daemon
from tests.probes.peers import free_port


def write(folder: Path, port: int, other: int, *, workers: int) -> Path:
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
check = {{ type = "tcp", interval = "1s", fast_interval = "50ms", down_interval = "100ms" }}
damping = {{ falls = 2, window = "20s", longest = "1s" }}
real_server = ["127.0.0.1:{port}", "127.0.0.1:{other}"]
""")
    return file


def listening(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port))


async def fall_and_rise(running: DaemonProcess, port: int, opened: socket.socket) -> socket.socket:
    server = f"127.0.0.1:{port}"
    begun = len(running.lines)
    opened.close()
    await running.until("real_server.down", server=server, after=begun)
    opened = listening(port)
    await running.until("real_server.up", server=server, after=begun)
    return opened


@pytest.mark.parametrize("workers", [1, 2])
async def test_server_that_flaps_is_told_held_out_and_let_go(tmp_path: Path, workers: int) -> None:
    port, other = free_port(), free_port()
    server = f"127.0.0.1:{port}"
    with listening(other):
        opened = listening(port)
        async with daemon(write(tmp_path, port, other, workers=workers), "--table", "memory") as running:
            for each in (port, other):
                await running.until("real_server.up", server=f"127.0.0.1:{each}")
            for _ in range(2):
                opened = await fall_and_rise(running, port, opened)
            told = await running.until("real_server.flapping", server=server)
            assert told["is_damped"] is True
            held = await running.until("real_server.damped", server=server)
            assert (held["for_s"], held["times"]) == (1.0, 1)
            released = await running.until("real_server.released", server=server)
            assert released["verdict"] == "up"
            added = await running.until_line(
                lambda line: line["event"] == "table.changed" and line["server"] == server,
                "the server's return",
                after=running.lines.index(released),
            )
            assert added["operation"] == "add_server"
            assert len(running.of("real_server.flapping")) == 1
            assert await running.stop() == 0
        opened.close()
