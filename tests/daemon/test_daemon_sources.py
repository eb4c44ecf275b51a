"""A whole daemon with servers from a file, replaced in the ways that people and programs have, and from a name server,
over restarts."""

import json
import socket
from pathlib import Path

import pytest

from tests.daemon_process import daemon, run_cli
from tests.discovery.name_server import serves
from tests.probes.peers import free_port


def write(folder: Path, port: int, source: str = "") -> Path:
    file = folder / "config.toml"
    file.write_text(f"""
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"

[[service]]
name = "web"
address = "127.0.0.100:{port}"
check = {{ type = "tcp", interval = "200ms", fast_interval = "50ms" }}
source = {source or f'{{ file = "{folder}/web.list" }}'}
""")
    return file


def replace(path: Path, text: str) -> None:
    new = path.with_name("new")
    new.write_text(text)
    new.replace(path)


async def test_list_is_followed_and_held_over_restarts_and_accidents(tmp_path: Path) -> None:
    port = free_port()
    file, servers = write(tmp_path, port), tmp_path / "web.list"
    control = ("--control", str(tmp_path / "control.sock"))
    with (
        socket.create_server(("127.0.0.2", port)),
        socket.create_server(("127.0.0.3", port)),
        socket.create_server(("127.0.0.4", port)),
    ):
        servers.write_text("127.0.0.2\n127.0.0.3  # the spare\n")
        async with daemon(file, "--table", "memory") as running:
            for number in (2, 3):
                await running.until("table.changed", operation="add_server", server=f"127.0.0.{number}:{port}")

            replace(servers, '["127.0.0.2", "127.0.0.3", {"address": "127.0.0.4", "weight": 3}]')
            changed = await running.until("discovery.changed", added=["127.0.0.4"])
            assert (changed["source"], changed["services"]) == (f"file {servers}", ["web"])
            await running.until("table.changed", operation="add_server", server=f"127.0.0.4:{port}")

            servers.write_text("")  # in place
            held = await running.until("discovery.held")
            assert (held["servers"], held["todo"]) == (3, "lvs-healthd reload --force")
            code, out, _ = await run_cli("status", *control)
            assert (code, out.count(f"  127.0.0.4:{port}  up")) == (3, 1)
            code, out, _ = await run_cli("status", "--check", *control)
            assert (code, f"source file {servers}: held" in out) == (1, True)
            code, out, _ = await run_cli("why", "web", f"127.0.0.4:{port}", *control)
            assert f"  source: file {servers}: 3 servers, since " in out
            assert "it lists no server any more, and 3 servers before: " in out

            servers.write_text("127.0.0.2\nweb3.example.net\n")
            error = await running.until("discovery.error")
            assert error["error"].startswith(f"{servers}:2: expected an address and port")
            servers.unlink()
            await running.until("discovery.error", error=f"{servers}: cannot read: No such file or directory")
            assert not running.of("table.changed", operation="delete_server")
            assert await running.stop() == 0
        saved = json.loads((tmp_path / "sources.json").read_text())["sources"]
        assert [each["address"] for each in saved[0]["entries"]] == ["127.0.0.2", "127.0.0.3", "127.0.0.4"]

        async with daemon(file, "--table", "memory") as running:
            await running.until("discovery.error")
            for number in (2, 3, 4):
                await running.until("table.changed", operation="add_server", server=f"127.0.0.{number}:{port}")
            replace(servers, "127.0.0.4 weight=3\n")
            await running.until("discovery.held")
            code, out, _ = await run_cli("reload", "--force", *control)
            assert (code, "2 real servers removed" in out) == (0, True)
            changed = await running.until("discovery.changed", accepted=True)
            assert changed["removed"] == ["127.0.0.2", "127.0.0.3"]
            await running.until("table.changed", operation="delete_server", server=f"127.0.0.2:{port}")
            assert not running.of("real_server.down")
            assert await running.stop() == 0


async def test_links_swapped_as_kubernetes_swaps_them(tmp_path: Path) -> None:
    port = free_port()
    file = write(tmp_path, port)
    for name, text in (("..1", "127.0.0.2\n127.0.0.3\n127.0.0.4\n"), ("..2", "127.0.0.2\n127.0.0.3\n127.0.0.5\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "web.list").write_text(text)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "web.list").symlink_to("..data/web.list")
    async with daemon(file, "--table", "memory", "--shadow") as running:
        await running.until("discovery.changed", added=["127.0.0.2", "127.0.0.3", "127.0.0.4"])
        (tmp_path / "..tmp").symlink_to("..2")
        (tmp_path / "..tmp").replace(tmp_path / "..data")
        await running.until("discovery.changed", added=["127.0.0.5"], removed=["127.0.0.4"])
        assert await running.stop() == 0
    assert not (tmp_path / "sources.json").exists()


@pytest.mark.long
async def test_records_of_a_name_are_followed_and_held_over_restarts_and_accidents(tmp_path: Path) -> None:
    port = free_port()
    control = ("--control", str(tmp_path / "control.sock"))
    with (
        socket.create_server(("127.0.0.3", port)),
        serves(tmp_path / "knot", "web 0 A 127.0.0.3", "web 0 A 127.0.0.2") as named,
    ):
        source = f'{{ dns = "web.example.net", nameserver = "{named.address}", min_ttl = "1s" }}'
        file = write(tmp_path, port, source)
        name = f"dns web.example.net A from {named.address} every 1s"
        async with daemon(file, "--table", "memory") as running:
            added = await running.until("discovery.changed")
            assert (added["source"], added["added"]) == (name, ["127.0.0.2", "127.0.0.3"])
            named.says("web 0 A 127.0.0.3", "web 0 A 127.0.0.2", "web 0 A 127.0.0.4", "web 0 A 127.0.0.5")
            await running.until("discovery.changed", added=["127.0.0.4", "127.0.0.5"])
            named.says("web 0 A 127.0.0.3", "web 0 A 127.0.0.4", "web 0 A 127.0.0.5")
            await running.until("discovery.changed", removed=["127.0.0.2"])

            named.says("web 0 A 127.0.0.3")
            held = await running.until("discovery.held")
            assert (held["servers"], held["todo"]) == (3, "lvs-healthd reload --force")
            await running.until("table.changed", operation="add_server", server=f"127.0.0.3:{port}")
            code, out, _ = await run_cli("status", "--check", *control)
            assert (code, f"source {name}: held" in out) == (1, True)
            code, out, _ = await run_cli("why", "web", f"127.0.0.4:{port}", *control)
            assert f"  source: {name}: 3 servers, since " in out
            code, out, _ = await run_cli("reload", "--force", *control)
            assert (code, "2 real servers removed" in out) == (0, True)
            await running.until("discovery.changed", accepted=True, removed=["127.0.0.4", "127.0.0.5"])

            named.says("web 0 A 127.0.0.3", "web 0 A 0.0.0.0")
            await running.until_line(lambda line: "of one host" in line.get("error", ""), "complaint of 0.0.0.0")
            named.says()
            await running.until_line(lambda line: "NXDOMAIN" in line.get("error", ""), "NXDOMAIN")
            named.server.kill()
            await running.until_line(lambda line: " does not answer; try: dig @" in line.get("error", ""), "silence")
            assert await running.stop() == 0
        assert json.loads((tmp_path / "sources.json").read_text())["sources"][0]["entries"] == [
            {"address": "127.0.0.3", "weight": 1, "place": name}
        ]

        async with daemon(file, "--table", "memory") as running:
            await running.until("table.changed", operation="add_server", server=f"127.0.0.3:{port}")
            await running.until("discovery.error", source=name, servers=1)
            assert await running.stop() == 0
