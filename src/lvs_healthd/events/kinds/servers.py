"""Events about real servers and their checks."""

from lvs_healthd.events.kinds.event import Event


class RealServerUp(Event, frozen=True, kw_only=True):
    """A real server may serve, because each of its checks has passed `rise` times in succession."""

    name = "real_server.up"
    service: str
    server: str
    check: str
    """The check that passed last."""
    reason: str
    passes: int
    rise: int
    was: str
    """The previous verdict: "down" or "unknown"."""
    after_s: float
    """How long the previous verdict was in force, seconds."""


class RealServerDown(Event, frozen=True, kw_only=True):
    """A real server may not serve, because one of its checks has failed `fall` times in succession."""

    name = "real_server.down"
    level = "warning"
    service: str
    server: str
    check: str
    reason: str
    """Why the check failed, for an operator, such as "no answer in 1s"."""
    failures: int
    fall: int
    was: str
    after_s: float


class RealServerWeight(Event, frozen=True, kw_only=True):
    """A real server asks for another weight, which it has from now on while it is up."""

    name = "real_server.weight"
    service: str
    server: str
    check: str
    """The check in which it asks."""
    reason: str
    weight: int
    was: int
    configured: int


class RealServerDownAnyway(RealServerDown, frozen=True, kw_only=True):
    """The same about a real server that operators keep from serving, so that it alarms nobody."""

    level = "info"


class RealServerFlapping(Event, frozen=True, kw_only=True):
    """A real server goes up and down again and again. Emitted once, until it has been steady for a whole window."""

    name = "real_server.flapping"
    level = "warning"
    service: str
    server: str
    reason: str
    is_damped: bool
    """Whether it is held out because of that."""


class RealServerDamped(Event, frozen=True, kw_only=True):
    """A real server is held out because it flaps, even while it is up."""

    name = "real_server.damped"
    level = "warning"
    service: str
    server: str
    reason: str
    for_s: float
    """How long it must be steady until it may serve again, seconds."""
    times: int
    """How many times it has been held out in this episode of flapping, this one included."""


class RealServerReleased(Event, frozen=True, kw_only=True):
    """A real server is not held out any more, and serves when it is up."""

    name = "real_server.released"
    service: str
    server: str
    verdict: str


class CheckFailing(Event, frozen=True, kw_only=True):
    """A check failed for the first time after a pass, or for a new reason. A verdict of "down" may follow."""

    name = "check.failing"
    level = "warning"
    service: str
    server: str
    check: str
    reason: str
    failures: int
    """How many probes have failed in succession, counted up to `fall`."""
    fall: int
    verdict: str
    """The check's verdict at this moment: "up", "unknown" or "down"."""


class CheckUnsure(Event, frozen=True, kw_only=True):
    """A probe was inconclusive because of a fault on the director. The verdict stays the same."""

    name = "check.unsure"
    level = "warning"
    service: str
    server: str
    check: str
    reason: str


class CheckStale(Event, frozen=True, kw_only=True):
    """No outcome has renewed a check's verdict for long. The verdict is held. Emitted once, until it is renewed."""

    name = "check.stale"
    level = "warning"
    service: str
    server: str
    check: str
    verdict: str
    age_s: float
    """How long ago the last outcome came that proved something, seconds."""
    reason: str
    """The last outcome in words."""


class CheckRenewed(Event, frozen=True, kw_only=True):
    """A check's verdict rests on a fresh outcome again, after `CheckStale`."""

    name = "check.renewed"
    service: str
    server: str
    check: str
    verdict: str


class CertificateEnding(Event, frozen=True, kw_only=True):
    """The certificate of a real server ends within a check's `expires_within`. Emitted once for each end."""

    name = "certificate.ending"
    level = "warning"
    service: str
    server: str
    check: str
    ends: str
    """When it ends."""
    days: int
    """How many whole days are left; negative after the end."""
