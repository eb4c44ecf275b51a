"""SYN proxy: a flood of SYNs ends on the director, while real clients are served, even when a server fails."""

import asyncio
import contextlib
import secrets
import signal
import socket
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.load import Load, by_server
from lab.nginx import Nginx
from lab.topologies.wiring import CLIENT, CLIENT6
from lab.topology import Topology
from tests.daemon_process import DaemonProcess, daemon

HALF_OPEN = 500
"""Of each family: a burst that harms nobody, in a network of our own."""

PAUSE_S = 0.01
"""After every tenth, because an emulated machine drops what comes faster than it can take."""

ANNOUNCED_BY_SIX = "synproxy_mss = 1400\nsynproxy_wscale = 9\n"
TIMESTAMP_BYTES = 12
"""Of each segment, taken off what one may hold (RFC 7323)."""

ONE_BY_ONE = 20
"""Requests that real clients make after each change."""


@pytest.fixture(autouse=True)
def clean(nat: Topology) -> Iterator[None]:
    nat.ipvsadm.clear()
    yield
    nat.ipvsadm.clear()
    nat.director.run(["nft", "flush ruleset"])


def configuration(folder: Path, nat: Topology, *, synproxy: bool) -> Path:
    file = folder / "config.toml"
    services = {"four": (f"{nat.vip}:80", [f"{each.address}:80" for each in nat.servers])}
    services["six"] = (f"[{nat.vip6}]:80", [f"[{each.address6}]:80" for each in nat.servers])
    file.write_text(
        f'[daemon]\nlisten = ""\ncontrol = "{folder}/control"\nstate = "{folder}/state"\n'
        '[defaults.check]\ninterval = "500ms"\n'
        + "".join(
            f'[[service]]\nname = "{name}"\naddress = "{address}"\nscheduler = "rr"\ncheck = "tcp"\n'
            f"synproxy = {str(synproxy).lower()}\n"
            f"{ANNOUNCED_BY_SIX if synproxy and name == 'six' else ''}real_server = {servers}\n"
            for name, (address, servers) in services.items()
        )
    )
    return file


async def all_in(running: DaemonProcess, nat: Topology) -> None:
    for server in nat.servers:
        await running.until("table.changed", operation="add_server", server=f"{server.address}:80")
        await running.until("table.changed", operation="add_server", server=f"[{server.address6}]:80")


def announced(nat: Topology, address: str) -> tuple[int, int]:
    """Return the largest segment and the window scale that the director announces to a client of an address."""
    with nat.client.entered():
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        client = socket.socket(family, socket.SOCK_STREAM)
    with client:
        client.settimeout(10)
        client.connect((address, 80))
        segment = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) + TIMESTAMP_BYTES
        scales = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[6]
    return segment, scales & 0x0F if sys.byteorder == "little" else scales >> 4


def scheduled(nat: Topology) -> int:
    """Return how many connections IPVS has made for all services."""
    lines = nat.ipvsadm("-Ln", "--stats", "--exact").splitlines()
    return sum(int(line.split()[2]) for line in lines if line.startswith("TCP"))


async def settled(nat: Topology) -> int:
    """Return how many connections there were. Wait first, because the kernel adds up its counters every two seconds."""
    last, now = -1, scheduled(nat)
    while now != last:
        await asyncio.sleep(2.5)
        last, now = now, scheduled(nat)
    return now


def flood(nat: Topology) -> None:
    """Send SYNs to each address, each from another port, and never answer the replies."""
    with nat.client.entered():
        for family, source, target in ((socket.AF_INET, CLIENT, nat.vip), (socket.AF_INET6, CLIENT6, nat.vip6)):
            with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
                for port in range(20_000, 20_000 + HALF_OPEN):
                    raw.sendto(syn(family, source, target, port), (target, 0))
                    if port % 10 == 0:
                        time.sleep(PAUSE_S)


def syn(family: socket.AddressFamily, source: str, target: str, port: int) -> bytes:
    """Return one SYN (RFC 9293, 3.1) with its checksum."""
    head = struct.pack("!HHIIBBHHH", port, 80, secrets.randbits(32), 0, 5 << 4, 0x02, 64240, 0, 0)
    pseudo = socket.inet_pton(family, source) + socket.inet_pton(family, target)
    pseudo += struct.pack("!II", socket.IPPROTO_TCP, len(head))
    total = sum(struct.unpack(f"!{len(pseudo + head) // 2}H", pseudo + head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head[:16] + struct.pack("!H", ~total & 0xFFFF) + head[18:]


@pytest.mark.long
async def test_half_open_connections_end_at_the_director_and_real_clients_are_served(
    nat: Topology, web: tuple[Nginx, ...], tmp_path: Path
) -> None:
    async with daemon(configuration(tmp_path, nat, synproxy=False), namespace=nat.director) as running:
        await all_in(running, nat)
        # Without the SYN proxy, each SYN of the flood becomes a connection.
        await asyncio.to_thread(flood, nat)
        assert await settled(nat) > HALF_OPEN
        configuration(tmp_path, nat, synproxy=True)
        running.process.send_signal(signal.SIGHUP)
        await running.until("setting.changed", setting="net.netfilter.nf_conntrack_tcp_loose")
        assert await asyncio.to_thread(announced, nat, nat.vip) == (1460, 7)
        assert await asyncio.to_thread(announced, nat, nat.vip6) == (1400, 9)
        before = await settled(nat)
        await asyncio.to_thread(flood, nat)
        assert await settled(nat) == before
        with contextlib.ExitStack() as stack:
            loads = [stack.enter_context(Load.running(nat.client, vip, timeout_s=3.0)) for vip in (nat.vip, nat.vip6)]
            begun = time.monotonic()
            await asyncio.to_thread(flood, nat)
            await served(loads, begun, {"rs1", "rs2"})
            position = len(running.lines)
            web[0].kill()
            try:
                for name in ("four", "six"):
                    await running.until("table.changed", after=position, operation="delete_server", service=name)
                await served(loads, time.monotonic(), {"rs2"})
            finally:
                position = len(running.lines)
                web[0].start()
            for name in ("four", "six"):
                await running.until("table.changed", after=position, operation="add_server", service=name)
            await served(loads, time.monotonic(), {"rs1", "rs2"})
            done = sum(request.ok for load in loads for request in load.stop())
        # One connection for each request, except if a port is used again and keeps its connection. None for the flood.
        assert done / 2 < await settled(nat) - before < done + HALF_OPEN


async def served(loads: list[Load], since: float, servers: set[str]) -> None:
    """Assert that no request fails from now on, and that these servers answer."""
    for load in loads:
        requests = await asyncio.to_thread(load.wait_for, ONE_BY_ONE, since=since)
        assert [request.outcome for request in requests if not request.ok] == []
        assert by_server(requests).keys() == servers
