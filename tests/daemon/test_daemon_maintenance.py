"""The maintenance folder of a whole daemon: files come and go, the daemon restarts, and the folder is lost."""

import asyncio
import json
import socket
import urllib.request
from pathlib import Path

import pytest

from tests.daemon_process import daemon, run_cli
from tests.probes.peers import free_port


def write(folder: Path, port: int, other: int, listen: int) -> Path:
    file = folder / "config.toml"
    file.write_text(f"""
[daemon]
listen = "127.0.0.1:{listen}"
control = "{folder}/control.sock"
state = "{folder}/state.json"
maintenance_dir = "{folder}/maintenance"

[[service]]
name = "web"
address = "127.0.0.100:80"
check = {{ type = "tcp", interval = "1s", fast_interval = "50ms" }}
real_server = ["127.0.0.1:{port}", "127.0.0.2:{other}"]
""")
    return file


async def metrics(listen: int) -> str:
    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{listen}/metrics", timeout=30) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(read)


async def test_file_drains_over_a_restart_and_the_loss_of_the_folder(tmp_path: Path) -> None:
    port, other, listen = free_port(), free_port(), free_port()
    server = f"127.0.0.1:{port}"
    folder, control = tmp_path / "maintenance", ("--control", str(tmp_path / "control.sock"))
    folder.mkdir()
    file = write(tmp_path, port, other, listen)
    with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.2", other)):
        async with daemon(file, "--table", "memory") as running:
            for each in (server, f"127.0.0.2:{other}"):
                await running.until("table.changed", operation="add_server", server=each)
            (folder / "localhost:80").touch()  # a host, and no server of it has the port
            (folder / "127.0.0.1").touch()
            began = await running.until("maintenance.began")
            assert (began["file"], began["servers"], began["count"]) == (f"{folder}/127.0.0.1", ["127.0.0.1"], 1)
            changed = await running.until("table.changed", server=server, operation="set_server")
            assert changed["reason"].startswith(f"drained by the file {folder}/127.0.0.1 since ")
            unused = await running.until("maintenance.unused")
            assert unused["file"] == f"{folder}/localhost:80"
            assert "no configured server is 127.0.0.1:80" in unused["why"]

            code, out, _ = await run_cli("status", "--overrides", *control)
            assert code == 0
            assert out.splitlines()[0].split()[:3] == ["*", "127.0.0.1", "maintenance"]
            assert f"{folder}/127.0.0.1" in out
            _, out, _ = await run_cli("why", "web", server, *control)
            assert f"  orders: drained by the file {folder}/127.0.0.1, since " in out
            assert f"the file {folder}/127.0.0.1 drains 127.0.0.1" in out
            code, out, err = await run_cli("enable", "web", server, *control)
            assert (code, out) == (0, f"web {server}: drained (as before)\n")
            assert f"is still drained by the file {folder}/127.0.0.1: remove that file to end that" in err
            code, out, _ = await run_cli("status", "--check", *control)
            assert (code, "maintenance files to look at: 1" in out) == (1, True)
            text = await metrics(listen)
            assert f'override_timestamp_seconds{{service="web",server="{server}",kind="maintenance"}}' in text
            assert "lvs_healthd_maintenance_files 1\n" in text
            assert "lvs_healthd_maintenance_files_unused 1\n" in text
            assert await running.stop() == 0
        assert json.loads((tmp_path / "state.json").read_text())["maintenance"][0]["path"] == f"{folder}/127.0.0.1"

        folder.rename(tmp_path / "aside")
        async with daemon(file, "--table", "memory") as running:
            error = await running.until("maintenance.error")
            assert error["error"] == (
                f"{folder} cannot be read: No such file or directory; what is known of 2 files stays in force"
            )
            await running.until("real_server.up", server=server)
            await running.until("table.changed", operation="add_server", server=f"127.0.0.2:{other}")
            code, out, _ = await run_cli("status", "--check", *control)
            assert (code, "maintenance folder: " in out) == (1, True)
            assert "lvs_healthd_maintenance_error 1\n" in await metrics(listen)
            assert not running.of("table.changed", server=server)
            (tmp_path / "aside").rename(folder)
            await running.until("maintenance.recovered")
            (folder / "127.0.0.1").unlink()
            ended = await running.until("maintenance.ended")
            assert (ended["file"], ended["why"]) == (f"{folder}/127.0.0.1", "the file was removed")
            await running.until("table.changed", operation="add_server", server=server)
            assert await running.stop() == 0


@pytest.mark.parametrize("how", ["--shadow", "--table=memory"])
async def test_shadow_mode_decides_by_the_folder_too(tmp_path: Path, how: str) -> None:
    port, other = free_port(), free_port()
    (tmp_path / "maintenance").mkdir()
    (tmp_path / "maintenance" / f"127.0.0.1:{port}").touch()
    file = write(tmp_path, port, other, free_port())
    with socket.create_server(("127.0.0.1", port)), socket.create_server(("127.0.0.2", other)):
        async with daemon(file, "--table", "memory", how) as running:
            await running.until("maintenance.began", servers=[f"127.0.0.1:{port}"])
            changed = await running.until("table.changed", operation="add_server", server=f"127.0.0.2:{other}")
            assert changed["shadow"] is (how == "--shadow")
            assert not running.of("table.changed", server=f"127.0.0.1:{port}")
            assert await running.stop() == 0
        assert (tmp_path / "state.json").exists() is (how != "--shadow")
