"""Tunnels and fullnat: the real servers are on a network of their own, and a router lies before the director.

    client ----- clients: 192.0.2.0/24, 2001:db8:1::/64 ----- router ----- directors: 198.51.100.0/24, 2001:db8:2::/64
                                                                 |             |
                                                                 |          director, VIP on eth0
                                                                 |
                                                                 +-------- servers: 203.0.113.0/24, 2001:db8:3::/64
                                                                              |         |
                                                                             rs1  ...  rsN, VIP on lo

The director wraps a client's packet into a packet to a real server. The server unwraps it, and accepts it because it
also has the VIP. It answers from the VIP directly to the client, so the director never sees a reply. Every real server
unwraps IPIP, GRE and GUE. Both the outer and the inner packet may be IPv4 or IPv6.
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
"""The devices that the modules make in every namespace. Such a device accepts packets from any address, unless a
configured tunnel accepts them."""


def addresses(number: int) -> tuple[str, str]:
    """Return the IPv4 and IPv6 address of the real server with this number, counted from 1."""
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
    # Replies come from a network in which the VIP is not. A router that checks source addresses strictly drops them.
    set_sysctls(router, {"net.ipv4.conf.all.rp_filter": 2})
    receive_vip(director, VIP, VIP6)
    # Tunnels need no forwarding on the director, but fullnat does, which is tested in this network too.
    set_sysctls(director, {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})
    for server in servers:
        hold_vip(server, VIP, VIP6)
        _unwrap(server)


def _unwrap(server: RealServer) -> None:
    # Clients' packets arrive through a tunnel, and the answers take another way. So a strict check of source addresses
    # drops the packets, and a loose one also does if the tunnel's device has no address. The kernel uses the larger of
    # the device's own value and the value for "all", so both must be 0.
    set_sysctls(server, {f"net.ipv4.conf.{device}.rp_filter": 0 for device in ("all", *DEVICES)})
    # The packets inside GUE then go to the same devices as those of IPIP.
    gue = f"fou add port {GUE_PORT} gue"
    ip_batch([*(f"link set {device} up" for device in DEVICES), gue], inside=server)
    # By default, ip6tnl0 accepts only IPv6 in IPv6.
    ip_batch(["tunnel change ip6tnl0 mode any", gue], inside=server, options=["-6"])
