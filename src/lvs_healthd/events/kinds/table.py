"""Events about the kernel's table: what is written, what others change, and what keeps from writing."""

from lvs_healthd.events.kinds.event import Event


class TableChanged(Event, frozen=True, kw_only=True):
    """The kernel has acknowledged a write. In shadow mode, the write would have been made."""

    name = "table.changed"
    operation: str
    """The kind of write: add_service, set_service, delete_service, add_server, set_server or delete_server."""
    service: str
    server: str
    """Empty for an operation on the service itself."""
    reason: str
    fields: str
    """The fields that were set, each with its old and new value, such as "weight 1 -> 0"."""
    shadow: bool
    detection_s: float | None = None
    """Seconds from the start of the first failed probe to the kernel's acknowledgement. None unless failures took the
    server out."""


class TableDrift(Event, frozen=True, kw_only=True):
    """Somebody else has changed the kernel's table since the daemon's last write.

    The correction follows as table.changed.
    """

    name = "table.drift"
    level = "warning"
    service: str
    server: str
    found: str
    """The difference, such as "missing", "not configured" or "weight 7, expected 1"."""
    instead: str = ""
    """The command that does the same to last, such as "lvs-healthd drain web 198.51.100.12:80"; empty if none does."""


class TableFight(Event, frozen=True, kw_only=True):
    """Somebody else undoes the same write of the daemon again and again. This event is repeated every ten minutes."""

    name = "table.fight"
    level = "error"
    service: str
    server: str
    times: int
    """How often in succession the write was undone."""
    hold_s: float
    """How long the daemon waits before it makes the write again, seconds."""
    suspects: tuple[str, ...]
    """Programs that are running on the director and manage IPVS tables, such as "keepalived (pid 812)"."""


class TableFightOver(Event, frozen=True, kw_only=True):
    """A fight (see table.fight) has ended: nobody has undone the daemon's write for a while."""

    name = "table.fight_over"
    service: str
    server: str


class TableError(Event, frozen=True, kw_only=True):
    """The kernel refused a write, or the table could not be read. The daemon tries again after `retry_s` seconds."""

    name = "table.error"
    level = "error"
    operation: str
    service: str
    server: str
    error: str
    retry_s: float


class TableRecovered(Event, frozen=True, kw_only=True):
    """The table is in sync again after errors."""

    name = "table.recovered"
    errors: int
    after_s: float


class TableHeld(Event, frozen=True, kw_only=True):
    """An operator holds a service or the whole table: nothing is written to it until it is released."""

    name = "table.held"
    level = "warning"
    service: str
    """Empty when the whole table is held."""
    uid: int
    """The user who ordered it; -1 if the file of holds could not be read."""
    reason: str


class TableReleased(Event, frozen=True, kw_only=True):
    """An operator has ended a hold. What is wanted is written again."""

    name = "table.released"
    service: str
    uid: int
    """The user who ended it."""
    after_s: float
    """How long the hold was in force, seconds."""


class BrakeOn(Event, frozen=True, kw_only=True):
    """Nearly all targets behind one way have fallen silent together: none is taken out. Repeated for a new cause."""

    name = "brake.on"
    level = "error"
    way: str
    """The interface, or the interface and the next hop behind it: "eth1", "eth1 via 198.51.100.1"."""
    silent: int
    targets: int
    """How many targets there are behind it, without those that were silent long before."""
    cause: str
    """What was found wrong with the director, and what to do."""


class BrakeOff(Event, frozen=True, kw_only=True):
    """The brake is let go. What is wanted is written again."""

    name = "brake.off"
    level = "warning"
    way: str
    reason: str
    """What ended it."""
    after_s: float
    """How long it was on, seconds."""
