"""NAT: the director is the router between the client and the real servers.

    client ----- clients: 192.0.2.0/24, 2001:db8:1::/64 ----- director ----- servers: 198.51.100.0/24, 2001:db8:2::/64
                                                                 |               |          |
                                                    VIP on the client side      rs1  ...   rsN

The director is the real servers' default route, because it must translate their replies. The client can reach the
servers only through the director.
"""

from collections.abc import Sequence

from lab.netns import Namespace, RealServer
from lab.topologies.wiring import Host, Network, clients, ip_batch, set_sysctls, wire

VIP = "192.0.2.100"
VIP6 = "2001:db8:1::100"


def addresses(number: int) -> tuple[str, str]:
    """Return the IPv4 and IPv6 address of the real server with this number, counted from 1."""
    return f"198.51.100.{10 + number}", f"2001:db8:2::{10 + number}"


def build(client: Namespace, director: Namespace, servers: Sequence[RealServer]) -> None:
    """Make and wire the machines."""
    hosts = tuple(Host(server, server.address, server.address6) for server in servers)
    wire(
        director,
        [
            clients(client),
            Network("servers", "198.51.100.1", "2001:db8:2::1", hosts),
        ],
    )
    # Source addresses can be checked strictly here, because replies take the same way as requests.
    set_sysctls(director, {"net.ipv4.conf.all.rp_filter": 1})
    ip_batch([f"address add {VIP}/32 dev clients", f"address add {VIP6}/128 dev clients nodad"], inside=director)
