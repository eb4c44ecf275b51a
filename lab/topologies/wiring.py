"""What every topology is made of: machines on networks, a router between these, and their end."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.netns import CommandError, Namespace

CLIENT = "192.0.2.2"
CLIENT6 = "2001:db8:1::2"


@dataclass(frozen=True, slots=True)
class Host:
    """A machine on one network, and its addresses there."""

    machine: Namespace
    address: str
    address6: str


@dataclass(frozen=True, slots=True)
class Network:
    """One Ethernet: hosts, and the router, which has its addresses `gateway`. Every prefix is a /24 or a /64.

    Its name is that of the router's interface, a bridge to which the hosts are wired.
    """

    name: str
    gateway: str
    gateway6: str
    hosts: tuple[Host, ...]


def clients(client: Namespace) -> Network:
    """Return the network that is the same in every topology: the client's."""
    return Network("clients", "192.0.2.1", "2001:db8:1::1", (Host(client, CLIENT, CLIENT6),))


def wire(router: Namespace, networks: Sequence[Network]) -> None:
    """Make the machines and connect them: each host has one interface, "eth0", and the router as its default route."""
    hosts = [host for network in networks for host in network.hosts]
    # A veth's two ends must not share a name while they share a namespace, hence `netns` on both right away.
    ip_batch(
        [f"netns add {machine.name}" for machine in (router, *(host.machine for host in hosts))]
        + [
            f"link add eth0 netns {host.machine.name} type veth peer name {_port(network, number)} netns {router.name}"
            for network in networks
            for number, host in enumerate(network.hosts)
        ]
    )
    # No packet may enter before forwarding is on, or the first test's first request depends on timing.
    set_sysctls(router, {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
    ip_batch(["link set lo up", *(line for network in networks for line in _routed(network))], inside=router)
    for network in networks:
        for number, host in enumerate(network.hosts, 2):
            ip_batch(
                [
                    "link set lo up",
                    *_interface("eth0", host.address, host.address6, link_local=f"fe80::{number}"),
                    f"route add default via {network.gateway}",
                    f"route add default via {network.gateway6}",
                ],
                inside=host.machine,
            )


def ip_batch(lines: Sequence[str], *, inside: Namespace | None = None, options: Sequence[str] = ()) -> None:
    """Run `ip` with these lines, on one machine or outside of all. Raises `CommandError` at the first that fails.

    One process for all lines: in an emulated guest each costs a tenth of a second.
    """
    command = ["ip", *options, *(("-n", inside.name) if inside else ()), "-batch", "-"]
    result = subprocess.run(command, input="\n".join(lines), check=False, capture_output=True, text=True, timeout=60)
    if result.returncode != 0:
        raise CommandError(f"{' '.join(command)}: {result.stderr.strip()}")


def set_sysctls(inside: Namespace, values: Mapping[str, int]) -> None:
    """Set these in one namespace."""
    inside.run(["sysctl", "--quiet", "--write", *(f"{key}={value}" for key, value in values.items())])


def free_suffix() -> str:
    """Return what to add to the machines' names so that no other topology has them; nothing for the first."""
    number = 1
    while Path(f"/run/netns/director{_suffix(number)}").exists():
        number += 1
    return _suffix(number)


def take_down(machines: Sequence[Namespace]) -> None:
    """Remove the machines, with all that still runs on them."""
    present = [machine for machine in machines if machine.path.exists()]
    for machine in present:
        # A namespace lives as long as a process in it: what a test left behind would also leave its addresses behind.
        listing = subprocess.run(["ip", "netns", "pids", machine.name], check=True, capture_output=True, text=True)
        for pid in listing.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    ip_batch([f"netns delete {machine.name}" for machine in present])


def _routed(network: Network) -> list[str]:
    ports = [_port(network, number) for number in range(len(network.hosts))]
    return [
        f"link add {network.name} type bridge",
        *_interface(network.name, network.gateway, network.gateway6, link_local="fe80::1"),
        *(f"link set {port} master {network.name} addrgenmode none" for port in ports),
        *(f"link set {port} up" for port in ports),
    ]


def _interface(name: str, address: str, address6: str, *, link_local: str) -> list[str]:
    # nodad, and no generated link-local address: duplicate address detection would keep IPv6 silent for the first
    # seconds. Yet one there must be: who sends on another's packet asks for neighbours from it, or does not ask.
    return [
        f"link set {name} addrgenmode none",
        f"address add {address}/24 dev {name}",
        f"address add {address6}/64 dev {name} nodad",
        f"address add {link_local}/64 dev {name} nodad",
        f"link set {name} up",
    ]


def _port(network: Network, number: int) -> str:
    return f"{network.name}{number}"


def _suffix(number: int) -> str:
    return "" if number == 1 else f"-{number}"
