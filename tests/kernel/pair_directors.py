"""Two directors of one pair in the lab by dr: each with keepalived and the daemon, or with keepalived alone."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from signal import Signals

from lab.ipvsadm import Ipvsadm
from lab.netns import Namespace
from lab.topologies.wiring import ip_batch, take_down
from lab.topology import Topology
from tests.daemon_process import DaemonProcess, daemon
from tests.keepalived import Keepalived, Parts
from tests.processes import signal_all

NETWORK = "198.51.100"
STARTS_WITHIN_S = 180.0
"""How long a daemon may take to start beside another one that works, on one emulated processor of a busy machine."""
PORTS = ("servers0", "servers9")
"""The ports of the router's bridge at which the two directors are."""

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
real_server = ["{servers[0]}", "{servers[1]}"]
"""

VRRP = """
vrrp_instance web {{
    state BACKUP
    interface eth0
    virtual_router_id 7
    priority {priority}
    advert_int {advertised_s}
{tracked}    virtual_ipaddress {{
        {vip}/32 dev eth0
    }}
}}
"""

TRACKED = """    track_file {
        lvs_healthd
    }
"""

TRACK_FILE = """
global_defs {{
    vrrp_version 3
}}
track_file lvs_healthd {{
    file {folder}/track
    weight 0
    init_file 1
}}
"""

ALONE = """
global_defs {{
    vrrp_version 3
    lvs_sync_daemon eth0 web id 7
}}
virtual_server {vip} 80 {{
    delay_loop 1
    lvs_sched rr
    lvs_method DR
    protocol TCP
    real_server {servers[0]} 80 {{
        weight 1
        TCP_CHECK {{
            connect_timeout 1
            retry 2
            delay_before_retry 1
        }}
    }}
    real_server {servers[1]} 80 {{
        weight 1
        TCP_CHECK {{
            connect_timeout 1
            retry 2
            delay_before_retry 1
        }}
    }}
}}
"""


class Director:
    """One director that runs keepalived alone: with VRRP, checkers, and sync daemons as its role is.

    at: where it runs.
    port: the port of the router's bridge at which it is.
    """

    def __init__(
        self, topology: Topology, at: Namespace, port: str, folder: Path, priority: int, advertised_s: float
    ) -> None:
        self.at = at
        self.folder = folder
        self.vip = topology.vip
        self._router = topology.router
        self._port = port
        folder.mkdir()
        self.words = {
            "folder": folder,
            "vip": topology.vip,
            "servers": [server.address for server in topology.servers],
            "priority": priority,
            "advertised_s": advertised_s,
        }
        self._keepalived = self._made()

    def _made(self) -> Keepalived:
        return Keepalived(self.at, self.folder, (ALONE + VRRP).format(**self.words, tracked=""), Parts.BOTH)

    @property
    def has_address(self) -> bool:
        return f"|-- {self.vip}\n" in _kernel(self.at, "fib_trie")

    @property
    def table(self) -> str:
        return Ipvsadm(self.at).saved()

    @property
    def logs(self) -> str:
        return self._keepalived.log

    def knows(self, port: int) -> bool:
        """Return whether its kernel knows a connection from this port of the client."""
        return knows(self.at, port)

    async def start(self) -> None:
        """Start all that runs on it, and wait until it can serve. This is the first start."""
        self._keepalived.start()

    async def start_after_end(self) -> None:
        """Start all that ran on it, after `kill` or `lose_power`."""
        self._keepalived.start()

    async def kill(self) -> None:
        """Kill all that runs on it."""
        self._keepalived.kill()

    def freeze(self) -> None:
        """Stop the time of all processes. Its kernel goes on."""
        self._keepalived.freeze()

    def thaw(self) -> None:
        self._keepalived.thaw()

    def stop(self) -> None:
        """Do what gives the address to the other one as planned: stop keepalived."""
        self._keepalived.stop()

    def start_again(self) -> None:
        """Undo `stop`."""
        self._keepalived.start()

    def cut(self) -> None:
        """Pull its cable."""
        self._cable("down")

    def mend(self) -> None:
        self._cable("up")

    async def lose_power(self) -> None:
        """Lose all that a machine without power loses: its place on the network, its processes, its kernel's memory."""
        self.cut()
        await self.kill()
        ip_batch([f"address flush dev eth0 to {self.vip}/32"], inside=self.at)
        Ipvsadm(self.at).clear()
        (self.folder / "track").unlink(missing_ok=True)

    def _cable(self, state: str) -> None:
        ip_batch([f"link set {self._port} {state}"], inside=self._router)


class WithDaemon(Director):
    """One director that runs the daemon, and keepalived for VRRP."""

    def _made(self) -> Keepalived:
        self._stack = contextlib.AsyncExitStack()
        self.running: DaemonProcess
        self._file = self.folder / "config.toml"
        self._file.write_text(CONFIG.format(**self.words))
        text = (TRACK_FILE + VRRP).format(**self.words, tracked=TRACKED)
        return Keepalived(self.at, self.folder, text)

    @property
    def logs(self) -> str:
        return f"{self._keepalived.log}\n{self.running.lines}{self.running.garbage}"

    async def start(self) -> None:
        self.running = await self._stack.enter_async_context(daemon(self._file, namespace=self.at))
        # keepalived would wait for this in its fault state, and take the time of an emulated processor.
        async with asyncio.timeout(STARTS_WITHIN_S):
            while not self.running.of("track.changed", value=0):
                await asyncio.sleep(0.5)
        self._keepalived.start()

    async def start_after_end(self) -> None:
        self.running = await self._stack.enter_async_context(daemon(self._file, namespace=self.at))
        self._keepalived.start()

    async def kill(self) -> None:
        self._keepalived.kill()
        await self._stack.aclose()

    def freeze(self) -> None:
        super().freeze()
        signal_all([self.running.pid], Signals.SIGSTOP)

    def thaw(self) -> None:
        super().thaw()
        signal_all([self.running.pid], Signals.SIGCONT)


@contextlib.contextmanager
def second_director(topology: Topology) -> Iterator[Namespace]:
    """Put another director beside the first one, and leave the address to VRRP."""
    other = Namespace("director-b")
    ip_batch(
        [
            f"netns add {other.name}",
            f"link add eth0 netns {other.name} type veth peer name {PORTS[1]} netns {topology.router.name}",
        ]
    )
    try:
        ip_batch(
            [f"link set {PORTS[1]} master servers addrgenmode none", f"link set {PORTS[1]} up"],
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


def knows(director: Namespace, port: int) -> bool:
    """Return whether a director's kernel knows a connection from this port of the client."""
    return f" {port:04X} " in _kernel(director, "ip_vs_conn")


def _kernel(director: Namespace, file: str) -> str:
    with director.entered():
        return Path(f"/proc/thread-self/net/{file}").read_text(encoding="ascii")


class Connection:
    """A connection of a client that stays open."""

    def __init__(self, client: Namespace, address: str) -> None:
        with client.entered():
            self._socket = socket.create_connection((address, 80), timeout=8.0)
        self.port = int(self._socket.getsockname()[1])

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
