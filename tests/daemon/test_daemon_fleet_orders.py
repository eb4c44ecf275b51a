"""Two whole daemons on one real etcd: what an operator orders on one of them for the fleet."""

import asyncio
import base64
import contextlib
import json
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import TIMEOUT_S, daemon, run_cli
from tests.etcd import Etcd, etcd
from tests.probes.peers import free_port

FOLDER = b"/lvs-healthd/overrides/"


def write(folder: Path, name: str, port: int, store: Etcd) -> Path:
    """Write the configuration of a director."""
    own = folder / name
    own.mkdir()
    file = own / "config.toml"
    file.write_text(f"""
[daemon]
listen = ""
control = "{own}/control.sock"
state = "{own}/state.json"
resync = "1s"

[fleet]
store = "{store.url}"
name = "{name}"

[[service]]
name = "web"
address = "127.0.0.100:{port}"
check = {{ type = "tcp", interval = "200ms", timeout = "100ms" }}
real_server = ["127.0.0.2", "127.0.0.3"]
""")
    return file


def keys(store: Etcd) -> list[dict[str, Any]]:
    """Return the orders in etcd."""
    found: list[dict[str, Any]] = store.post("kv/range", key=FOLDER, range_end=FOLDER[:-1] + b"0").get("kvs", [])
    return [each for each in found if base64.b64decode(each["key"]) != FOLDER + b"id"]


@pytest.mark.long
async def test_order_for_the_fleet_counts_everywhere_and_survives_etcd_and_a_restart(tmp_path: Path) -> None:
    port = free_port()
    one, other = f"127.0.0.2:{port}", f"127.0.0.3:{port}"

    def control(name: str) -> tuple[str, str]:
        return "--control", str(tmp_path / name / "control.sock")

    async def states(name: str) -> dict[str, str]:
        _, out, _ = await run_cli("status", "--json", *control(name))
        [service] = json.loads(out)["services"]
        return {each["server"]: each["override"] for each in service["real_servers"] if each["override"]}

    with etcd(tmp_path / "etcd") as store, contextlib.ExitStack() as servers:
        for number in (2, 3):
            servers.enter_context(socket.create_server((f"127.0.0.{number}", port)))
        files = {name: write(tmp_path, name, port, store) for name in ("lvs1", "lvs2")}
        async with daemon(files["lvs1"], "--table", "memory") as first:
            async with daemon(files["lvs2"], "--table", "memory") as second:
                for each in (first, second):
                    await each.until("table.changed", operation="add_server", server=one)
                    await each.until("table.changed", operation="add_server", server=other)

                drain = ("drain", "web", "127.0.0.2", "--fleet", "--reason", "kernel update")
                code, out, error = await run_cli(*drain, *control("lvs1"))
                assert (code, out) == (0, f"web {one}: drained\n"), error
                for each in (first, second):
                    told = await each.until("override.set", server=one)
                    assert (told["director"], told["reason"]) == ("lvs1", "kernel update")
                    await each.until("real_server.drained", server=one)

                code, _, _ = await run_cli("weight", "web", other, "7", "--fleet", "--for", "3s", *control("lvs2"))
                assert code == 0
                assert [bool(int(each.get("lease", 0))) for each in keys(store)] == [False, True]
                for each in (first, second):
                    await each.until("override.ended", server=other, why="its time is over")
                async with asyncio.timeout(TIMEOUT_S):
                    while len(keys(store)) > 1:
                        await asyncio.sleep(0.2)

                store.kill()
                code, _, error = await run_cli("enable", "web", one, "--fleet", *control("lvs1"))
                assert code == 1
                assert "no connection" in error
            async with daemon(files["lvs2"], "--table", "memory") as second:
                await second.until("table.changed", operation="add_server", server=other)
                assert "on lvs1 for the fleet" in (await states("lvs2"))[one]
                store.start()
                code, _, error = await run_cli("enable", "web", one, "--fleet", *control("lvs2"))
                assert code == 0, error
                for each in (first, second):
                    await each.until("override.ended", server=one)
                assert await states("lvs1") == await states("lvs2") == {}
                assert keys(store) == []

                before = len(second.lines)
                assert (await run_cli(*drain, *control("lvs1")))[0] == 0
                await second.until("override.set", server=one, after=before)
                store.kill()
                shutil.rmtree(store.folder / "data")
                store.start()
                for number in range(9):
                    store.put(f"/somebody/{number}", b"else")
                for each in (first, second):
                    await each.until("override.lost")
                assert await states("lvs1") == await states("lvs2") != {}
                for name in ("lvs1", "lvs2"):
                    code, _, error = await run_cli("enable", "web", one, "--fleet", *control(name))
                    assert (code, "type the same there" in error) == (0, True), error
                assert await states("lvs1") == await states("lvs2") == {}
