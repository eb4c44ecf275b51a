"""A director whose BIRD announces what the daemon has on lvs0, and a router. The table is in memory.

Both BIRDs use the configurations of examples/ as they stand.
"""

import asyncio
import contextlib
import socket
import statistics
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from signal import Signals

import pytest

from lab.netns import Namespace
from lvs_healthd.director import links
from tests.bird import Bird
from tests.daemon_process import DaemonProcess, Line, daemon, run_cli
from tests.namespaces import Server, dummy, namespace, server

EXAMPLES = Path(__file__).parents[2] / "examples"
VIP, VIP6, RS = "192.0.2.100", "2001:db8:1::100", "198.51.100.11"
PATIENCE_S = 30.0
AT_MOST_S = 0.1
"""How long it may take from the decision to the router's table, seconds."""

_ROUTE_GROUPS = 0x40 | 0x400
"""RTMGRP_IPV4_ROUTE and RTMGRP_IPV6_ROUTE (linux/rtnetlink.h)."""


class Table:
    """The routes to single addresses in a router's kernel, and when each came and went, Unix time."""

    def __init__(self, at: Namespace, birds: list[Bird]) -> None:
        self._birds = birds
        with at.entered():
            self._reports = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self._reports.bind((0, _ROUTE_GROUPS))
        self.seen: list[tuple[str, bool, float]] = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        while data := self._reports.recv(65536):
            now = time.time()
            for message in links.parser().parse(data):
                kind, address = message["event"], message.get_attr("RTA_DST")
                if kind in {"RTM_NEWROUTE", "RTM_DELROUTE"} and address and message["dst_len"] in {32, 128}:
                    self.seen.append((address, kind == "RTM_NEWROUTE", now))

    async def until(self, address: str, *, there: bool, after: int = 0) -> float:
        """Wait for a route to come or go, in what was seen from a position on. Return when that was, Unix time."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            for seen, is_there, at in self.seen[after:]:
                if (seen, is_there) == (address, there):
                    return at
            await asyncio.sleep(0.01)
        states = [bird.ask(*words) for bird in self._birds for words in (("show", "protocols"), ("show", "route"))]
        raise AssertionError(f"{address} is not {'there' if there else 'gone'}: {self.seen[after:]} {''.join(states)}")


class Site:
    def __init__(self, director: Namespace, router: Namespace, folder: Path) -> None:
        self.director, self.router, self.folder = director, router, folder
        names = ((director, "anycast-bird.conf"), (router, "anycast-router-bird.conf"))
        self.birds = [Bird(at, folder / at.name, (EXAMPLES / name).read_text()) for at, name in names]
        self.routes = Table(router, self.birds)
        self.running: DaemonProcess
        self.web: Server

    def configure(self, *, withdraw_s: float = 0.0, announce_s: float = 0.5) -> Path:
        file = self.folder / "config.toml"
        how = f'announce = "lvs0"\nwithdraw_after = "{withdraw_s}s"\nannounce_after = "{announce_s}s"'
        check = 'check = { type = "tcp", expect = "hi", interval = "200ms", timeout = "200ms", rise = 2, fall = 2 }'
        file.write_text(f"""
[daemon]
listen = ""
control = "{self.folder}/control.sock"
state = "{self.folder}/state.json"
resync = "1s"
[defaults.service]
{how}
{check}
[[service]]
name = "web"
address = "{VIP}:80"
real_server = ["{RS}:8080"]
[[service]]
name = "web6"
address = "[{VIP6}]:80"
forward = "tun"
real_server = ["{RS}:80"]
check = {{ type = "tcp", port = 8080, interval = "200ms", timeout = "200ms", rise = 2, fall = 2 }}
""")
        return file

    async def verb(self, *words: str) -> str:
        _, out, err = await run_cli(*words, "--control", f"{self.folder}/control.sock")
        return out + err

    async def took(self, event: str, vip: str, *, there: bool, after: tuple[int, int]) -> float:
        """Wait until the daemon and the router have changed. Return how long the router took after the decision."""
        line = await self.running.until(event, vip=vip, after=after[0])
        routed = await self.routes.until(vip, there=there, after=after[1])
        took_s = routed - decided(line)
        sys.stdout.write(f"{vip} {event}: {1000 * took_s:.0f} ms from the decision to the router's table\n")
        return took_s

    @property
    def position(self) -> tuple[int, int]:
        return len(self.running.lines), len(self.routes.seen)


def decided(line: Line) -> float:
    """Return when what a line tells was decided, Unix time. The line is written when the kernel has done it."""
    return datetime.fromisoformat(line["timestamp"]).timestamp() - float(line["took_s"])


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Site]:
    """Make a director, which has the real server's address itself, and a router."""
    with namespace("director") as director, namespace("router") as router:
        dummy(director, "lvs0")
        director.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", router.name])
        for number, at in enumerate((director, router), 1):
            at.run(["ip", "address", "add", f"192.0.2.{number}/24", "dev", "eth0"])
            at.run(["ip", "address", "add", f"2001:db8:1::{number}/64", "dev", "eth0", "nodad"])
            at.run(["ip", "link", "set", "eth0", "up"])
        director.run(["ip", "address", "add", f"{RS}/32", "dev", "lo"])
        yield Site(director, router, tmp_path)


