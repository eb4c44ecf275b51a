"""Two directors between which a real keepalived moves the address. The network is namespaces; the table is in memory.

keepalived runs its VRRP part only, which needs no IPVS.
"""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from lab.netns import Namespace
from tests.daemon_process import DaemonProcess, daemon, run_cli
from tests.keepalived import Keepalived
from tests.namespaces import Server, namespace, server

VIP, RS = "192.0.2.100", "198.51.100.11"
ADVERTISED_S = 0.1
"""How often the master says that it is there. A backup takes over after three silent ones and a bit."""
PATIENCE_S = 30.0


class Director:
    """A namespace with a keepalived and a daemon, or with none while they are stopped."""

    def __init__(self, at: Namespace, folder: Path, priority: int) -> None:
        self.at = at
        self.folder = folder
        self.folder.mkdir()
        self.track = folder / "track"
        self.control = folder / "control.sock"
        self.priority = priority
        self.keepalived: Keepalived
        self.running: DaemonProcess

    def configure(self, *, fault: str = "any", weight: int = 0) -> None:
        (self.folder / "config.toml").write_text(f"""
[daemon]
listen = ""
control = "{self.control}"
state = "{self.folder}/state.json"
resync = "1s"
[pair]
active_when = "vip-present"
track_file = "{self.track}"
track_fault = "{fault}"
track_after = "0s"
track_back = "1s"
[[service]]
name = "web"
address = "{VIP}:80"
check = {{ type = "tcp", expect = "hi", interval = "500ms", timeout = "500ms", rise = 1, fall = 2 }}
real_server = ["{RS}:8080"]
""")
        self.keepalived = Keepalived(
            self.at,
            self.folder,
            f"""
global_defs {{
    vrrp_version 3
}}
track_file lvs_healthd {{
    file {self.track}
    weight {weight}
    init_file 1
}}
vrrp_instance web {{
    state BACKUP
    interface eth0
    virtual_router_id 7
    priority {self.priority}
    advert_int {ADVERTISED_S}
    track_file {{
        lvs_healthd
    }}
    virtual_ipaddress {{
        {VIP}/32 dev eth0
    }}
}}
""",
        )

    @property
    def has_address(self) -> bool:
        return f" {VIP}/" in self.at.run(["ip", "-o", "-4", "address"]).stdout

    @property
    def role(self) -> str:
        """The event that the daemon has last told about its role."""
        return str([line["event"] for line in self.running.lines if line["event"].startswith("pair.")][-1])

    async def ok(self) -> tuple[int, str]:
        code, out, _ = await run_cli("ok", "web", "--control", str(self.control))
        return code, out


class Pair:
    def __init__(self, network: Namespace, a: Director, b: Director, web: Server) -> None:
        self.network = network
        self.a, self.b = a, b
        self.web = web

    @property
    def holders(self) -> str:
        return "".join(name for name, each in (("a", self.a), ("b", self.b)) if each.has_address)

    async def until(self, holders: str, *, what: str) -> float:
        """Wait until the address is there. Return how long that took, seconds, and print it."""
        return await self.waits(lambda: self.holders == holders, f"{what}: held by {holders}, ")

    async def waits(self, is_done: Callable[[], bool], what: str) -> float:
        begun = time.monotonic()
        while not is_done():
            assert time.monotonic() < begun + PATIENCE_S, f"{what} {self.holders}: {self.logs()}"
            await asyncio.sleep(0.01)
        took_s = time.monotonic() - begun
        sys.stdout.write(f"{what} {took_s:.2f} s\n")
        return took_s

    def logs(self) -> str:
        return "\n".join(each.keepalived.log for each in (self.a, self.b))


@pytest.fixture
def directors(tmp_path: Path) -> Iterator[tuple[Namespace, Director, Director]]:
    """Make two namespaces with an interface each on a bridge in a third, and a real server that both reach."""
    with contextlib.ExitStack() as stack:
        network, first, second = [stack.enter_context(namespace(name)) for name in ("net", "a", "b")]
        network.run(["ip", "link", "add", "br0", "up", "type", "bridge"])
        for number, each in enumerate((first, second), 1):
            port = f"p{number}"
            words = ["link", "add", port, "up", "master", "br0", "type", "veth"]
            network.run(["ip", *words, "peer", "name", "eth0", "netns", each.name])
            for line in (
                f"address add 192.0.2.{number}/24 dev eth0",
                f"address add 198.51.100.{number}/24 dev eth0",
                "link set eth0 up",
            ):
                each.run(["ip", *line.split()])
        network.run(["ip", "address", "add", f"{RS}/24", "dev", "br0"])
        yield network, Director(first, tmp_path / "a", 150), Director(second, tmp_path / "b", 100)


@contextlib.asynccontextmanager
async def pair(
    directors: tuple[Namespace, Director, Director], *, fault: str = "any", weight: int = 0
) -> AsyncIterator[Pair]:
    """Run both daemons, then both keepalived, until the first director has the address."""
    network, a, b = directors
    async with contextlib.AsyncExitStack() as stack:
        web = await stack.enter_async_context(server(network, RS))
        for each in (a, b):
            each.configure(fault=fault, weight=weight)
            file = each.folder / "config.toml"
            each.running = await stack.enter_async_context(daemon(file, "--table", "memory", namespace=each.at))
            stack.callback(each.keepalived.stop)
        for each in (a, b):
            await each.running.until("track.changed", value=0)
            each.keepalived.start()
        made = Pair(network, a, b, web)
        await made.until("a", what="both started")
        await a.running.until("pair.active", vip=VIP)
        yield made


