"""The parts of every topology: machines on networks, and a router between the networks. Makes and removes them."""

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
    """One Ethernet with hosts and the router. Its prefixes are a /24 and a /64.

    name: the name of the router's interface, which is a bridge to which the hosts are wired.
    gateway, gateway6: the router's addresses on this network.
    """

    name: str
    gateway: str
    gateway6: str
    hosts: tuple[Host, ...]


def clients(client: Namespace) -> Network:
    """Return the client's network, which is the same in every topology."""
    return Network("clients", "192.0.2.1", "2001:db8:1::1", (Host(client, CLIENT, CLIENT6),))


def wire(router: Namespace, networks: Sequence[Network]) -> None:
    """Make the machines and connect them. Each host has one interface, "eth0", and the router as its default route.

    Raises `CommandError`.
    """
    hosts = [host for network in networks for host in network.hosts]
    # Two interfaces in one namespace cannot have the same name. So both ends of a veth are made in their own namespace.
    ip_batch(
        [f"netns add {machine.name}" for machine in (router, *(host.machine for host in hosts))]
        + [
            f"link add eth0 netns {host.machine.name} type veth peer name {_port(network, number)} netns {router.name}"
            for network in networks
            for number, host in enumerate(network.hosts)
        ]
    )
    # Forwarding is on before any packet can arrive. Otherwise a test's first request would depend on timing.
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
    """Run `ip` with these lines. Raises `CommandError` at the first line that fails.

    All lines go to one process, because a process takes a tenth of a second in an emulated guest.

    inside: the machine on which to run; None means outside all namespaces of the lab.
    options: options for `ip`, such as "-6".
    """
    command = ["ip", *options, *(("-n", inside.name) if inside else ()), "-batch", "-"]
    result = subprocess.run(command, input="\n".join(lines), check=False, capture_output=True, text=True, timeout=60)
    if result.returncode != 0:
        raise CommandError(f"{' '.join(command)}: {result.stderr.strip()}")


def set_sysctls(inside: Namespace, values: Mapping[str, int]) -> None:
    """Set these sysctls in one namespace. Raises `CommandError`."""
    inside.run(["sysctl", "--quiet", "--write", *(f"{key}={value}" for key, value in values.items())])


def free_suffix() -> str:
    """Return a suffix that makes the machines' names unique among all topologies; "" for the first topology."""
    number = 1
    while Path(f"/run/netns/director{_suffix(number)}").exists():
        number += 1
    return _suffix(number)


def take_down(machines: Sequence[Namespace]) -> None:
    """Remove the machines, and kill everything that still runs on them."""
    present = [machine for machine in machines if machine.path.exists()]
    for machine in present:
        # A namespace exists as long as a process runs in it. A process that a test has left behind would keep the
        # namespace with all its addresses.
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
    # nodad and addrgenmode none, because duplicate address detection would delay IPv6 by some seconds. A link-local
    # address is still necessary: a machine that forwards a packet uses it as the source when it asks for a neighbour.
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
