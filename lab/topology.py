"""Networks of the lab as code: a client, a director and real servers, each with its own network stack.

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

    Each takes the network down at the end, with all that still runs in it. A second topology at the same time gets
    namespaces of other names, and may use the same addresses.
    """

    client: Namespace
    router: Namespace
    """What replies pass on their way to the client: with NAT that is the director."""
    director: Namespace
    servers: tuple[RealServer, ...]
    vip: str
    vip6: str
    client_address: str = CLIENT
    client_address6: str = CLIENT6

    @classmethod
    @contextlib.contextmanager
    def nat(cls, *, servers: int = 2) -> Iterator["Topology"]:
        """Build a network for NAT with so many real servers: the director is their default route."""
        addresses = [nat.addresses(number) for number in range(1, servers + 1)]
        topology = cls._planned(nat.VIP, nat.VIP6, addresses, routed=False)
        with _taken_down(topology):
            nat.build(topology.client, topology.director, topology.servers)
            yield topology

    @classmethod
    @contextlib.contextmanager
    def dr(cls, *, servers: int = 2) -> Iterator["Topology"]:
        """Build a network for direct routing with so many real servers: they and the director share a network."""
        topology = cls._planned(dr.VIP, dr.VIP6, [dr.addresses(number) for number in range(1, servers + 1)])
        with _taken_down(topology):
            dr.build(topology.client, topology.router, topology.director, topology.servers)
            yield topology

    @classmethod
    @contextlib.contextmanager
    def tun(cls, *, servers: int = 2) -> Iterator["Topology"]:
        """Build a network for tunnels with so many real servers, which unwrap every kind and are a router away."""
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
        """Name the machines, of which none is there yet."""
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
