"""Two active directors in the lab by dr, each with the daemon and BIRD, and a router that spreads clients over both.

The directors share the real servers, which answer the router directly. With dr a connection's way back leads through no
director. So one that has moved to the other director can go on there, if that one knows it or finds its server. With
nat each director would need servers of its own, and no connection could outlive its director.
"""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

from lab.daemon import Daemon
from lab.ipvsadm import Ipvsadm
from lab.netns import Namespace
from lab.nginx import Nginx
from lab.topologies.dr import hold_vip
from lab.topologies.wiring import ip_batch, set_sysctls
from lab.topology import Topology
from lab.wait import wait_until
from tests.bird import Bird
from tests.kernel.pair_directors import PORTS, knows, second_director

VIP, VIP6 = "203.0.113.100", "2001:db8:3::100"
"""In no network of the lab: without a route nobody asks for it by ARP."""
ROUTER = "198.51.100.1"
SPREAD = {"net.ipv4.fib_multipath_hash_policy": 3, "net.ipv4.fib_multipath_hash_fields": 0x37}
"""By addresses, protocol and ports. Policy 1 means the same, but takes a hash that the packet has already
(fib_multipath_hash in net/ipv4/route.c). Over a veth that is a random number of the client's socket, and another one
for a SYN that is sent again: it would go another way, which no router does whose packets come from a cable."""
REFUSE, DROP = "reject with tcp reset", "drop"
"""What nftables does with a packet."""
IN_TIME_S = 150.0
"""How long a route may take to come or go, seconds. An emulated daemon may import for a minute what announces it."""

CONFIG = """
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"
resync = "5s"
{settings}
[ipvs.sysctl]
expire_nodest_conn = true
sloppy_tcp = {sloppy}
[defaults.service]
announce = "lvs0"
withdraw_after = "1s"
announce_after = "3s"
[[service]]
name = "web"
address = "{vip}:80"
forward = "dr"
{scheduling}
check = {{ type = "tcp", interval = "1s", timeout = "1s", rise = 1, fall = 2 }}
real_server = ["{servers[0]}", "{servers[1]}"]
"""

SYNCED = """
[ipvs.sync.master]
interface = "eth0"
syncid = 7
[ipvs.sync.backup]
interface = "eth0"
syncid = 7
"""

WAITS = """
    hold time 3;
    keepalive time 1;
    connect delay time 1;
    connect retry time 1;
    error wait time 1, 5;
"""
"""As in examples/."""

BFD = 'protocol bfd { interface "*" { interval 300 ms; multiplier 3; }; }'
"""Three times as slow as on a machine with a processor of its own."""

ANNOUNCING = """
router id {address};
protocol device {{ }}
protocol direct {{ ipv4; interface "lvs0"; }}
{bfd}
protocol bgp router4 {{
    local {address} as 65001;
    neighbor {router} as 65000;
    {waits}
    ipv4 {{ import none; export where net ~ [ 203.0.113.0/24{{32,32}} ]; }};
}}
"""

ROUTING = """
router id {router};
protocol device {{ }}
protocol kernel {{ merge paths on; ipv4 {{ import none; export all; }}; }}
{bfd}
template bgp director {{
    {waits}
    ipv4 {{ import where net ~ [ 203.0.113.0/24{{32,32}} ]; export none; }};
}}
protocol bgp a from director {{ local {router} as 65000; neighbor {a} as 65001; }}
protocol bgp b from director {{ local {router} as 65000; neighbor {b} as 65001; }}
"""


@dataclass(frozen=True, slots=True)
class Way:
    """How the directors know each other's connections, and how the router finds out that one has died."""

    name: str
    scheduling: str
    settings: str = ""
    sloppy: bool = False
    """Whether a director takes a connection whose beginning it has not seen."""
    bfd: bool = False


class Routes:
    """The router's next hops to the address, and when they changed."""

    def __init__(self, at: Namespace) -> None:
        self._reports = at.popen(["ip", "-o", "monitor", "route"], stdout=subprocess.PIPE)
        self.seen: list[tuple[float, frozenset[str]]] = [(time.time(), frozenset())]
        """Unix time, and the next hops from then on."""
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    @property
    def now(self) -> frozenset[str]:
        return self.seen[-1][1]

    def stop(self) -> None:
        self._reports.kill()
        self._reports.wait()
        self._reading.join()

    def _read(self) -> None:
        assert self._reports.stdout is not None
        with self._reports.stdout as lines:
            for line in lines:
                self._take(line.split())

    def _take(self, words: list[str]) -> None:
        if VIP not in words[:2]:
            return
        hops = frozenset(words[at + 1] for at, word in enumerate(words) if word == "via")
        if words[0] != "Deleted":
            self.seen.append((time.time(), hops))
        elif hops == self.now:
            self.seen.append((time.time(), frozenset()))


