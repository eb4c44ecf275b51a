"""The daemon's state as values, for /api/v1/status, `lvs-healthd status` and metrics. They are built for each request.

`gc=False`: these values cannot form cycles, so the garbage collector need not scan them. There can be twenty thousand.
"""

from collections.abc import Iterator

import msgspec

from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics


class CheckStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One check of one real server."""

    name: str
    type: str
    target: str
    """The address:port that is probed."""
    verdict: str
    reason: str
    """The last outcome in words, or that there is none yet."""
    passes: int
    """Length of the current streak of passes, counted up to `rise`."""
    failures: int
    """Length of the current streak of failures."""
    latency_s: float | None
    """Duration of the last probe; None before the first."""
    last_probe: float | None
    """Unix time of the last outcome; None before the first."""


class RealServerStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One real server of one service."""

    server: str
    """address:port."""
    verdict: str
    """"up", "down", "unknown" (not yet proven since the start) or "unchecked" (a fallback server)."""
    reason: str
    since: float | None
    """Unix time of the last change of verdict; None for an unchecked server."""
    weight_configured: int
    weight_wanted: int | None
    """The weight in the wanted table; None when the server should not be in the table."""
    weight_actual: int | None
    """The weight in the kernel's table, as last read or written; None when the server is not in the table."""
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
    """Whether no real server may serve."""
    in_sync: bool
    """Whether the service and its servers are in the kernel's table exactly as wanted."""
    real_servers: tuple[RealServerStatus, ...]


class DaemonStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon itself."""

    version: str
    pid: int
    mode: str
    table: str
    started: float
    """Unix time of the start."""
    config_file: str
    config_loaded: float
    """Unix time of the last successful load."""
    config_error: str
    """Why the last reload was rejected; empty if it was not."""
    last_resync_age_s: float | None
    """How many seconds ago the kernel's whole table was last read; None before the first reading."""
    resync_s: float
    """The configured time between two readings of the kernel's whole table, seconds."""
    probe_workers: int
    """How many processes run probes now."""
    probes: int
    """How many distinct probes the daemon runs."""
    probes_unsure: int
    """How many probes had an unsure last outcome. A fault on our own side keeps us from judging their servers."""
    unsure_reason: str
    """Why the last outcome of one of the unsure probes was unsure; empty if no probe is."""
    table_fights: int
    """How many lines of the table (services and servers) somebody else undoes again and again."""
    table_error: str
    """The last error in reading or writing the table; empty while all is well."""
    setting_error: str
    """Why a setting other than the IPVS table is not as configured; empty while all are."""


class ServiceSamples(msgspec.Struct, frozen=True, kw_only=True):
    """One service as metrics see it, with a column for each field of its real servers.

    A column is a list with one item per server. Building a record for each of tens of thousands of servers instead
    would take too long. The fields are those of `RealServerStatus`. Fallback servers have no checks and so no verdict:
    they appear only in `counted`.
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
    """Server, name of the check, and duration of its last probe, for each check that has been probed."""
    statistics: ServiceStatistics | None
    """The kernel's counters; None while the service is not in its table. They stay encoded, because they would be five
    times as large when decoded."""
    counted: list[str | None]
    """Which server each line of `statistics` is about; None if it has left the table or was never configured."""
    is_persistent: bool


class Samples(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the metrics read from the daemon's state."""

    daemon: DaemonStatus
    services: tuple[ServiceSamples, ...]


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Everything /api/v1/status shows."""

    daemon: DaemonStatus
    services: tuple[ServiceStatus, ...]


def json_pieces(status: Status) -> Iterator[bytes]:
    """Encode a status as JSON, one service per piece. Encoding it in one go would block the event loop."""
    yield b'{"daemon":' + msgspec.json.encode(status.daemon) + b',"services":['
    for number, service in enumerate(status.services):
        yield (b"," if number else b"") + msgspec.json.encode(service)
    yield b"]}"
