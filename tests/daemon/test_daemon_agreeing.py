"""Whole daemons on one etcd: a server that only one of them cannot reach, and one that is dead for all."""

import asyncio
import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.daemon_process import TIMEOUT_S, DaemonProcess, daemon, run_cli
from tests.etcd import Etcd, etcd
from tests.probes.peers import free_port

NAMES = ("lvs1", "lvs2", "lvs3")


def write(folder: Path, name: str, port: int, probed: int, store: Etcd, agree: int = 2) -> Path:
    """Write the configuration of a director.

    port: that of the servers 127.0.0.2 and 127.0.0.3.
    probed: the port of 127.0.0.2 that this director probes.
    """
    own = folder / name
    own.mkdir(exist_ok=True)
    file = own / "config.toml"
    file.write_text(f"""
[daemon]
listen = ""
control = "{own}/control.sock"
state = "{own}/state.json"

[fleet]
store = "{store.url}"
agree = {agree}
name = "{name}"

[defaults.check]
interval = "200ms"
timeout = "100ms"

[[service]]
name = "web"
address = "127.0.0.100:{port}"
check = "tcp"
real_server = [{{ address = "127.0.0.2", check = {{ type = "tcp", port = {probed} }} }}, "127.0.0.3"]
""")
    return file


class Directors:
    """Three daemons. The first one probes 127.0.0.2 at a port of its own, which stands for its way there."""

    def __init__(self, folder: Path, store: Etcd) -> None:
        self.folder = folder
        self.store = store
        self.port, self.way = free_port(), free_port()
        self.running: list[DaemonProcess] = []
        self.server = f"127.0.0.2:{self.port}"

    def control(self, name: str) -> tuple[str, str]:
        return "--control", str(self.folder / name / "control.sock")

    async def hear_each_other(self) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            for name in NAMES:
                while (await self.agreement(name))["heard"] < 2:
                    await asyncio.sleep(0.1)

    async def agreement(self, name: str) -> dict[str, Any]:
        _, out, _ = await run_cli("status", "--json", *self.control(name))
        found: dict[str, Any] = json.loads(out)["daemon"]["agreement"]
        return found

    async def in_the_table(self) -> None:
        for each in self.running:
            for number in (2, 3):
                await each.until("table.changed", operation="add_server", server=f"127.0.0.{number}:{self.port}")


LONGEST_S = 20.0
"""For how long others can hold a server of the first director, seconds, instead of five minutes."""


@pytest.mark.long
async def test_server_that_one_director_cannot_reach_stays_there_for_a_while_and_one_that_is_dead_leaves_all(
    tmp_path: Path,
) -> None:
    with etcd(tmp_path / "etcd") as store, contextlib.ExitStack() as servers:
        them = Directors(tmp_path, store)
        dead = servers.enter_context(socket.create_server(("127.0.0.3", them.port)))
        way = servers.enter_context(socket.create_server(("127.0.0.2", them.way)))
        servers.enter_context(socket.create_server(("127.0.0.2", them.port)))
        async with contextlib.AsyncExitStack() as daemons:
            for name in NAMES:
                is_first = name == NAMES[0]
                file = write(tmp_path, name, them.port, them.way if is_first else them.port, store)
                before = f"import lvs_healthd.decide.agreeing as a; a.LONGEST_S = {LONGEST_S}" if is_first else ""
                running = await daemons.enter_async_context(daemon(file, "--table", "memory", before=before))
                them.running.append(running)
            await them.in_the_table()
            await them.hear_each_other()
            one, two, three = them.running

            way.close()
            await one.until("real_server.down", server=them.server)
            told = await one.until("veto.on", server=them.server)
            assert told["reason"] == "seen up by lvs2, lvs3: 1 of 2 needed see it down"
            (_, why, _), (code, check, _), (_, other, _) = await asyncio.gather(
                run_cli("why", "web", them.server, *them.control("lvs1")),
                run_cli("status", "--check", *them.control("lvs1")),
                run_cli("why", "web", them.server, *them.control("lvs2")),
            )
            assert not one.of("veto.off"), "the machine is too busy to ask in time"
            assert "  other directors: lvs2 up; lvs3 up\n" in why
            assert "seen up by lvs2, lvs3: 1 of 2 needed see it down; it goes in " in why
            assert (code, "veto: 1 server is down here, and held by other directors" in check) == (1, True)
            assert "  other directors: lvs1 down; lvs3 up\n" in other
            assert not one.of("table.changed", operation="delete_server")
            over = await one.until("veto.off", server=them.server)
            assert "the longest allowed" in over["reason"]
            assert LONGEST_S <= over["after_s"] < LONGEST_S + 5.0
            await one.until("table.changed", operation="delete_server", server=them.server)

            dead.close()
            for each in them.running:
                await each.until("table.changed", operation="delete_server", server=f"127.0.0.3:{them.port}")
            assert [
                each.of("table.changed", operation="delete_server", server=them.server) for each in (two, three)
            ] == [
                [],
                [],
            ]

            assert [await each.stop() for each in (two, three)] == [0, 0]
            store.kill()
            alone = await one.until("veto.alone")
            assert (alone["heard"], alone["needed"]) == (0, 1)
            found = await them.agreement("lvs1")
            assert (found["heard"], store.url in found["error"]) == (0, True)
            assert await one.stop() == 0
