"""The IPVS table as values, the kernel's lines beside the wanted ones: for /api/v1/table and `lvs-healthd table`.

`lister` makes them. `gc=False` for the same reason as in `status`.
"""

import enum

import msgspec

from lvs_healthd.ipvs.kernel.statistics import Statistics
from lvs_healthd.view.status_values import DaemonStatus


class State(enum.StrEnum):
    """How a line of the kernel's table stands to the wanted one."""

    OK = "ok"
    MISSING = "missing"
    """Wanted, and not in the kernel's table."""
    EXTRA = "extra"
    """In the kernel's table in a place of ours, and not wanted."""
    DIFFERS = "differs"
    FOREIGN = "foreign"
    """Not configured: somebody else's, left alone."""
    OUT = "out"
    """A configured real server that is rightly in neither table."""


WRONG = (State.MISSING, State.EXTRA, State.DIFFERS)
"""What the daemon would change: writes at once, or in shadow mode does not."""


class ServiceFields(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A service's fields in an operator's words."""

    scheduler: str
    persistence: str
    """The timeout, or "off"."""
    netmask: str
    """Persistence granularity."""
    flags: str
    engine: str
    """Persistence engine, or "none"."""


class ServerFields(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A server's fields in an operator's words."""

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
    differences: tuple[str, ...]
    """Where it differs: "weight 3 -> 1" is 3 in the kernel's table and should be 1."""
    actual: ServerFields | None
    """None: not in the kernel's table."""
    wanted: ServerFields | None
    """None: it should not be in it, or is foreign."""
    verdict: str
    """As in `RealServerStatus`; empty for what is not configured."""
    reason: str
    statistics: Statistics | None
    """None: not in the kernel's table when it was last read."""


class ListedService(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual service."""

    name: str
    """Empty for what is not configured."""
    service: str
    """address:port/protocol or "fwmark N"."""
    state: State
    """Of the service's own line, without its servers."""
    differences: tuple[str, ...]
    actual: ServiceFields | None
    wanted: ServiceFields | None
    statistics: Statistics | None
    """The service's own counters; the connections that are there now are those of its servers, added up."""
    servers: tuple[ListedServer, ...]


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """Everything /api/v1/table shows."""

    daemon: DaemonStatus
    services: tuple[ListedService, ...]
