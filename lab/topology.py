"""Networks of the lab as code: a client, a director and real servers, each with its own network stack.

NAT, the only topology so far:

    client ----- clients: 192.0.2.0/24, 2001:db8:1::/64 ----- director ----- servers: 198.51.100.0/24, 2001:db8:2::/64
                                                                 |               |          |
                                                    VIP on the client side      rs1  ...   rsN

The real servers' default route is the director, as NAT needs; the client cannot reach them but through it. Addresses
are from the documentation ranges (RFC 5737, RFC 3849).
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.ipvsadm import Ipvsadm
from lab.netns import CommandError, Namespace

CLIENT = "192.0.2.2"
CLIENT6 = "2001:db8:1::2"
VIP = "192.0.2.100"
VIP6 = "2001:db8:1::100"
DIRECTOR = "192.0.2.1"
DIRECTOR6 = "2001:db8:1::1"
GATEWAY = "198.51.100.1"
GATEWAY6 = "2001:db8:2::1"


@dataclass(frozen=True, slots=True)
class RealServer(Namespace):
    """A real server's namespace and its addresses."""

    address: str
    address6: str


@dataclass(frozen=True, slots=True)
class Topology:
    """The machines of one lab network. Build one with `Topology.nat`."""

    client: Namespace
    director: Namespace
    servers: tuple[RealServer, ...]
    vip: str = VIP
    vip6: str = VIP6

    @classmethod
    @contextlib.contextmanager
    def nat(cls, *, servers: int = 2) -> Iterator["Topology"]:
        """Build the NAT topology with so many real servers; take it down, with all that still runs in it, at the end.

        A second topology at the same time gets namespaces of other names, and may use the same addresses.
        """
        suffix = _free_suffix()
        topology = cls(
            client=Namespace(f"client{suffix}"),
            director=Namespace(f"director{suffix}"),
            servers=tuple(
                RealServer(f"rs{number}{suffix}", f"198.51.100.{10 + number}", f"2001:db8:2::{10 + number}")
                for number in range(1, servers + 1)
            ),
        )
        try:
            _build_nat(topology)
            yield topology
        finally:
            _take_down(topology.machines)

    @property
    def machines(self) -> tuple[Namespace, ...]:
        """Every namespace of the topology."""
        return (self.client, self.director, *self.servers)

    @property
    def ipvsadm(self) -> Ipvsadm:
        """The director's IPVS table, as ipvsadm shows and edits it."""
        return Ipvsadm(self.director)


def _build_nat(topology: Topology) -> None:
    client, director = topology.client, topology.director
    # A veth's two ends must not share a name while they share a namespace, hence `netns` on both right away.
    _ip(
        [f"netns add {machine.name}" for machine in topology.machines]
        + [f"link add director netns {client.name} type veth peer name clients netns {director.name}"]
        + [
            f"link add director netns {server.name} type veth peer name rs{number} netns {director.name}"
            for number, server in enumerate(topology.servers, 1)
        ]
    )
    _ip([*_interface("director", CLIENT, CLIENT6), *_default_route(DIRECTOR, DIRECTOR6)], inside=client)
    # No packet may enter before forwarding is on, or the first test's first request depends on timing.
    _sysctl(
        director,
        {
            "net.ipv4.ip_forward": 1,
            "net.ipv6.conf.all.forwarding": 1,
            "net.ipv4.conf.all.rp_filter": 1,  # strict: NAT replies come back the way they went, so it costs nothing
        },
    )
    _ip(
        [
            *_interface("clients", DIRECTOR, DIRECTOR6),
            f"address add {VIP}/32 dev clients",
            f"address add {VIP6}/128 dev clients nodad",
            "link add servers type bridge",
            *_interface("servers", GATEWAY, GATEWAY6),
            # A router asks for neighbours from its link-local address when it forwards; without one it does not ask.
            *(f"address add fe80::1/64 dev {device} nodad" for device in ("clients", "servers")),
            *(
                line
                for number in range(1, len(topology.servers) + 1)
                for line in (f"link set rs{number} master servers addrgenmode none", f"link set rs{number} up")
            ),
        ],
        inside=director,
    )
    for server in topology.servers:
        _ip(
            [*_interface("director", server.address, server.address6), *_default_route(GATEWAY, GATEWAY6)],
            inside=server,
        )


def _interface(name: str, address: str, address6: str) -> list[str]:
    # nodad, and no generated link-local address: duplicate address detection would keep IPv6 silent for the first
    # seconds.
    return [
        "link set lo up",
        f"link set {name} addrgenmode none",
        f"address add {address}/24 dev {name}",
        f"address add {address6}/64 dev {name} nodad",
        f"link set {name} up",
    ]


def _default_route(gateway: str, gateway6: str) -> list[str]:
    return [f"route add default via {gateway}", f"route add default via {gateway6}"]


def _ip(lines: Sequence[str], *, inside: Namespace | None = None) -> None:
    # One process for all lines: in an emulated guest each costs a tenth of a second.
    command = ["ip", *(("-n", inside.name) if inside else ()), "-batch", "-"]
    result = subprocess.run(command, input="\n".join(lines), check=False, capture_output=True, text=True, timeout=60)
    if result.returncode != 0:
        raise CommandError(f"{' '.join(command)}: {result.stderr.strip()}")


def _sysctl(inside: Namespace, values: dict[str, int]) -> None:
    inside.run(["sysctl", "--quiet", "--write", *(f"{key}={value}" for key, value in values.items())])


def _free_suffix() -> str:
    number = 1
    while Path(f"/run/netns/director{_suffix(number)}").exists():
        number += 1
    return _suffix(number)


def _suffix(number: int) -> str:
    return "" if number == 1 else f"-{number}"


def _take_down(machines: Sequence[Namespace]) -> None:
    present = [machine for machine in machines if machine.path.exists()]
    for machine in present:
        # A namespace lives as long as a process in it: what a test left behind would also leave its addresses behind.
        listing = subprocess.run(["ip", "netns", "pids", machine.name], check=True, capture_output=True, text=True)
        for pid in listing.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    _ip([f"netns delete {machine.name}" for machine in present])
