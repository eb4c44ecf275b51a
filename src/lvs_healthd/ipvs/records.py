"""The records of an IPVS table: services, destinations, and the writes that change them.

Records are equal when their fields are equal. Names follow the kernel's include/uapi/linux/ip_vs.h. A record holds only
what can be configured; counters and connections are read separately and take no part in comparisons.
"""

import enum

import msgspec

from lvs_healthd.ipvs.words import AF_INET6, PROTOCOL_NAMES, ForwardingMethod


class ServiceKey(msgspec.Struct, frozen=True, order=True, cache_hash=True, gc=False):
    """What identifies a service: its protocol, address and port, or a firewall mark.

    There may be tens of thousands of keys and records. They never contain a reference back to themselves, so the
    garbage collector does not have to scan them (`gc=False`).
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
    """A virtual service, with the fields that the kernel keeps for it."""

    key: ServiceKey
    scheduler: str
    flags: int = 0
    """The service's flags (SVC_F_*), except SVC_F_HASHED."""
    timeout: int = 0
    """Persistence timeout, seconds."""
    netmask: int = 32
    """Persistence granularity as a prefix length. With 32 (IPv4) or 128 (IPv6), each address is a client of its own.

    An IPv4 mask with holes (`ipvsadm -M 255.0.255.0`) has no prefix length. It is stored as a negative number: minus
    the mask.
    """
    persistence_engine: str = ""


class DestinationKey(msgspec.Struct, frozen=True, order=True, gc=False):
    """What identifies a destination within its service.

    There are tens of thousands, so its hash is not kept: that takes 48 bytes, and saves some ten nanoseconds.
    """

    family: int
    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if self.family == AF_INET6 else f"{self.address}:{self.port}"


class DestinationRecord(msgspec.Struct, frozen=True, gc=False):
    """A real server of one service, with the fields that the kernel keeps for it."""

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
"""A whole IPVS table: the kernel's (actual), or the one that the daemon plans (wanted)."""

TableLine = tuple[ServiceKey, DestinationKey | None]
"""What identifies a line of a table: a service and one of its servers, or None for the line of the service itself."""


class Why(msgspec.Struct, frozen=True, gc=False):
    """Why a server is in the wanted table as it is, or is not in it."""

    reason: str
    first_failure: float | None = None
    """When the first failed probe of the current streak began, seconds on the monotonic clock; None if there is no such
    streak."""
    is_asked: bool = False
    """Whether its weight is what an operator or the server itself has asked for, and not the configured one."""
    takes_orders: bool = True
    """Whether it is a configured real server, which operators can drain, disable, or give a weight."""


class Wanted(msgspec.Struct, frozen=True):
    """What the reconciler gets from the planner: the wanted table, the services' names, and a reason for each server.

    The planner changes it in place, line by line, and tells the reconciler which lines have changed
    (`Reconciler.want`).
    """

    table: Table
    names: dict[ServiceKey, str]
    """The configured name of each service."""
    why: dict[tuple[ServiceKey, DestinationKey], Why]
    """The reason for every configured server, including those that are not in the table."""
    shared: dict[ServiceKey, frozenset[DestinationKey]] = {}
    """The services in which somebody else may also have servers, each with the servers that are configured."""


class Verb(enum.StrEnum):
    """The kinds of writes that the daemon makes."""

    ADD_SERVICE = "add_service"
    SET_SERVICE = "set_service"
    DELETE_SERVICE = "delete_service"
    ADD_SERVER = "add_server"
    SET_SERVER = "set_server"
    DELETE_SERVER = "delete_server"


class Operation(msgspec.Struct, frozen=True, gc=False):
    """One write to the table. It carries whole records, because the kernel replaces every field."""

    verb: Verb
    service: ServiceRecord
    destination: DestinationRecord | None = None
    was: ServiceRecord | DestinationRecord | None = None
    """The record that the write replaces or deletes, for the log line; None when the write adds one."""


class Result(msgspec.Struct, frozen=True, gc=False):
    """The kernel's answer to one operation.

    `errno` is 0 when the write succeeded. It is None when the answer was lost (ENOBUFS) or came too late. What happened
    is then only known after the table has been read back.
    """

    errno: int | None
    message: str = ""

    @property
    def ok(self) -> bool:
        """Whether the kernel acknowledged the operation."""
        return self.errno == 0
