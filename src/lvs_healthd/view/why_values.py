"""Why a real server is up or down, as values, for /api/v1/why and `lvs-healthd why`.

A field that is added later has a default, so that a new command line reads an old daemon's answer.
"""

import msgspec


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


class ServerWhy(msgspec.Struct, frozen=True, kw_only=True):
    """One real server of one service."""

    service: str
    server: str
    """address:port."""
    verdict: str
    reason: str
    since: float
    """Unix time of the last change of verdict."""
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


class Why(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for every real server that was meant."""

    now: float
    """Unix time of the answer."""
    servers: tuple[ServerWhy, ...]
