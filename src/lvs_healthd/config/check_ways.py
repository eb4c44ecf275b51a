"""Where the probes of a check leave the director, and the way of clients' packets that they stand for."""

import msgspec

from lvs_healthd.config.basics import Endpoint, Family, Protocol


class Way(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="kind", tag="way"):
    """Where the probes of a check leave the director. Its fields are keys of the check."""

    source: str = ""
    """The address to probe from. "": what the routing table says."""
    interface: str = ""
    """The interface to leave by (SO_BINDTODEVICE), such as that of a VRF. "": what the routing table says."""
    mark: int | None = None
    """The firewall mark of the packets (SO_MARK), for rules of routing and nftables."""
    dscp: int | None = None
    """The DSCP of the packets (RFC 2474)."""


class DataPath(msgspec.Struct, frozen=True, kw_only=True, cache_hash=True, gc=False):
    """The way that clients' packets take from the director to one real server: what one mark service stands for.

    The words are those of the configuration.
    """

    protocol: Protocol
    """The transport of the virtual service."""
    family: Family
    """The family of the virtual service's address."""
    server: Endpoint
    """The real server. Its port is 0 where packets keep the port that they were sent to."""
    forward: str
    tun_type: str = ""
    """The kind of tunnel; "" without one."""
    tun_port: int = 0
    tun_checksum: str = ""

    @property
    def method(self) -> str:
        """The forwarding method as an operator calls it: "nat", "dr", or for a tunnel "ipip", "gue" or "gre"."""
        return self.tun_type or self.forward

    def __str__(self) -> str:
        tunnel = f" port {self.tun_port}" if self.tun_port else ""
        tunnel += f" checksum {self.tun_checksum}" if self.tun_checksum not in {"", "off"} else ""
        return f"{self.protocol}/{self.family} {self.server.shown} {self.method}{tunnel}"


class PathWay(Way, frozen=True, kw_only=True, gc=False, tag="path"):
    """Where the probes of a check with `through = "vip"` leave. Such a check probes the service's own address.

    The file gives the fields of `Way` except `mark`. `daemon.paths` fills in what is left out.
    """

    path: DataPath
    source_port: int = 0
    """The port to probe from; 0 for one that the kernel chooses. IPVS remembers for minutes where the datagrams of a
    port go, so no two servers may ever see the same one."""