class Director:
    """One of the two.

    port: the port of the router's bridge at which it is.
    """

    def __init__(self, at: Namespace, port: str, address: str, folder: Path, topology: Topology, way: Way) -> None:
        folder.mkdir()
        self.at, self.address = at, address
        self._port, self._router, self._servers = port, topology.router, topology.servers
        ip_batch(["link add lvs0 type dummy", "link set lvs0 up"], inside=at)
        file = folder / "config.toml"
        servers = [server.address for server in topology.servers]
        words = {"folder": folder, "vip": VIP, "servers": servers, "sloppy": str(way.sloppy).lower()}
        file.write_text(CONFIG.format(**words, settings=way.settings, scheduling=way.scheduling), encoding="ascii")
        self.daemon = Daemon(at, file)
        text = ANNOUNCING.format(address=address, router=ROUTER, **bgp(way))
        self.bird = Bird(at, folder / "bird", text)

    def start(self) -> None:
        self.bird.start()
        self.daemon.start()

    def kill(self) -> None:
        """Kill all that runs on it."""
        self.bird.stop(Signals.SIGKILL)
        self.daemon.kill()

    def hang(self) -> None:
        """Stop the time of all its processes. Its kernel goes on."""
        self.daemon.hang()
        self.bird.signal(Signals.SIGSTOP)

    def resume(self) -> None:
        self.daemon.resume()
        self.bird.signal(Signals.SIGCONT)

    def cut(self) -> None:
        """Pull its cable. The router does not see that: there is a switch between them."""
        ip_batch([f"link set {self._port} down"], inside=self._router)

    def mend(self) -> None:
        ip_batch([f"link set {self._port} up"], inside=self._router)

    def lose_power(self) -> None:
        """Lose its place on the network, its processes, and its kernel's memory, in this order: no word gets out."""
        self.cut()
        self.kill()
        ip_batch(["address flush dev lvs0"], inside=self.at)
        Ipvsadm(self.at).clear()

    def boot(self) -> None:
        self.mend()
        self.start()

    def drain(self) -> None:
        """Take it out of service as docs/fleet.md says."""
        assert "disabled" in self.bird.ask('disable "router*"')

    def undrain(self) -> None:
        assert "enabled" in self.bird.ask('enable "router*"')

    def knows(self, port: int) -> bool:
        """Return whether its kernel knows a connection from this port of the client."""
        return knows(self.at, port)

    def shut_out(self, verdict: str) -> None:
        """Let the servers refuse what comes from this director, or drop it: `REFUSE`, `DROP`."""
        mac = self.at.run(["ip", "-brief", "link", "show", "eth0"]).stdout.split()[2]
        for server in self._servers:
            rule = f"ether saddr {mac} tcp dport 80 {verdict}"
            text = f"table inet shut {{ chain in {{ type filter hook input priority 0; {rule}; }}; }}"
            server.run(["nft", "--file", "-"], stdin=text)

    def let_in(self) -> None:
        for server in self._servers:
            server.run(["nft", "delete", "table", "inet", "shut"])


class Fleet:
    """Both directors, and the router."""

    def __init__(self, topology: Topology, a: Director, b: Director, routes: Routes, router: Bird, way: Way) -> None:
        self.topology, self.a, self.b, self.routes, self.router, self.way = topology, a, b, routes, router, way

    def until(self, *directors: Director) -> float:
        """Wait until the router's next hops are these. Return when they were, Unix time."""
        wanted = frozenset(each.address for each in directors)
        wait_until(
            lambda: self.routes.now == wanted,
            timeout_s=IN_TIME_S,
            what=lambda: (
                f"{wanted}: {self.routes.seen} {self.router.ask('show', 'protocols')}"
                f" {self.a.daemon.lines()[-10:]} {self.b.daemon.lines()[-10:]}"
            ),
        )
        return self.routes.seen[-1][0]

    def through(self, ports: list[int]) -> list[str]:
        """Return the next hop by which the router sends a connection from each of these ports of the client."""
        source = f"from {self.topology.client_address} iif clients ipproto tcp"
        lines = "\n".join(f"route get {VIP} {source} sport {port} dport 80" for port in ports)
        answer = self.topology.router.run(["ip", "-batch", "-"], stdin=lines).stdout
        return [line.split(" via ")[1].split()[0] for line in answer.splitlines() if " via " in line]


def bgp(way: Way) -> dict[str, str]:
    return {"bfd": BFD if way.bfd else "", "waits": WAITS + ("    bfd yes;" if way.bfd else "")}


@contextlib.contextmanager
def fleet(way: Way, folder: Path) -> Iterator[Fleet]:
    """Run two directors that both announce the address."""
    with Topology.dr() as topology, contextlib.ExitStack() as stack:
        second = stack.enter_context(second_director(topology))
        set_sysctls(topology.router, SPREAD)
        for server in topology.servers:
            hold_vip(server, VIP, VIP6)
            stack.enter_context(Nginx.serving(server))
        routes = Routes(topology.router)
        stack.callback(routes.stop)
        a, b = (
            Director(at, port, address, folder / name, topology, way)
            for at, port, address, name in zip(
                (topology.director, second), PORTS, ("198.51.100.2", "198.51.100.3"), "ab", strict=True
            )
        )
        text = ROUTING.format(router=ROUTER, a=a.address, b=b.address, **bgp(way))
        router = Bird(topology.router, folder / "router", text)
        stack.callback(router.stop, Signals.SIGKILL)
        router.start()
        # The first rules load the kernel's modules, which takes many seconds on an emulated machine.
        a.shut_out(REFUSE)
        a.let_in()
        for each in (a, b):
            stack.callback(each.kill)
            each.start()
        both = Fleet(topology, a, b, routes, router, way)
        both.until(a, b)
        yield both
