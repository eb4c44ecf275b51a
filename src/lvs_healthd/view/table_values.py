"""The IPVS table as values, for /api/v1/table and `lvs-healthd table`: the kernel's lines next to the wanted ones.

`view.table` makes them. `status_values` explains why the values have `gc=False`, and why fields that newer versions
added have defaults.
"""

import enum

import msgspec

from lvs_healthd.ipvs.kernel.statistics import Statistics
from lvs_healthd.view.status_values import DaemonStatus


class State(enum.StrEnum):
    """How a line of the kernel's table (a service or a server) compares with the wanted line."""

    OK = "ok"
    MISSING = "missing"
    """Wanted, but not in the kernel's table."""
    EXTRA = "extra"
    """Ours and in the kernel's table, but not wanted."""
    DIFFERS = "differs"
    FOREIGN = "foreign"
    """Not configured. The line is somebody else's and is left alone."""
    OUT = "out"
    """A configured real server that should not be in the table now, and is not."""


WRONG = (State.MISSING, State.EXTRA, State.DIFFERS)
"""The states that the daemon corrects at once. In shadow mode it only reports them."""


class Difference(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A field in which the kernel's line differs from the wanted one, with both values in an operator's words."""

    field: str
    """Its name in `ServiceFields` or `ServerFields`."""
    actual: str
    wanted: str


class ServiceFields(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A service's fields in the words an operator uses."""

    scheduler: str
    persistence: str
    """The timeout, or "off"."""
    netmask: str
    """The granularity of persistence: clients in the same network of this size get the same server."""
    flags: str
    engine: str
    """Persistence engine, or "none"."""


class ServerFields(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A server's fields in the words an operator uses."""

    forward: str
    weight: int
    upper_threshold: int
    lower_threshold: int
    tunnel: str


class ListedServer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One server of one service."""

    server: str
    """address:port."""
    state: State
    differences: tuple[Difference, ...]
    actual: ServerFields | None = None
    """None: the server is not in the kernel's table."""
    wanted: ServerFields | None = None
    """None: the server should not be in the table, or is foreign."""
    verdict: str = ""
    """As in `RealServerStatus`; empty if the server is not configured."""
    reason: str = ""
    statistics: Statistics | None = None
    """None: the server was not in the kernel's table at the last reading."""


class ListedService(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual service."""

    service: str
    """The name in the configuration; empty if the service is not configured."""
    address: str
    """address:port/protocol or "fwmark N"."""
    state: State
    """The state of the service's own line, whatever its servers' states."""
    differences: tuple[Difference, ...] = ()
    actual: ServiceFields | None = None
    wanted: ServiceFields | None = None
    statistics: Statistics | None = None
    """The service's own counters. The numbers of current connections are the sums over its servers."""
    servers: tuple[ListedServer, ...]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Everything /api/v1/table shows."""

    daemon: DaemonStatus
    services: tuple[ListedService, ...]
