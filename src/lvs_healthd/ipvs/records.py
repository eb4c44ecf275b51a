"""IPVS table records, as values with equality. Names follow the kernel's include/uapi/linux/ip_vs.h.

Only what is configured is here; counters and connections are read beside it and are no part of equality.
"""

import enum

import msgspec

from lvs_healthd.ipvs.words import AF_INET6, PROTOCOL_NAMES, ForwardingMethod


class ServiceKey(msgspec.Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """What the kernel tells services apart by: either protocol, address and port, or a firewall mark.

    Records hold no cycles and there are tens of thousands, so the garbage collector need not walk them (`gc=False`).
    """

    family: int
    protocol: int = 0
    address: str = ""
    port: int = 0
    fwmark: int = 0

    def __str__(self) -> str:
        if self.fwmark:
            return f"fwmark {self.fwmark}" + (" ipv6" if self.family == AF_INET6 else "")
        address = f"[{self.address}]" if self.family == AF_INET6 else self.address
        return f"{address}:{self.port}/{PROTOCOL_NAMES.get(self.protocol, self.protocol)}"


class ServiceRecord(msgspec.Struct, frozen=True, gc=False):
    """A virtual service as the kernel keeps it."""

    key: ServiceKey
    scheduler: str
    flags: int = 0
    """SVC_F_* without SVC_F_HASHED."""
    timeout: int = 0
    """Persistence timeout, seconds."""
    netmask: int = 32
    """Persistence granularity as a prefix length: 32 (IPv4) or 128 (IPv6) is one client.

    Negative for an IPv4 mask with holes, which no length can say (`ipvsadm -M 255.0.255.0`): minus the mask as a
    number.
    """
    persistence_engine: str = ""


class DestinationKey(msgspec.Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """What the kernel tells the destinations of one service apart by."""

    family: int
    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.family == AF_INET6 else f"{self.address}:{self.port}"


class DestinationRecord(msgspec.Struct, frozen=True, gc=False):
    """A real server of one service as the kernel keeps it."""

    key: DestinationKey
    forward: ForwardingMethod
    weight: int
    upper_threshold: int = 0
    lower_threshold: int = 0
    tunnel_type: int = 0
    """TUNNEL_IPIP, TUNNEL_GUE or TUNNEL_GRE."""
    tunnel_port: int = 0
    tunnel_flags: int = 0


class ServiceEntry(msgspec.Struct):
    """A service with its destinations."""

    service: ServiceRecord
    destinations: dict[DestinationKey, DestinationRecord]


Table = dict[ServiceKey, ServiceEntry]
"""A whole IPVS table: the kernel's (actual) or ours (wanted)."""

TableLine = tuple[ServiceKey, DestinationKey | None]
"""One line of a table: a server of a service, or (None) the service itself."""


class Why(msgspec.Struct, frozen=True, gc=False):
    """Why a server's line in the wanted table is what it is."""

    reason: str
    first_failure: float | None = None
    """When the first failed probe of the streak that took the server out began, on the monotonic clock, seconds."""


class Wanted(msgspec.Struct, frozen=True):
    """The plan as the reconciler takes it: the table we want, and what to say about it.

    Its maker goes on changing it in place, line by line, and tells the reconciler which lines (`Reconciler.want`).
    """

    table: Table
    names: dict[ServiceKey, str]
    """The configured name of each service."""
    why: dict[tuple[ServiceKey, DestinationKey], Why]
    """For every configured server, also those that are not in the table."""
    shared: dict[ServiceKey, frozenset[DestinationKey]] = {}
    """Services in which somebody else may have servers too, with all that are configured."""


class Verb(enum.StrEnum):
    """The writes we make."""

    ADD_SERVICE = "add_service"
    SET_SERVICE = "set_service"
    DELETE_SERVICE = "delete_service"
    ADD_SERVER = "add_server"
    SET_SERVER = "set_server"
    DELETE_SERVER = "delete_server"


class Operation(msgspec.Struct, frozen=True, gc=False):
    """One write. Records are whole: the kernel replaces every field."""

    verb: Verb
    service: ServiceRecord
    destination: DestinationRecord | None = None
    was: ServiceRecord | DestinationRecord | None = None
    """The record it replaces or deletes, for the log line; None on add."""


class Result(msgspec.Struct, frozen=True, gc=False):
    """What the kernel said to one operation. `errno` 0 is done; None is unknown (ENOBUFS or deadline): read back."""

    errno: int | None
    message: str = ""

    @property
    def ok(self) -> bool:
        """Whether the kernel acknowledged the operation."""
        return self.errno == 0
