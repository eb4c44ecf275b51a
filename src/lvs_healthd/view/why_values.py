"""Why a real server is up or down, as values, for /api/v1/why and `lvs-healthd why`.

A field that is added later has a default, so that a new command line reads an old daemon's answer.
"""

import msgspec

from lvs_healthd.view.agreement_values import OpinionWhy
from lvs_healthd.view.announce_values import AnnounceStatus
from lvs_healthd.view.source_values import SourceStatus
from lvs_healthd.view.store_values import KeyWhy


class CourseValues(msgspec.Struct, frozen=True, kw_only=True):
    """How one probe went. Times are seconds since its start; None for what it did not reach."""

    total_s: float
    connected_s: float | None = None
    secured_s: float | None = None
    """When TLS had begun."""
    answered_s: float | None = None
    """When the first byte had come."""
    heard: str = ""
    """The first bytes that came, quoted and without secrets. Empty if the probe passed."""


class StreakValues(msgspec.Struct, frozen=True, kw_only=True):
    """Like outcomes in succession. Times are Unix time."""

    outcome: str
    """"up", "down" or "unsure"."""
    reason: str
    """The stable reason, as in the metrics, such as "bad_status"."""
    detail: str
    began: float
    ended: float
    """When the last of them came. It may be the first."""
    times: int
    """How many there were, counted up to 256; a longer streak of failures in changing words is counted further."""


class CheckWhy(msgspec.Struct, frozen=True, kw_only=True):
    """One check of a real server."""

    name: str
    type: str
    target: str
    """The address:port that is probed."""
    verdict: str
    since: float
    """Unix time of the last change of verdict."""
    passes: int
    failures: int
    rise: int
    fall: int
    interval_s: float
    timeout_s: float
    last_probe: float | None
    """Unix time of the last outcome; None before the first."""
    course: CourseValues | None
    """How the last probe went; None before the first."""
    last_failed: CourseValues | None
    """How the last probe went that did not pass; None if none is known."""
    streaks: tuple[StreakValues, ...]
    """What the check found lately, the oldest first. Passes are left out before failures."""
    pace_s: float = 0.0
    """How often the probe is to run now, seconds; 0 from a daemon that does not say it."""


class OrderWhy(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator has ordered about the server, and is in force. Times are Unix time."""

    kind: str
    """"drain", "disable" or "weight"; or "maintenance" for a file in the maintenance folder."""
    text: str
    """What, who and why, in words: "drained by uid 0: kernel update"."""
    since: float
    until: float | None = None
    """When it ends by itself; None for never."""


class DampingWhy(msgspec.Struct, frozen=True, kw_only=True):
    """Whether the server goes up and down again and again. Times are Unix time."""

    flaps_since: float | None = None
    """When the episode began; None while there is none."""
    held_until: float | None = None
    """Until when it is held out because of that, if it stays steady; None while it is not."""
    reason: str = ""
    """Why it counts as flapping; empty if it does not."""
    is_damped: bool = False
    """Whether its service holds servers out that flap."""


class KeptBack(msgspec.Struct, frozen=True, kw_only=True):
    """Something that keeps the daemon from doing what is wanted."""

    by: str
    """"hold", "shadow", "brake", "veto", "fight" or "error" for what keeps the server's line from being written;
    "reload" if the last reload was rejected."""
    reason: str
    since: float | None = None
    """Unix time; None if it is not known. For "reload": when the configuration in force was loaded."""
    todo: str = ""
    """What ends it: what to type, or where to look."""


class PlanWhy(msgspec.Struct, frozen=True, kw_only=True):
    """The server's line in the wanted table."""

    weight: int | None
    """None when the server should not be in the table."""
    reason: str
    """Why."""
    uses_fallback: bool = False
    """Whether the service's fallback servers should be in the table."""
    service: str = ""
    """That too few real servers of the service may serve, and what is done about it; empty if enough may."""


class KernelWhy(msgspec.Struct, frozen=True, kw_only=True):
    """The server's line in the kernel's table, as last read and then changed by the daemon's own writes."""

    weight: int | None
    """None when the server is not in the table."""
    read: float | None = None
    """When the table was last read, Unix time; None if it has not been read yet."""
    is_as_planned: bool = True
    difference: str = ""
    """What is to be written: "add", "remove", or the fields with their old and new values; empty if nothing is."""
    todo: str = ""
    """Why that has not been written, and what to do; empty if nothing is to be written."""


class RoleWhy(msgspec.Struct, frozen=True, kw_only=True):
    """What this director of a pair is for the server's service."""

    role: str
    """"active" or "standby"."""
    vip: str
    """The address whose presence decides."""
    since: float
    """Unix time."""
    suspended: bool = False
    """Whether the service is not probed because of that."""


class Layers(msgspec.Struct, frozen=True, kw_only=True):
    """What lies between the verdict and the line in the kernel, in this order."""

    orders: tuple[OrderWhy, ...]
    damping: DampingWhy
    kept_back: tuple[KeptBack, ...]
    plan: PlanWhy
    kernel: KernelWhy
    role: RoleWhy | None = None
    """None for a service that is always active."""
    announced: AnnounceStatus | None = None
    """The service's address, as BGP announces it; None if the daemon has nothing to do with that."""
    directors: tuple[OpinionWhy, ...] = ()
    """What other directors say of the server."""
    source: SourceStatus | None = None
    """The source that lists the server; None if it is configured."""
    key: KeyWhy | None = None
    """The key of etcd that the service comes from; None if it is of the configuration's files."""


class PastWhy(msgspec.Struct, frozen=True, kw_only=True):
    """Something that has happened to the server, or to its service, its machine, or the way to it."""

    at: float
    """Unix time."""
    event: str
    """The name of the event, as in the log: "real_server.down"."""
    text: str


class ServerWhy(msgspec.Struct, frozen=True, kw_only=True):
    """One real server of one service."""

    service: str
    server: str
    """address:port."""
    verdict: str
    reason: str
    since: float | None
    """Unix time of the last change of verdict; None for a fallback server without checks."""
    override: str = ""
    """What operators have ordered about the server, who and why; empty for nothing."""
    weight_configured: int
    weight_wanted: int | None
    """None when the server should not be in the table."""
    weight_actual: int | None
    """None: the server is not in the kernel's table, as last read or written."""
    table_reason: str
    """Why the server's line in the wanted table is as it is; "" if there is no more to say than `reason`."""
    checks: tuple[CheckWhy, ...]
    is_fallback: bool = False
    layers: Layers | None = None
    """None from a daemon that does not say it."""
    history: tuple[PastWhy, ...] = ()
    """What has happened, the oldest first, at most `[daemon] history` entries."""


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for every real server that was meant."""

    now: float
    """Unix time of the answer."""
    servers: tuple[ServerWhy, ...]
