"""Services of every kind for the daemon, clients for each, and counters that show which way packets take."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import nft
from lab.load import Target
from lab.netns import Namespace, RealServer
from lab.nginx import Nginx
from lab.topologies.tun import GUE_PORT
from lab.topology import Topology
from lab.udp import UdpServer

TCP, UDP, ONE_PACKET, CROSSED = 8080, 5300, 5500, 100
"""Ports of services; those across families are so much higher."""
HTTP, HTTPS = 80, 443
"""Ports of the services by mark, and the former that of all HTTP checks."""
MARK = 7
MOST_KINDS = 3
"""How many times these services can be had: the Nth time with every port and the mark N higher."""

INTERVAL_S, RISE, FALL = 0.5, 2, 3


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of forwarding: the keys that configure it, and the ways that packets may take with it."""

    name: str
    keys: str
    ways: frozenset[str]
    crosses: bool = False
    """Whether it reaches real servers of the other family."""
    answers_one_packet: bool = True


FULLNAT = Kind("fullnat", 'forward = "fullnat"', frozenset({"masqueraded4", "masqueraded6"}), answers_one_packet=False)
NAT = Kind("nat", 'forward = "nat"', frozenset({"translated4", "translated6"}), answers_one_packet=False)
DR = Kind("dr", 'forward = "dr"', frozenset({"as_is4", "as_is6"}))
IPIP = Kind("ipip", 'forward = "tun"', frozenset({"ipip4", "sit", "ipip6", "ip4_in_6"}), crosses=True)
GUE = Kind(
    "gue", f'forward = "tun"\ntun_type = "gue"\ntun_port = {GUE_PORT}', frozenset({"gue4", "gue6"}), crosses=True
)
GRE = Kind("gre", 'forward = "tun"\ntun_type = "gre"', frozenset({"gre4", "gre6"}), crosses=True)


@dataclass(frozen=True, slots=True)
class Service:
    """One virtual service."""

    name: str
    kind: Kind
    identity: str
    """What it is in `ipvsadm -Sn`."""
    keys: str
    """Its part of the configuration."""
    servers: tuple[str, ...]
    """Its real servers' addresses."""
    targets: tuple[Target, ...]

    def has(self, server: int, saved: str) -> bool:
        """Return whether the real server with this number, counted from 0, is in a table that `ipvsadm -Sn` printed."""
        return f"-a {self.identity} -r {self.servers[server]}:" in saved


def services(topology: Topology, kind: Kind, number: int = 0) -> Iterator[Service]:
    """Yield services over IPv4 and over IPv6: TCP, UDP, and one mark for ports 80 and 443.

    If answers work with one-packet scheduling, there is also a one-packet UDP service. If the forwarding can cross the
    families, there are also TCP and UDP services with servers of the other family.
    """
    own = [server.address for server in topology.servers]
    own6 = [f"[{server.address6}]" for server in topology.servers]
    for family, vip, servers, others in (("IPv4", topology.vip, own, own6), ("IPv6", topology.vip6, own6, own)):
        yield _by_address(f"{kind.name} tcp {family}", vip, TCP + number, servers, kind)
        yield _by_address(f"{kind.name} udp {family}", vip, UDP + number, servers, kind)
        if kind.answers_one_packet:
            yield _by_address(f"{kind.name} one-packet {family}", vip, ONE_PACKET + number, servers, kind)
        if kind.crosses:
            yield _by_address(f"{kind.name} tcp {family} across", vip, TCP + CROSSED + number, others, kind)
            yield _by_address(f"{kind.name} udp {family} across", vip, UDP + CROSSED + number, others, kind)
        name, mark = f"{kind.name} mark {family}", MARK + number
        yield Service(
            name,
            kind,
            f"-f {mark}" + (" -6" if family == "IPv6" else ""),
            f'fwmark = {mark}\n{kind.keys}\ncheck = {{ type = "http", port = {HTTP}, path = "/healthz" }}',
            tuple(servers),
            tuple(Target(f"{name} {port}", "http", vip, port + number) for port in (HTTP, HTTPS)),
        )


def _by_address(name: str, vip: str, port: int, servers: Sequence[str], kind: Kind) -> Service:
    address = f"[{vip}]:{port}" if ":" in vip else f"{vip}:{port}"
    is_tcp, is_one_packet = " tcp " in name, " one-packet " in name
    if is_tcp:
        protocol = f'check = {{ type = "http", port = {HTTP}, path = "/healthz" }}'
    else:
        protocol = f'protocol = "udp"\ncheck = {{ type = "udp", port = {UDP}, send = "?", expect = "3f rs" }}'
    keys = [f'address = "{address}"', kind.keys, protocol, *(["one_packet = true"] if is_one_packet else [])]
    # All requests come from one port. Both servers get datagrams from it only if each is scheduled separately.
    source_port = 4000 + port % 1000 + (500 if ":" in vip else 0) if is_one_packet else 0
    target = Target(name, "http" if is_tcp else "udp", vip, port, source_port)
    return Service(name, kind, f"-{'t' if is_tcp else 'u'} {address}", "\n".join(keys), tuple(servers), (target,))


