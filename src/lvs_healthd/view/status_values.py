"""The daemon's state as one value, for /api/v1/status, `lvs-healthd status` and metrics. Built fresh each time.

`gc=False`: values that hold no one another need not be looked at by the garbage collector, twenty thousand at a time.
"""

from collections.abc import Iterator

import msgspec

from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics


class CheckStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One check of one real server."""

    name: str
    type: str
    target: str
    """Where the probe goes: address:port."""
    verdict: str
    reason: str
    """The last outcome in words."""
    passes: int
    """Consecutive passes so far, counted up to `rise`."""
    failures: int
    """Consecutive failures so far."""
    latency_s: float | None
    """Of the last probe; None before the first."""
    last_probe: float | None
    """Unix time of the last outcome; None before the first."""


class RealServerStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One real server of one service."""

    server: str
    """address:port."""
    verdict: str
    """up, down, unknown (not yet proven since start), or unchecked (a fallback server)."""
    reason: str
    since: float | None
    """Unix time of the last change of verdict; None for an unchecked server."""
    weight_configured: int
    weight_wanted: int | None
    """None: not wanted in the table."""
    weight_actual: int | None
    """None: not in the kernel's table, as last read or written."""
    fallback: bool
    checks: tuple[CheckStatus, ...]


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual service."""

    name: str
    service: str
    """address:port/protocol or "fwmark N"."""
    scheduler: str
    forward: str
    in_fallback: bool
    """No real server may serve."""
    in_sync: bool
    """The kernel's entry equals the wanted one."""
    real_servers: tuple[RealServerStatus, ...]


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon itself."""

    version: str
    pid: int
    mode: str
    table: str
    started: float
    """Unix time."""
    config_file: str
    config_loaded: float
    """Unix time of the last successful load."""
    config_error: str
    """Why the last reload was rejected; empty when it was not."""
    last_resync_age_s: float | None
    """Since the kernel's table was last read whole; None before the first time."""
    resync_s: float
    """How often that is to be, as configured."""
    probe_workers: int
    """How many processes run probes at present."""
    probes: int
    """Distinct probes that are run."""
    probes_unsure: int
    """How many of them could not tell the last time, through a fault on our own side: we are blind there."""
    unsure_reason: str
    """Why one of these could not tell; empty when none."""
    table_fights: int
    """Lines of the table that somebody else undoes again and again."""
    table_error: str
    """The last error of the table; empty when in order."""
    setting_error: str
    """Why a setting beside the table is not as configured; empty when all are."""


class ServiceSamples(msgspec.Struct, frozen=True, kw_only=True):
    """What metrics tell of one service, its real servers by column: of tens of thousands, a record each takes long.

    Fallback servers have no checks, and so no state; they are only among those that are `counted`. The fields are those
    of `RealServerStatus`.
    """

    name: str
    in_fallback: bool
    in_sync: bool
    servers: list[str]
    verdicts: list[str]
    since: list[float]
    weights_configured: list[int]
    weights_wanted: list[int | None]
    weights_actual: list[int | None]
    latencies: list[tuple[str, str, float]]
    """Server, name of the check, and the last probe's latency; without those that have not been probed."""
    statistics: ServiceStatistics | None
    """What the kernel has counted; None while the service is not in its table. Not decoded, for it is five times as
    large then."""
    counted: list[str | None]
    """The server of each line of the statistics; None for one that has left the table or was never configured."""
    is_persistent: bool


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that metrics read from the daemon's state."""

    daemon: DaemonStatus
    services: tuple[ServiceSamples, ...]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything /api/v1/status shows."""

    daemon: DaemonStatus
    services: tuple[ServiceStatus, ...]


def json_pieces(status: Status) -> Iterator[bytes]:
    """Encode it as JSON a service at a time: tens of thousands of servers at once would hold the event loop up."""
    yield b'{"daemon":' + msgspec.json.encode(status.daemon) + b',"services":['
    for number, service in enumerate(status.services):
        yield (b"," if number else b"") + msgspec.json.encode(service)
    yield b"]}"
