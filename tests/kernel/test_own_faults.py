"""Failures that may be the director's own: a daemon's network is broken and mended while it runs."""

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from lab.nginx import Nginx
from lab.topology import Topology
from lvs_healthd.director.overflows import EVERY_S, Overflows
from tests.daemon_process import DaemonProcess, Line
from tests.kernel.main_job import FALL, INTERVAL_S, RS1, RS2, both_in, configuration, on_director, ports_towards_servers

pytestmark = pytest.mark.asyncio(loop_scope="module")

A1, A2 = RS1.removesuffix(":80"), RS2.removesuffix(":80")
A1_6, A2_6 = "[2001:db8:2::11]:80", "[2001:db8:2::12]:80"
FAR = "203.0.113.66:80"
"""A server that nobody has. Its route leads over a real server, which does not forward."""
NO_VERDICT_S = (FALL + 2) * INTERVAL_S
"""How long a fault lasts that must not remove anybody, seconds: longer than `FALL` failures take."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(
    nat: Topology, web: tuple[Nginx, ...], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[DaemonProcess]:
    del web
    nat.ipvsadm.clear()
    six = f"""
[[service]]
name = "web6"
address = "[2001:db8:1::100]:80"
check = {{ type = "http", path = "/healthz" }}
real_server = ["{A1_6}", "{A2_6}"]