def configuration(folder: Path, those: Iterable[Service]) -> Path:
    file = folder / "config.toml"
    sections = [
        f'[[service]]\nname = "{service.name}"\nscheduler = "rr"\n{service.keys}\n'
        f"real_server = [{', '.join(repr(server) for server in service.servers)}]\n"
        for service in those
    ]
    file.write_text(f"""
[daemon]
listen = ""
control = "{folder}/control.sock"
state = "{folder}/state.json"

[defaults.check]
interval = "{INTERVAL_S * 1000:g}ms"
timeout = "5s"      # a killed server refuses at once; an emulated one that is busy may take its time
rise = {RISE}
fall = {FALL}

{"".join(sections)}""")
    return file


class Machine:
    """Everything that a real server serves. All of it fails and returns together."""

    def __init__(self, server: RealServer, web: Nginx, udp: UdpServer) -> None:
        self.name = server.name
        self._web = web
        self._udp = udp

    @classmethod
    @contextlib.contextmanager
    def serving(cls, server: RealServer, vips: Sequence[str]) -> Iterator["Machine"]:
        plain = [base + number for base in (HTTP, HTTPS, TCP, TCP + CROSSED) for number in range(MOST_KINDS)]
        datagrams = [base + number for base in (UDP, UDP + CROSSED, ONE_PACKET) for number in range(MOST_KINDS)]
        with Nginx.serving(server, ports=plain) as web, UdpServer.serving(server, ports=datagrams, vips=vips) as udp:
            yield cls(server, web, udp)

    def kill(self) -> None:
        self._web.kill()
        self._udp.kill()

    def start(self) -> None:
        self._web.start()
        self._udp.start()


def watch(topology: Topology) -> None:
    """Begin to count packets by the way they take: from clients to each server, and replies through the director."""
    for server in topology.servers:
        ways = {
            "translated4": f"ip saddr {topology.client_address} ip daddr {server.address}",
            "translated6": f"ip6 saddr {topology.client_address6} ip6 daddr {server.address6}",
            # Only ports to which no probe goes.
            "masqueraded4": f"ip saddr != {topology.client_address} ip daddr {server.address} tcp dport {TCP}",
            "masqueraded6": f"ip6 saddr != {topology.client_address6} ip6 daddr {server.address6} tcp dport {TCP}",
            "as_is4": f"ip daddr {topology.vip}",
            "as_is6": f"ip6 daddr {topology.vip6}",
            "ipip4": "ip protocol 4",
            "sit": "ip protocol 41",
            "ipip6": "ip6 nexthdr 41",
            "ip4_in_6": "ip6 nexthdr 4",
            "gre4": "ip protocol gre",
            "gre6": "ip6 nexthdr gre",
            "gue4": f"ip protocol udp udp dport {GUE_PORT}",
            "gue6": f"ip6 nexthdr udp udp dport {GUE_PORT}",
        }
        # Count only packets on the wire, because a packet in a tunnel arrives once more, from the tunnel's device.
        nft.count(server, {way: f'iifname "eth0" {match}' for way, match in ways.items()})
    replies = {"4": f"ip daddr {topology.client_address}", "6": f"ip6 daddr {topology.client_address6}"}
    nft.count(topology.director, {f"replies{family}": match for family, match in replies.items()})


def mark_all(topology: Topology) -> None:
    """Set the marks that `services` expects on packets to ports 80 and 443 of the VIPs."""
    vips = (f"ip daddr {topology.vip}", f"ip6 daddr {topology.vip6}")
    numbers = range(MOST_KINDS)
    nft.mark(
        topology.director,
        {f"{vip} tcp dport {{ {HTTP + n}, {HTTPS + n} }}": MARK + n for vip in vips for n in numbers},
    )


def ways(server: Namespace) -> dict[str, int]:
    """Return how many packets took each way to a server."""
    return {way: packets for way, packets in nft.counted(server).items() if packets}


def changed(topology: Topology, those: Iterable[Service], server: int, *, present: bool) -> dict[str, float]:
    """Wait until each service has one real server in the table, or no longer has it. Return when each changed.

    server: the real server's number, counted from 0.
    present: whether to wait until it is there, or until it is gone.

    Times are `time.monotonic()`.

    The kernel's table is asked, because the log leaves lines out when more than twenty come in a second.
    """
    waiting = {service.name: service for service in those}
    seen: dict[str, float] = {}
    deadline = time.monotonic() + 60
    while waiting:
        saved = topology.ipvsadm.saved()
        now = time.monotonic()
        for name in [name for name, service in waiting.items() if service.has(server, saved) == present]:
            seen[name] = now
            del waiting[name]
        assert now < deadline, f"{sorted(waiting)}: {saved}"
    return seen