@contextlib.asynccontextmanager
async def site(network: Site, **how: float) -> AsyncIterator[Site]:
    """Run both BIRDs and the daemon until the router has the routes."""
    async with contextlib.AsyncExitStack() as stack:
        network.web = await stack.enter_async_context(server(network.director, RS))
        for bird in network.birds:
            stack.callback(bird.stop)
            bird.start()
        file = network.configure(**how)
        prefix = network.director.prefix
        network.running = await stack.enter_async_context(daemon(file, "--table", "memory", command=prefix))
        for vip in (VIP, VIP6):
            await network.running.until("announce.on", vip=vip)
        for vip in (VIP, VIP6):
            await network.routes.until(vip, there=True)
        yield network


async def test_route_follows_the_servers_within_a_tenth_of_a_second_of_the_decision(network: Site) -> None:
    async with site(network) as made:
        before = made.position
        await made.web.stop()
        took = [await made.took("announce.off", vip, there=False, after=before) for vip in (VIP, VIP6)]
        assert f"WITHDRAWN: {VIP} on lvs0: web: no real server may serve" in await made.verb("status", "web")
        before = made.position
        await made.web.start()
        took += [await made.took("announce.on", vip, there=True, after=before) for vip in (VIP, VIP6)]
        assert statistics.median(took) < AT_MOST_S
        assert f"address: {VIP} on lvs0 announced, since " in await made.verb("why", "web", RS)
        # Somebody takes it off: the next resync puts it back.
        before = made.position
        made.director.run(["ip", "address", "delete", f"{VIP}/32", "dev", "lvs0"])
        await made.routes.until(VIP, there=False, after=before[1])
        await made.running.until("announce.drift", vip=VIP, found="missing", after=before[0])
        await made.routes.until(VIP, there=True, after=before[1])
        # The end of the daemon, however it comes, leaves the addresses as they are.
        before = made.position
        await made.running.stop(Signals.SIGTERM)
        await asyncio.sleep(1.0)
        assert made.routes.seen[before[1] :] == []


@pytest.mark.long
async def test_what_becomes_of_the_route_when_programs_die(network: Site) -> None:
    async with site(network, announce_s=1.0) as made:
        before = made.position
        await made.running.stop(Signals.SIGKILL)
        await asyncio.sleep(1.0)
        assert made.routes.seen[before[1] :] == [], "a daemon that is killed leaves it announced"
        begun = time.time()
        made.birds[0].stop(Signals.SIGKILL)
        gone_s = await made.routes.until(VIP, there=False, after=before[1]) - begun
        before = made.position
        begun = time.time()
        made.birds[0].start()
        back_s = await made.routes.until(VIP, there=True, after=before[1]) - begun
        sys.stdout.write(f"BIRD killed: gone after {1000 * gone_s:.0f} ms, back {back_s:.1f} s after its start\n")
        assert gone_s < 1.0
        # The daemon that starts again finds the address, and takes it off once the server is proven dead.
        await made.web.stop()
        file = made.configure()
        before = made.position
        async with daemon(file, "--table", "memory", command=made.director.prefix) as running:
            made.running = running
            for vip in (VIP, VIP6):
                await made.took("announce.off", vip, there=False, after=(0, before[1]))


@pytest.mark.long
async def test_servers_that_flap_faster_than_the_hysteresis_move_no_route(network: Site) -> None:
    async with site(network, withdraw_s=3.0, announce_s=3.0) as made:
        before = made.position
        for _ in range(6):
            await made.web.stop()
            await made.running.until("service.fallback", after=before[0])
            await asyncio.sleep(0.5)
            position = len(made.running.lines)
            await made.web.start()
            await made.running.until("real_server.up", after=position)
            await asyncio.sleep(0.5)
        assert made.routes.seen[before[1] :] == []
        assert made.running.of("announce.off") == []
