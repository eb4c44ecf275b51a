"""Two directors with a real keepalived and the kernel's sync daemons, and clients that never stop asking."""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.ipvsadm import Ipvsadm
from lab.load import Load, by_server
from lab.netns import Namespace
from lab.nginx import Nginx
from lab.topologies.wiring import ip_batch, take_down
from lab.topology import Topology
from lab.wait import wait_until
from tests.daemon_process import DaemonProcess, daemon
from tests.vrrp import Keepalived

NETWORK = "198.51.100"
ENOUGH = 20
"""How many requests are waited for before and after the takeover."""

CONFIG = """
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"
[pair]
active_when = "vip-present"
track_file = "{folder}/track"
[ipvs.sync.master]
interface = "eth0"
syncid = 7
[ipvs.sync.backup]
interface = "eth0"
syncid = 7
[[service]]
name = "web"
address = "{vip}:80"
scheduler = "rr"
forward = "dr"
check = {{ type = "tcp", interval = "1s", timeout = "1s", rise = 1, fall = 3 }}
real_server = ["{servers}"]
"""

VRRP = """
track_file lvs_healthd {{
    file {folder}/track
    weight 0
    init_file 1
}}
vrrp_instance web {{
    state BACKUP
    interface eth0
    virtual_router_id 7
    priority {priority}
    advert_int 1
    nopreempt
    track_file {{
        lvs_healthd
    }}
    virtual_ipaddress {{
        {vip}/32 dev eth0
    }}
}}
"""


@contextlib.contextmanager
def second_director(topology: Topology) -> Iterator[Namespace]:
    """Put another director beside the first one, and leave the address to VRRP."""
    other = Namespace("director-b")
    port = "servers9"
    ip_batch(
        [
            f"netns add {other.name}",
            f"link add eth0 netns {other.name} type veth peer name {port} netns {topology.router.name}",
        ]
    )
    try:
        ip_batch(
            [f"link set {port} master servers addrgenmode none", f"link set {port} up"],
            inside=topology.router,
        )
        ip_batch(
            [
                "link set lo up",
                f"address add {NETWORK}.3/24 dev eth0",
                "link set eth0 up",
                f"route add default via {NETWORK}.1",
            ],
            inside=other,
        )
        ip_batch([f"address delete {topology.vip}/32 dev eth0"], inside=topology.director)
        yield other
    finally:
        take_down([other])


class Connection:
    """A connection of a client that stays open."""

    def __init__(self, client: Namespace, address: str) -> None:
        with client.entered():
            self._socket = socket.create_connection((address, 80), timeout=30.0)

    def ask(self) -> str:
        """Return the name of the server that answers. Raises `OSError` when the connection is gone."""
        self._socket.sendall(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n")
        answer = b""
        while not answer.endswith(b"\n") or b"\r\n\r\n" not in answer:
            piece = self._socket.recv(4096)
            if not piece:
                raise ConnectionResetError
            answer += piece
        return answer.split()[-1].decode()

    def close(self) -> None:
        self._socket.close()


def has_address(director: Namespace, vip: str) -> bool:
    return f" {vip}/" in director.run(["ip", "-o", "-4", "address"]).stdout


def known_connections(director: Namespace) -> int:
    """Return how many open connections a director's kernel knows."""
    return director.run(["cat", "/proc/net/ip_vs_conn"]).stdout.count(" ESTABLISHED ")


@pytest.mark.long
async def test_takeover_under_traffic_finds_the_table_right_and_keeps_connections(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        topology = stack.enter_context(Topology.dr())
        directors = (topology.director, stack.enter_context(second_director(topology)))
        for server in topology.servers:
            stack.enter_context(Nginx.serving(server))
        servers = '", "'.join(server.address for server in topology.servers)
        running: list[DaemonProcess] = []
        vrrp: list[Keepalived] = []
        for name, at, priority in zip("ab", directors, (150, 100), strict=True):
            folder = tmp_path / name
            folder.mkdir()
            file = folder / "config.toml"
            file.write_text(CONFIG.format(folder=folder, vip=topology.vip, servers=servers))
            running.append(await stack.enter_async_context(daemon(file, command=at.prefix)))
            vrrp.append(Keepalived(at, folder, VRRP.format(folder=folder, priority=priority, vip=topology.vip)))
            stack.callback(vrrp[-1].stop)
        for each in running:
            await each.until("track.changed", value=0)
        vrrp[0].start()
        await running[0].until("pair.active", vip=topology.vip)
        vrrp[1].start()
        written = len(running[1].of("table.changed"))
        await asyncio.to_thread(play, topology, directors, vrrp[0])
        await running[1].until("pair.active", vip=topology.vip)
        assert len(running[1].of("table.changed")) == written, "nothing was left to be written"
        assert running[0].of("pair.standby", vip=topology.vip)[-1]["after_s"] > 0


def play(topology: Topology, directors: tuple[Namespace, Namespace], master: Keepalived) -> None:
    """Stop the master while clients ask, and assert what they meet."""
    other = directors[1]
    kept = [Connection(topology.client, topology.vip) for _ in range(4)]
    names = [[connection.ask() for _ in range(4)] for connection in kept]
    with Load.running(topology.client, topology.vip, workers=1, pause_s=0.05, timeout_s=10.0) as load:
        load.wait_for(ENOUGH, since=0)
        wait_until(lambda: known_connections(other) >= len(kept), timeout_s=60, what="the sync of all connections")
        table = Ipvsadm(other).saved()
        assert all(f"-r {server.address}:80 -g -w 1" in table for server in topology.servers), table
        stopped = time.monotonic()
        master.stop()
        wait_until(lambda: has_address(other, topology.vip), timeout_s=30, what="the other director to take over")
        taken = time.monotonic()
        assert [connection.ask() for connection in kept] == [name for name, *_ in names]
        answered = time.monotonic()
        load.wait_for(ENOUGH, since=taken)
        requests = load.stop()
    for connection in kept:
        connection.close()
    assert Ipvsadm(other).saved() == table
    assert not has_address(directors[0], topology.vip)
    between = [request for request in requests if stopped <= request.started < taken]
    after = [request for request in requests if request.started >= taken]
    sys.stdout.write(
        f"taken over after {taken - stopped:.2f} s, open connections answered after {answered - stopped:.2f} s\n"
        f"between: {by_server(between)}, lost {sum(not each.ok for each in between)}; after: {by_server(after)}\n"
    )
    assert [request for request in requests if request.started < stopped - 1 and not request.ok] == []
    assert [request for request in after if not request.ok] == []
    assert by_server(after).keys() == {"rs1", "rs2"}
