"""Events about what operators order, by a verb or by a file in the maintenance folder."""

from lvs_healthd.events.kinds.event import Event


class OperatorRequest(Event, frozen=True, kw_only=True):
    """Somebody asked for a change over the control socket, and it is being made."""

    name = "operator.request"
    request: str
    """What was asked for, such as "reload --force"."""
    uid: int
    pid: int


class OperatorRefused(Event, frozen=True, kw_only=True):
    """Somebody asked for a change over the control socket, and it is not made."""

    name = "operator.refused"
    level = "warning"
    request: str
    uid: int
    pid: int
    why: str
    """That this user may change nothing, or why this change was refused."""
    service: str = ""
    """The service that the request names, in the operator's words; "*" for all services, empty for none."""
    servers: tuple[str, ...] = ()
    """The servers that it names, in the operator's words."""


class OverrideSet(Event, frozen=True, kw_only=True):
    """An operator has drained or disabled a real server, or given it a weight. It stays so until somebody ends it."""

    name = "override.set"
    kind: str
    """"drain", "disable" or "weight"."""
    service: str
    """The service's name; "*" for all services."""
    server: str
    weight: int | None = None
    reason: str
    uid: int
    until: str
    """When it ends by itself; empty for never."""
    director: str = ""
    """The director on which it was ordered for the whole fleet; empty: it is for this one alone."""


class OverrideEnded(Event, frozen=True, kw_only=True):
    """What an operator had ordered about a real server is over (see override.set)."""

    name = "override.ended"
    kind: str
    service: str
    server: str
    why: str
    """Who has ended it, or "its time is over"."""
    after_s: float
    """How long it was in force, seconds."""
    director: str = ""
    """As in override.set."""


class OverrideEnding(Event, frozen=True, kw_only=True):
    """What an operator has ordered about a real server ends by itself soon."""

    name = "override.ending"
    level = "warning"
    kind: str
    service: str
    server: str
    reason: str
    uid: int
    in_s: float
    """In how many seconds it ends."""
    director: str = ""
    """As in override.set."""


class OverrideError(Event, frozen=True, kw_only=True):
    """A key of etcd that stands for an order cannot be understood. What it said before stays in force."""

    name = "override.error"
    level = "warning"
    key: str
    error: str
    todo: str
    """What to type so that it is gone."""


class OverrideLost(Event, frozen=True, kw_only=True):
    """etcd has another or an older state, without orders that were in force. They stay in force on this director."""

    name = "override.lost"
    level = "warning"
    orders: tuple[str, ...]
    """What each is about, as the key was named, at most twenty."""
    count: int
    todo: str


class MaintenanceBegan(Event, frozen=True, kw_only=True):
    """A file in the maintenance folder drains real servers, as long as it is there."""

    name = "maintenance.began"
    file: str
    servers: tuple[str, ...]
    """The address that the file means, with the port if it names one; several of a host."""
    count: int
    """How many configured servers that are, counting a server in each of its services."""


class MaintenanceEnded(Event, frozen=True, kw_only=True):
    """A file in the maintenance folder drains nobody any more (see maintenance.began)."""

    name = "maintenance.ended"
    file: str
    servers: tuple[str, ...]
    """What it meant (see maintenance.began)."""
    why: str
    """Such as that the file was removed."""
    after_s: float
    """Seconds since the file was made or last changed."""


class MaintenanceUnused(Event, frozen=True, kw_only=True):
    """A file in the maintenance folder drains nobody, or not what it should. This is told once."""

    name = "maintenance.unused"
    level = "warning"
    file: str
    why: str


class MaintenanceError(Event, frozen=True, kw_only=True):
    """The maintenance folder cannot be read. What it said before stays in force."""

    name = "maintenance.error"
    level = "warning"
    folder: str
    error: str
    files: int
    """How many files stay in force."""


class MaintenanceRecovered(Event, frozen=True, kw_only=True):
    """The maintenance folder is read again after an error."""

    name = "maintenance.recovered"
    folder: str
    files: int
    """How many files count in it now."""


class RealServerDrained(Event, frozen=True, kw_only=True):
    """A drained real server has no connections left, or its time for them is up. It leaves the kernel's table."""

    name = "real_server.drained"
    service: str
    server: str
    reason: str
    """"no connections left", or that the deadline has passed and how many connections are cut off."""
    after_s: float
    """Seconds since it was drained."""