[[service]]
name = "far"
address = "192.0.2.100:81"
check = {{ type = "tcp" }}
real_server = ["{FAR}"]
"""
    nat.director.run(["ip", "route", "replace", "203.0.113.0/24", "via", A1])
    async with on_director(nat, configuration(tmp_path_factory.mktemp("daemon"), service=six)) as running:
        await both_in(running)
        for server in (A1_6, A2_6):
            await running.until("real_server.up", server=server)
        await running.until("real_server.down", server=FAR)
        yield running
    nat.ipvsadm.clear()


class Broken:
    """Commands on the director that break its network, and those that mend it."""

    def __init__(self, nat: Topology, running: DaemonProcess) -> None:
        self._nat = nat
        self._running = running
        self.began = 0

    async def run(self, *commands: str, stdin: str = "") -> None:
        """Run each of these commands on the director, and remember the current end of the log."""
        self.began = len(self._running.lines)
        for command in commands:
            await asyncio.to_thread(self._nat.director.run, command.split(), stdin=stdin)

    async def until(self, event: str, **fields: str) -> str:
        """Wait for an event since the last command, and return its reason."""
        line = await self._running.until(event, after=self.began, **fields)
        return str(line["reason"])

    async def unsure(self, server: str, why: str) -> str:
        """Wait until a check says since the last command that it is unsure for this reason, and return its words.

        The first probes that meet a fault may end before the kernel's report of it is read, so another reason may come
        first.
        """

        def is_it(line: Line) -> bool:
            return line["event"] == "check.unsure" and line["server"] == server and why in line["reason"]

        line = await self._running.until_line(is_it, f"check.unsure of {server}: {why}", after=self.began)
        return str(line["reason"])

    def downs(self) -> list[str]:
        """Return the servers that went down since the last command."""
        return [line["server"] for line in self._running.lines[self.began :] if line["event"] == "real_server.down"]

    async def nobody_goes_down(self) -> None:
        await asyncio.sleep(NO_VERDICT_S)
        assert self.downs() == []

    async def all_up_again(self, *servers: str) -> None:
        for server in servers:
            await self._running.until("real_server.up", after=self.began, server=server)


@pytest.fixture
def broken(nat: Topology, running: DaemonProcess) -> Broken:
    return Broken(nat, running)


@pytest.mark.parametrize(
    "kind", ["unreachable", *(pytest.param(kind, marks=pytest.mark.long) for kind in ("prohibit", "blackhole"))]
)
async def test_server_without_route_is_taken_out_while_others_are_reached(broken: Broken, kind: str) -> None:
    await broken.run(f"ip route add {kind} {A1}")
    reason = await broken.until("real_server.down", server=RS1)
    assert reason.startswith("no route from here: ")
    assert kind in reason
    assert f"ip route get {A1}" in reason
    await broken.until("table.changed", operation="delete_server", server=RS1)
    assert broken.downs() == [RS1]
    await broken.run(f"ip route delete {kind} {A1}")
    await broken.all_up_again(RS1)


async def test_ipv6_server_without_route_is_taken_out_too(broken: Broken) -> None:
    await broken.run("ip -6 route add unreachable 2001:db8:2::11")
    assert "unreachable" in await broken.until("real_server.down", server=A1_6)
    assert broken.downs() == [A1_6]
    await broken.run("ip -6 route delete unreachable 2001:db8:2::11")
    await broken.all_up_again(A1_6)


async def prohibit(broken: Broken, addresses: Sequence[str], verb: str) -> None:
    """Add or delete a prohibiting route to each address, all by one program: others must not be reached meanwhile."""
    await broken.run("ip -batch -", stdin="".join(f"route {verb} prohibit {address}\n" for address in addresses))


async def test_director_without_any_ipv4_route_removes_nobody_though_ipv6_is_reached(broken: Broken) -> None:
    await prohibit(broken, [A1, A2], "add")
    for server in (RS1, RS2):
        await broken.unsure(server, "nobody else is reached")
    await broken.nobody_goes_down()
    await prohibit(broken, [A1, A2], "delete")


REJECTS = {
    "port-unreachable": "reject",
    "host-unreachable": "reject with icmpx type host-unreachable",
    "admin-prohibited": "reject with icmpx type admin-prohibited",
}


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(rule, id=name, marks=() if name == "admin-prohibited" else pytest.mark.long)
        for name, rule in REJECTS.items()
    ],
)
async def test_reject_rule_in_our_own_output_chain_removes_nobody(broken: Broken, rule: str) -> None:
    await broken.run(
        "nft add table inet own",
        "nft add chain inet own output { type filter hook output priority 0 ; }",
        f"nft add rule inet own output ip daddr {A1} {rule}",
        f"nft add rule inet own output ip6 daddr 2001:db8:2::11 {rule}",
    )
    for server in (RS1, A1_6):
        assert "nft list ruleset" in await broken.unsure(server, "our own firewall")
    await broken.nobody_goes_down()
    await broken.run("nft delete table inet own")
    await broken.nobody_goes_down()  # and probes pass again, before a next rule makes them unsure again


async def test_reject_rule_of_the_server_takes_it_out(nat: Topology, broken: Broken) -> None:
    server = nat.servers[0]
    rule = "add rule inet filter input tcp dport 80 reject with icmpx type host-unreachable"
    await broken.run()
    chain = "add chain inet filter input { type filter hook input priority 0 ; }"
    server.run(["nft", f"add table inet filter; {chain}; {rule}"])
    assert "host unreachable" in await broken.until("real_server.down", server=RS1)
    await broken.until("real_server.down", server=A1_6)
    await broken.run()
    server.run(["nft", "delete table inet filter"])
    await broken.all_up_again(RS1, A1_6)


async def test_interface_without_carrier_removes_nobody(nat: Topology, running: DaemonProcess, broken: Broken) -> None:
    await broken.run(*ports_towards_servers(nat, "down"))
    for server in (RS1, RS2, A1_6, A2_6, FAR):
        await broken.unsure(server, "our interface servers has no carrier")
    assert "servers has no carrier" in (await running.until("network.impaired", after=broken.began))["fault"]
    await broken.nobody_goes_down()
    down = broken.began
    await broken.run(*ports_towards_servers(nat, "up"))
    over = await running.until("network.recovered", after=down)
    assert "servers has no carrier" in over["fault"]
    await broken.nobody_goes_down()


async def test_interface_that_is_down_removes_nobody(broken: Broken) -> None:
    await broken.run("ip link set servers down")
    for server in (RS1, RS2, A1_6, A2_6):
        await broken.unsure(server, "our interface servers is down")
    await broken.nobody_goes_down()
    began = broken.began
    await broken.run(
        "ip link set servers up",
        "ip -6 address add 2001:db8:2::1/64 dev servers nodad",
        f"ip route replace 203.0.113.0/24 via {A1}",
    )
    broken.began = began
    await broken.nobody_goes_down()


def sysctl(name: str, value: str = "") -> str:
    """Set a sysctl of the kernel as a whole, or return its value."""
    command = ["sysctl", "-n", name] if not value else ["sysctl", "-qw", f"{name}={value}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


async def test_full_connection_tracking_removes_nobody(running: DaemonProcess, broken: Broken) -> None:
    await broken.run(
        "nft add table inet own",
        "nft add chain inet own output { type filter hook output priority 0 ; }",
        "nft add rule inet own output ct state new counter",
    )
    most = sysctl("net.netfilter.nf_conntrack_max")
    try:
        sysctl("net.netfilter.nf_conntrack_max", "1")
        for server in (RS1, RS2, A1_6, A2_6):
            await broken.unsure(server, "nf_conntrack_max")
        fault = await running.until("network.impaired", after=broken.began)
        assert "connection tracking table is full" in fault["fault"]
        await broken.nobody_goes_down()
    finally:
        sysctl("net.netfilter.nf_conntrack_max", most)
    await running.until("network.recovered", after=broken.began)
    assert broken.downs() == []
    await broken.run("nft delete table inet own")


async def test_full_neighbour_table_is_noticed(nat: Topology) -> None:
    """Only the first network namespace has these counters, so a neighbour is added there."""
    del nat
    thresholds = [f"net.ipv4.neigh.default.gc_thresh{number}" for number in (1, 2, 3)]
    before = {name: sysctl(name) for name in thresholds}
    subprocess.run(["ip", "link", "add", "crowd", "type", "veth", "peer", "name", "crowd-peer"], check=True)
    try:
        for words in ("link set crowd-peer up", "link set crowd up", "address add 203.0.113.1/24 dev crowd"):
            subprocess.run(["ip", *words.split()], check=True)
        overflows = Overflows(time.monotonic)
        began = time.monotonic()
        overflows.turn()
        assert overflows.ongoing() == ()
        for name in thresholds:
            sysctl(name, "1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(20, 40):
                with contextlib.suppress(OSError):
                    sender.sendto(b"?", (f"203.0.113.{number}", 9))
        await asyncio.sleep(EVERY_S)
        assert "gc_thresh3" in overflows.during("203.0.113.66", began, time.monotonic())
        assert overflows.during("2001:db8::1", began, time.monotonic()) == ""
        assert len(overflows.ongoing()) == 1
    finally:
        for name, value in before.items():
            sysctl(name, value)
        subprocess.run(["ip", "link", "delete", "crowd"], check=True)