@pytest.mark.long
async def test_takeovers_of_a_running_pair(directors: tuple[Namespace, Director, Director]) -> None:
    """The roles follow keepalived in each, and the table of the new master is right at once."""
    async with pair(directors) as both:
        a, b = both.a, both.b

        async def moved(what: str, holders: str, *, new: Director) -> None:
            """Wait until the address is there, and assert that the new director knows and serves."""
            await both.until(holders, what=what)
            await new.running.until_line(lambda _: new.role == "pair.active", f"pair.active after {what}")
            assert await new.ok() == (0, "web: 1 of 1 real servers serve\n")

        assert await b.ok() == (0, "web: 1 of 1 real servers serve\n"), "a standby director is warm"

        a.keepalived.stop()
        await moved("master stopped", "b", new=b)
        a.keepalived.start()
        await moved("old master back", "a", new=a)

        both.network.run(["ip", "link", "set", "p1", "down"])
        await moved("link of the master down", "b", new=b)
        both.network.run(["ip", "link", "set", "p1", "up"])
        await moved("link back", "a", new=a)

        a.keepalived.freeze()
        await moved("master frozen: both have the address", "ab", new=b)
        assert [(await each.ok())[0] for each in (a, b)] == [0, 0], "nothing harms while both are active"
        a.keepalived.thaw()
        await moved("master thawed", "a", new=a)

        a.keepalived.kill()
        await moved("master killed: it leaves the address behind", "ab", new=b)
        a.at.run(["ip", "address", "delete", f"{VIP}/32", "dev", "eth0"])
        await a.running.until_line(lambda _: a.role == "pair.standby", "pair.standby")
        for each in (a, b):
            assert each.running.of("table.changed", operation="delete_server") == []
            assert len(each.running.of("table.changed", operation="add_server")) == 1


async def test_track_file_moves_the_address_and_brings_it_back(
    directors: tuple[Namespace, Director, Director],
) -> None:
    """The master's own way to the servers breaks; VRRP's interface does not."""
    async with pair(directors) as both:
        a, b = both.a, both.b
        a.at.run(["ip", "route", "add", "blackhole", f"{RS}/32"])
        await both.waits(lambda: a.track.read_text() == "1\n", "own way broken: the file says 1 after")
        await both.until("b", what="the file says 1")
        await b.running.until("pair.active")
        assert (await a.ok())[0] == 0, "its table is right, and unsure probes remove nothing"
        assert b.track.read_text() == "0\n"
        a.at.run(["ip", "route", "delete", "blackhole", f"{RS}/32"])
        await both.waits(lambda: a.track.read_text() == "0\n", "way mended: the file says 0 after")
        await both.until("a", what="the file says 0")
        # A daemon that dies or stops leaves the file, and keepalived the address.
        for number in (signal.SIGTERM, signal.SIGKILL):
            running = (a if number is signal.SIGTERM else b).running
            await running.stop(number)
        assert [each.track.read_text() for each in (a, b)] == ["0\n", "0\n"]
        assert both.holders == "a"


@pytest.mark.long
async def test_missing_or_empty_file_never_means_healthy(directors: tuple[Namespace, Director, Director]) -> None:
    """keepalived itself takes it for 0, so it must not last, nor be there when keepalived starts."""
    async with pair(directors) as both:
        a = both.a
        await both.web.stop()
        await both.waits(lambda: a.track.read_text() == "1\n", "no server: the file says 1 after")
        for harm in (a.track.unlink, partial(a.track.write_text, "")):
            position = len(a.running.lines)
            harm()
            await a.running.until_line(
                lambda line: str(line.get("reason")).startswith("somebody has removed or emptied it"),
                "track.changed",
                after=position,
            )
            assert a.track.read_text() == "1\n"
    # Before the daemon has ever run, init_file 1 makes keepalived begin in its fault state.
    a.track.unlink()
    a.keepalived.start()
    async with asyncio.timeout(PATIENCE_S):
        while not (a.track.exists() and "FAULT" in a.keepalived.log):
            await asyncio.sleep(0.01)
    assert a.track.read_text().strip() == "1"
    assert not a.has_address
    a.keepalived.stop()


@pytest.mark.parametrize(
    ("fault", "weight", "holders"),
    [
        ("own", 0, "a"),
        pytest.param("any", 0, "", marks=pytest.mark.long),
        pytest.param("any", -60, "a", marks=pytest.mark.long),
    ],
)
@pytest.mark.long
async def test_servers_that_are_dead_for_both(
    directors: tuple[Namespace, Director, Director], fault: str, weight: int, holders: str
) -> None:
    """With weight 0 and "any" neither has the address. By default it stays, and clients are refused."""
    async with pair(directors, fault=fault, weight=weight) as both:
        await both.web.stop()
        for each in (both.a, both.b):
            await each.running.until("service.fallback")
            if fault == "any":
                await each.running.until("track.changed", value=1)
        if holders:
            await asyncio.sleep(10 * ADVERTISED_S)
            assert both.holders == holders
        else:
            await both.until("", what="dead for both")
