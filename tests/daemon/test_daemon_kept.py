"""The whole daemon with connections that stay open, on a table in memory."""

import asyncio
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.daemon_process import daemon
from tests.ready_made.servers import free_port, running

INTERVAL_S = 3.0
SOON_S = 1.5
"""How soon a server that is killed is out at the latest. With a probe in each interval it would take two of them."""


def web_server(port: int, folder: Path) -> list[str | Path]:
    folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log stderr;\nevents {{ }}\nhttp {{\n"
        + "".join(f" {name}_temp_path {folder}/{name};\n" for name in folders)
        + f" access_log off;\n server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} }}\n}}\n"
    )
    return ["nginx", "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]


def configuration(folder: Path, port: int, listen: int, *, workers: int, connection: str = "keep") -> Path:
    file = folder / "config.toml"
    file.write_text(f"""
[daemon]
listen = "127.0.0.1:{listen}"
control = "{folder}/control.sock"
state = "{folder}/state.json"
probe_workers = {workers}

[[service]]
name = "web"
address = "127.0.0.100:80"
check = {{ type = "http", interval = "{INTERVAL_S:g}s", timeout = "1s", connection = "{connection}", rise = 1 }}
real_server = ["127.0.0.1:{port}"]
""")
    return file


def scraped(listen: int, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{listen}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(f"lvs_healthd_{name} ")).split()[1])


async def until_scraped(listen: int, name: str, value: float) -> None:
    async with asyncio.timeout(30):
        while await asyncio.to_thread(scraped, listen, name) != value:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
async def test_server_that_is_killed_is_out_soon_and_the_warning_is_counted(workers: int, tmp_path: Path) -> None:
    port, listen = free_port(), free_port()
    with running(web_server(port, tmp_path), tmp_path) as server:
        async with daemon(configuration(tmp_path, port, listen, workers=workers), "--table", "memory") as started:
            await started.until("real_server.up")
            await until_scraped(listen, "kept_connections", 1.0)
            assert scraped(listen, "early_warnings_total") == 0.0
            await asyncio.sleep(0.5)
            loop = asyncio.get_running_loop()
            died = loop.time()
            server.kill()
            line = await started.until("real_server.down")
            assert loop.time() - died <= SOON_S
            assert "refused" in str(line)
            assert "(an early warning came before: its kept connection had ended)" in line["reason"]
            await until_scraped(listen, "early_warnings_total", 1.0)
            await until_scraped(listen, "kept_connections", 0.0)
            assert await started.stop() == 0


async def test_reload_that_wants_new_connections_ends_the_kept_ones(tmp_path: Path) -> None:
    port, listen = free_port(), free_port()
    with running(web_server(port, tmp_path), tmp_path):
        file = configuration(tmp_path, port, listen, workers=1)
        async with daemon(file, "--table", "memory") as started:
            await started.until("real_server.up")
            await until_scraped(listen, "kept_connections", 1.0)
            configuration(tmp_path, port, listen, workers=1, connection="new")
            started.process.send_signal(signal.SIGHUP)
            await until_scraped(listen, "kept_connections", 0.0)
            assert started.of("real_server.down") == []
