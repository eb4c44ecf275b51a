"""Tunnels and fullnat: the real servers are on a network of their own, a router away from the director.

    client ----- clients: 192.0.2.0/24, 2001:db8:1::/64 ----- router ----- directors: 198.51.100.0/24, 2001:db8:2::/64
                                                                 |             |
                                                                 |          director, VIP on eth0
                                                                 |
                                                                 +-------- servers: 203.0.113.0/24, 2001:db8:3::/64
                                                                              |         |
                                                                             rs1  ...  rsN, VIP on lo

The director wraps a client's packet in one to a real server. That unwraps it, takes it because it has the VIP too, and
answers from the VIP straight to the client: the director never sees a reply. Every real server unwraps IPIP, GRE and
GUE, each over IPv4 and IPv6, with either of them inside.
"""

import subprocess
from collections.abc import Sequence

from lab.netns import CommandError, Namespace, RealServer
from lab.topologies.dr import hold_vip, receive_vip
from lab.topologies.wiring import Host, Network, clients, ip_batch, set_sysctls, wire

VIP = "198.51.100.100"
VIP6 = "2001:db8:2::100"

GUE_PORT = 6080

MODULES = ("ipip", "sit", "ip6_tunnel", "ip_gre", "ip6_gre", "fou", "fou6")

DEVICES = ("tunl0", "sit0", "ip6tnl0", "gre0", "ip6gre0")
"""One of each that the modules make in every namespace: it takes what no configured tunnel does, from any address."""


def addresses(number: int) -> tuple[str, str]:
    """Return the addresses of the real server of this number, from 1."""
    return f"203.0.113.{10 + number}", f"2001:db8:3::{10 + number}"


def build(client: Namespace, router: Namespace, director: Namespace, servers: Sequence[RealServer]) -> None:
    """Make and wire the machines. Raises `CommandError`, also when the kernel has no tunnels."""
    loaded = subprocess.run(["modprobe", "--all", *MODULES], check=False, capture_output=True, text=True, timeout=60)
    if loaded.returncode != 0:
        raise CommandError(f"modprobe: {loaded.stderr.strip()}")
    hosts = tuple(Host(server, server.address, server.address6) for server in servers)
    wire(
        router,
        [
            clients(client),
            Network("directors", "198.51.100.1", "2001:db8:2::1", (Host(director, "198.51.100.2", "2001:db8:2::2"),)),
            Network("servers", "203.0.113.1", "2001:db8:3::1", hosts),
        ],
    )
    # Replies come from where the VIP is not; a router that filters sources strictly drops them.
    set_sysctls(router, {"net.ipv4.conf.all.rp_filter": 2})
    receive_vip(director, VIP, VIP6)
    # Tunnels need no forwarding on the director, but fullnat does: it works in this network too.
    set_sysctls(director, {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
    for server in servers:
        hold_vip(server, VIP, VIP6)
        _unwrap(server)


def _unwrap(server: RealServer) -> None:
    # Clients' packets come out of a tunnel and are answered by another way. A strict filter drops them, a loose one too
    # where the tunnel's device has no address; of a device's own value and that for all the larger one holds.
    set_sysctls(server, {f"net.ipv4.conf.{device}.rp_filter": 0 for device in ("all", *DEVICES)})
    # What GUE carries is then taken for IPIP, and goes to the same devices.
    gue = f"fou add port {GUE_PORT} gue"
    ip_batch([*(f"link set {device} up" for device in DEVICES), gue], inside=server)
    # ip6tnl0 is made for IPv6 in IPv6 only.
    ip_batch(["tunnel change ip6tnl0 mode any", gue], inside=server, options=["-6"])
