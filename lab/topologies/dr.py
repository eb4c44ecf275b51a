"""Direct routing: the director and the real servers share one network, which clients reach through a router.

    client ----- clients: 192.0.2.0/24, 2001:db8:1::/64 ----- router ----- servers: 198.51.100.0/24, 2001:db8:2::/64
                                                                              |          |         |
                                                                           director     rs1  ...  rsN
                                                                        VIP on eth0      VIP on lo

The director sends a client's packet unchanged to the Ethernet address of a real server. The server accepts the packet,
because it also has the VIP. It answers from the VIP directly to the router, so the director never sees a reply.
"""

from collections.abc import Sequence

from lab.netns import Namespace, RealServer
from lab.topologies.wiring import Host, Network, clients, ip_batch, set_sysctls, wire

VIP = "198.51.100.100"
VIP6 = "2001:db8:2::100"


def addresses(number: int) -> tuple[str, str]:
    """Return the IPv4 and IPv6 address of the real server with this number, counted from 1."""
    return f"198.51.100.{10 + number}", f"2001:db8:2::{10 + number}"


def build(client: Namespace, router: Namespace, director: Namespace, servers: Sequence[RealServer]) -> None:
    """Make and wire the machines."""
    hosts = tuple(Host(server, server.address, server.address6) for server in servers)
    wire(
        router,
        [
            clients(client),
            Network(
                "servers",
                "198.51.100.1",
                "2001:db8:2::1",
                (Host(director, "198.51.100.2", "2001:db8:2::2"), *hosts),
            ),
        ],
    )
    receive_vip(director, VIP, VIP6)
    for server in servers:
        hold_vip(server, VIP, VIP6)


def receive_vip(director: Namespace, vip: str, vip6: str) -> None:
    """Let the director accept packets to the VIP."""
    # The IPv6 address is deprecated (preferred_lft 0). Otherwise it would also be the source of the director's own
    # probes and tunnels. The real servers have the VIP too, and would take packets from their own address for forged.
    ip_batch(
        [f"address add {vip}/32 dev eth0", f"address add {vip6}/128 dev eth0 nodad preferred_lft 0"], inside=director
    )


def hold_vip(server: RealServer, vip: str, vip6: str) -> None:
    """Let a real server accept packets to the VIP, without showing on its network that it has the VIP."""
    # Without these sysctls, the server would answer ARP requests for the VIP, and use the VIP as the sender's address
    # when it asks for the router. Either may make the router believe that the server owns the VIP. IPv6 needs no such
    # setting, because it does not answer for an address of another interface.
    set_sysctls(server, {"net.ipv4.conf.all.arp_ignore": 1, "net.ipv4.conf.all.arp_announce": 2})
    ip_batch([f"address add {vip}/32 dev lo", f"address add {vip6}/128 dev lo"], inside=server)
