"""A daemon whose checks go through its services: one over tcp and one over udp, each with a plain check beside it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from lab.netns import Namespace
from lab.nginx import Nginx
from lab.topology import Topology
from lab.udp import UdpServer
from tests.daemon_process import DaemonProcess, Line, daemon, run_cli

INTERVAL_S, TIMEOUT_S, RISE, FALL = 1.0, 0.8, 2, 3
RESYNC_S = 2.0
NO_VERDICT_S = (FALL + 3) * INTERVAL_S
"""How long a fault lasts that must not remove anybody, seconds: longer than `FALL` failures take."""
TIMEOUT_OF_WAIT_S = 60.0
"""Far more than anything here takes, seconds."""
PORT = 5300
"""The port of the udp service."""

_HEAD = """
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"
resync = "{resync_s:g}s"
probe_workers = {workers}

[defaults.check]
interval = "{interval_ms:g}ms"
timeout = "{timeout_ms:g}ms"
rise = {rise}
fall = {fall}
"""

TCP_CHECKS = '[{ type = "tcp" }, { type = "tcp", name = "path", through = "vip" }]'
_ASKS = 'type = "udp", send = "?", expect = "3f rs"'
UDP_CHECKS = f'[{{ {_ASKS} }}, {{ {_ASKS}, name = "path", through = "vip" }}]'


def service(name: str, address: str, servers: Sequence[str], *, keys: str, checks: str = TCP_CHECKS) -> str:
    """Return one service of a configuration."""
    protocol = "udp" if checks == UDP_CHECKS else "tcp"
    listed = ", ".join(f'"{server}"' for server in servers)
    return (
        f'\n[[service]]\nname = "{name}"\naddress = "{address}"\nprotocol = "{protocol}"\nscheduler = "rr"\n{keys}\n'
        f"check = {checks}\nreal_server = [{listed}]\n"
    )


class Running:
    """A running daemon, and what its log says since the last command on a machine."""

    def __init__(self, topology: Topology, process: DaemonProcess, folder: Path) -> None:
        self.topology = topology
        self.process = process
        self.folder = folder
        self.began = 0

    async def on(self, machine: Namespace, *commands: str) -> None:
        """Run these commands on a machine, and remember the current end of the log."""
        self.began = len(self.process.lines)
        for command in commands:
            await asyncio.to_thread(machine.run, command.split())

    async def until(self, event: str, **fields: str) -> Line:
        """Wait for an event since the last command."""
        return await self.process.until(event, after=self.began, **fields)

    async def unsure(self, name: str, words: str) -> str:
        """Wait until a path check of a service is unsure with these words in its reason, and return the reason."""

        def is_it(line: Line) -> bool:
            return line["event"] == "check.unsure" and line["service"] == name and words in line["reason"]

        return str((await self.process.until_line(is_it, f"check.unsure with {words!r}", after=self.began))["reason"])

    def since(self, event: str, **fields: str) -> list[Line]:
        """Return the events of a kind since the last command."""
        return [
            line
            for line in self.process.lines[self.began :]
            if line["event"] == event and all(line.get(key) == value for key, value in fields.items())
        ]

    async def nobody_goes_down(self) -> None:
        await asyncio.sleep(NO_VERDICT_S)
        assert self.since("real_server.down") == []

    async def path_down(self, name: str, server: str) -> str:
        """Wait until a server is down, check that its path check took it out, and return the reason."""
        line = await self.until("real_server.down", service=name, server=server)
        assert line["check"] == "path"
        assert line["reason"].startswith("answers on its own address, not by "), line
        return str(line["reason"])

    async def all_sure(self) -> None:
        """Wait until no probe is unsure any more."""
        async with asyncio.timeout(TIMEOUT_OF_WAIT_S):
            while json.loads(await self.cli("status", "--json"))["daemon"]["probes_unsure"]:
                await asyncio.sleep(INTERVAL_S)

    async def all_up(self) -> None:
        """Wait until every real server of every service is up."""
        async with asyncio.timeout(TIMEOUT_OF_WAIT_S):
            while any(
                server["verdict"] != "up"
                for service in json.loads(await self.cli("status", "--json"))["services"]
                for server in service["real_servers"]
            ):
                await asyncio.sleep(INTERVAL_S)

    async def cli(self, *words: str) -> str:
        """Return what a verb prints."""
        control = ("--control", str(self.folder / "control.sock"))
        _, out, err = await run_cli(*words, *control, namespace=self.topology.director)
        return out + err


def marks(topology: Topology) -> dict[str, str]:
    """Return the server of each mark service in the kernel's table, by ipvsadm's words for the service."""
    found = {}
    for line in topology.ipvsadm.saved().splitlines():
        words = line.split()
        if words[:2] == ["-a", "-f"]:
            at = words.index("-r")
            found[" ".join(words[1:at])] = " ".join(words[at:])
    return found


@contextlib.asynccontextmanager
async def running(
    topology: Topology, folder: Path, services: Sequence[str], *, workers: int = 1
) -> AsyncIterator[Running]:
    """Run a daemon on the director with these services.

    workers: how many processes run its probes.
    """
    file = folder / "config.toml"
    head = _HEAD.format(
        folder=folder,
        resync_s=RESYNC_S,
        workers=workers,
        interval_ms=INTERVAL_S * 1000,
        timeout_ms=TIMEOUT_S * 1000,
        rise=RISE,
        fall=FALL,
    )
    file.write_text(head + "".join(services))
    topology.ipvsadm.clear()
    async with daemon(file, namespace=topology.director) as process:
        yield Running(topology, process, folder)
    topology.ipvsadm.clear()


@contextlib.contextmanager
def served(topology: Topology, *, vips: bool) -> Iterator[None]:
    """Run a web server and a udp server on each real server.

    vips: whether they have the VIPs.
    """
    with contextlib.ExitStack() as stack:
        for server in topology.servers:
            stack.enter_context(Nginx.serving(server, ports=(80, 81, 82, 83)))
            own = (topology.vip, topology.vip6) if vips else ()
            stack.enter_context(UdpServer.serving(server, ports=(PORT,), vips=own))
        yield
