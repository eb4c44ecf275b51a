"""Builds the networks of the lab: a client, a director and real servers, each with its own network stack.

Addresses are from the documentation ranges (RFC 5737, RFC 3849). Each topology's drawing is in its file in
`lab/topologies/`.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lab.ipvsadm import Ipvsadm
from lab.netns import Namespace, RealServer
from lab.topologies import dr, nat, tun
from lab.topologies.wiring import CLIENT, CLIENT6, free_suffix, take_down


@dataclass(frozen=True, slots=True)
class Topology:
    """The machines of one lab network. Build one with `Topology.nat`, `Topology.dr` or `Topology.tun`.

    At the end of the block, the network is taken down and everything that still runs in it is killed. A second topology
    at the same time has other names for its namespaces, and may use the same addresses.
    """

    client: Namespace
    router: Namespace
    """The machine through which replies reach the client. With NAT it is the director."""
    director: Namespace
    servers: tuple[RealServer, ...]
    vip: str
    vip6: str
    client_address: str = CLIENT
    client_address6: str = CLIENT6

    @classmethod
    @contextlib.contextmanager
    def nat(cls, *, servers: int = 2) -> Iterator["Topology"]:
        """Build a network for NAT with this number of real servers. The director is their default route."""
        addresses = [nat.addresses(number) for number in range(1, servers + 1)]
        topology = cls._planned(nat.VIP, nat.VIP6, addresses, routed=False)
        with _taken_down(topology):
            nat.build(topology.client, topology.director, topology.servers)
            yield topology

    @classmethod
    @contextlib.contextmanager
    def dr(cls, *, servers: int = 2) -> Iterator["Topology"]:
        """Build a network for direct routing with this number of real servers, which the director shares."""
        topology = cls._planned(dr.VIP, dr.VIP6, [dr.addresses(number) for number in range(1, servers + 1)])
        with _taken_down(topology):
            dr.build(topology.client, topology.router, topology.director, topology.servers)
            yield topology

    @classmethod
    @contextlib.contextmanager
    def tun(cls, *, servers: int = 2) -> Iterator["Topology"]:
        """Build a network for tunnels with this number of real servers.

        The servers unwrap every kind of tunnel. A router lies between them and the director.
        """
        topology = cls._planned(tun.VIP, tun.VIP6, [tun.addresses(number) for number in range(1, servers + 1)])
        with _taken_down(topology):
            tun.build(topology.client, topology.router, topology.director, topology.servers)
            yield topology

    @property
    def machines(self) -> tuple[Namespace, ...]:
        """Every namespace of the topology."""
        return (self.client, *([] if self.router == self.director else [self.router]), self.director, *self.servers)

    @property
    def ipvsadm(self) -> Ipvsadm:
        """The director's IPVS table, as ipvsadm shows and edits it."""
        return Ipvsadm(self.director)

    @classmethod
    def _planned(cls, vip: str, vip6: str, servers: Sequence[tuple[str, str]], *, routed: bool = True) -> "Topology":
        """Choose the names and addresses of the machines, without making any."""
        suffix = free_suffix()
        director = Namespace(f"director{suffix}")
        return cls(
            client=Namespace(f"client{suffix}"),
            router=Namespace(f"router{suffix}") if routed else director,
            director=director,
            servers=tuple(RealServer(f"rs{number}{suffix}", *pair) for number, pair in enumerate(servers, 1)),
            vip=vip,
            vip6=vip6,
        )


@contextlib.contextmanager
def _taken_down(topology: Topology) -> Iterator[None]:
    try:
        yield
    finally:
        take_down(topology.machines)
