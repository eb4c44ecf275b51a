"""The daemon's state as values, for /api/v1/status, `lvs-healthd status` and metrics. They are built for each request.

A field that is added later has a default, so that a new command line reads an old daemon's answer.

`gc=False`: these values cannot form cycles, so the garbage collector does not have to scan them. There may be twenty
thousand at a time.
"""

from collections.abc import Iterator

import msgspec

from lvs_healthd.ipvs.kernel.statistics import ServiceStatistics
from lvs_healthd.view.agreement_values import AgreementStatus
from lvs_healthd.view.announce_values import AnnounceStatus
from lvs_healthd.view.hold_values import BrakeStatus, HoldStatus
from lvs_healthd.view.source_values import SourceStatus
from lvs_healthd.view.store_values import StoreStatus


class CheckStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One check of one real server."""

    name: str
    type: str = ""
    target: str = ""
    """The address:port that is probed."""
    verdict: str
    reason: str
    """The last outcome in words."""
    passes: int = 0
    """Length of the current streak of passes, counted up to `rise`."""
    failures: int = 0
    """Length of the current streak of failures."""
    latency_s: float | None = None
    """Duration of the last probe; None before the first."""
    last_probe: float | None = None
    """Unix time of the last outcome; None before the first."""
    certificate_end: float | None = None
    """When the certificate ends that the target presented last, Unix time; None without one."""
    remark: str = ""
    """What somebody should look at although the check may pass: that its verdict is only held, or that this certificate
    ends soon."""


class RealServerStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One real server of one service."""

    server: str
    """address:port."""
    verdict: str
    """"up", "down", "unknown" (not yet proven since the start) or "unchecked" (a fallback server
    without checks)."""
    reason: str
    since: float | None = None
    """Unix time of the last change of verdict; None for an unchecked server."""
    weight_configured: int
    weight_wanted: int | None
    """The weight in the wanted table; None when the server should not be in the table."""
    weight_actual: int | None
    """None: the server is not in the kernel's table, as last read or written."""
    fallback: bool = False
    state: str = ""
    """"drained" or "disabled" if an operator wants that, whatever the verdict; "damped" if it is up, but held out
    because it flaps; otherwise empty."""
    override: str = ""
    """What operators have ordered about the server, who and why, in words; empty for nothing."""
    checks: tuple[CheckStatus, ...] = ()


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual service."""

    service: str
    """The name in the configuration."""
    address: str = ""
    """address:port/protocol or "fwmark N"."""
    scheduler: str = ""
    forward: str = ""
    in_fallback: bool
    """Whether no real server may serve."""
    min_up: int = 1
    """How many real servers must be able to serve, or how much weight."""
    able: int = 0
    """How many real servers may serve, or how much weight, in the unit of `min_up`."""
    counts_weight: bool = False
    """Whether `min_up` and `able` are weights."""
    below: str = ""
    """What is done because fewer may serve than `min_up`: "fail_open", "fallback" or "none". Empty if enough may."""
    in_sync: bool = True
    """Whether the kernel's entry equals the wanted one."""
    held_by: str = ""
    """What keeps the daemon from writing what is wanted: "shadow" (the service's own mode), "operator", "brake"
    or "veto" (of other directors).

    It is "" if nothing does.
    """
    role: str = ""
    """"active" or "standby" on this director of a pair; empty for a service that is always active."""
    vip: str = ""
    """The address whose presence makes it active; empty for a service that is always active."""
    role_since: float | None = None
    """Since when it has that role, Unix time; None without one."""
    suspended: bool = False
    """Whether none of its servers is probed, because it is standby. Their verdicts are those it had before."""
    real_servers: tuple[RealServerStatus, ...]


class TrackStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The track file, by which VRRP knows whether this director can serve."""

    file: str
    value: int | None
    """0: it can. 1: it cannot. None: the file has not been read or written yet."""
    reason: str = ""
    """Why; empty while that is not known, and the file stays as it was."""
    error: str = ""
    """Why the file cannot be read or written; empty while it can."""


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
    config_error: str = ""
    """Why the last reload was rejected; empty if it was not."""
    config_remarks: tuple[str, ...] = ()
    """The remarks on the configuration in force, one line of text each."""
    last_resync: float | None = None
    """Unix time at which the whole of the kernel's table was last read; None before the first reading."""
    resync_s: float = 0.0
    """The configured time between two such readings."""
    probe_workers: int = 1
    """How many processes run probes now."""
    probes: int = 0
    """How many distinct probes the daemon runs."""
    probes_unsure: int = 0
    """How many probes have an unsure last outcome, because of a fault on the director."""
    unsure_reason: str = ""
    """Why one of these outcomes is unsure; empty if there are none."""
    table_fights: int = 0
    """Lines of the table that somebody else undoes again and again."""
    table_error: str = ""
    """The last error of the table; empty while all is well."""
    setting_error: str = ""
    """Why a setting beside the table is not as configured; empty while all settings are."""
    network_faults: tuple[str, ...] = ()
    """Faults of the director's own network that make servers seem dead, and what to do about each."""
    setting_advice: tuple[str, ...] = ()
    """Sysctls whose values keep a service from working as its operator expects, and what to do about each."""
    state_error: str = ""
    """Why the state file cannot be written; empty while it can."""
    hook_errors: tuple[str, ...] = ()
    """The hooks that fail now, each with why."""
    clock_suspected: str = ""
    """Why the director's clock is suspected to be wrong, and what to do; empty while it is not."""
    overrides: int = 0
    """How many orders of operators about servers are in force."""
    maintenance_files: int = 0
    """How many files of the maintenance folder drain servers."""
    maintenance_error: str = ""
    """Why the maintenance folder cannot be read, so that what it said before is in force; empty while it can."""
    maintenance_unused: tuple[str, ...] = ()
    """Which files of the maintenance folder drain nobody, or not what they should, and why."""
    maintenance_unused_files: int = 0
    """How many such files there are. `maintenance_unused` does not name all of them if they are many."""
    brakes: tuple[BrakeStatus, ...] = ()
    """The ways on which the brake is on: no server behind them is taken out because it is silent."""
    holds: tuple[HoldStatus, ...] = ()
    """What operators hold: nothing is written to it."""
    track: TrackStatus | None = None
    """The track file; None without one, and in shadow mode."""
    pair_error: str = ""
    """Why the addresses of this host are not known, so that every service counts as active; empty while they are."""
    announced: tuple[AnnounceStatus, ...] = ()
    """The addresses that BGP announces while their services may serve."""
    announced_foreign: tuple[str, ...] = ()
    """The addresses on the same interfaces that are none of ours, so that BGP may announce them too."""
    agreement: AgreementStatus | None = None
    """What this director and others tell each other; None if they do not."""
    sources: tuple[SourceStatus, ...] = ()
    """The sources of real servers besides the configuration, such as files that list them."""
    store: StoreStatus | None = None
    """etcd, from which services come besides those of the configuration; None without one."""


class ServiceSamples(msgspec.Struct, frozen=True, kw_only=True):
    """One service as metrics see it, with a column for each field of its real servers.

    A column is a list with one item per server. Building a record for each of tens of thousands of servers instead
    would take too long. The fields are those of `RealServerStatus`. Fallback servers appear only in `counted` and in
    `fallback_verdicts`.
    """

    name: str
    in_fallback: bool
    below: str
    in_sync: bool
    is_shadow: bool
    """Whether the service is in shadow mode by itself."""
    role: str
    suspended: bool
    fallback_verdicts: list[tuple[str, str]]
    """Each fallback server with checks, and its verdict."""
    servers: list[str]
    verdicts: list[str]
    since: list[float]
    weights_configured: list[int]
    weights_wanted: list[int | None]
    weights_actual: list[int | None]
    latencies: list[tuple[str, str, float]]
    """Server, name of the check, and duration of its last probe, for each check that has been probed."""
    certificate_ends: list[tuple[str, str, float]]
    """Server, name of the check, and when the certificate ends that it was presented, for each check that was."""
    certificates_ending: int
    """How many checks remark that the certificate that they were presented ends soon."""
    overrides: list[tuple[str, str, float]]
    """Server, kind of order, and since when, Unix time, for each order in force.

    The kind is "drain", "disable" or "weight"; or "maintenance" for a server that a file drains.
    """
    checks_stale: int
    """How many checks have a verdict that is only held, because no outcome has renewed it for long."""
    servers_damped: int
    """How many servers are up, but held out because they flap."""
    statistics: ServiceStatistics | None
    """The kernel's counters; None while the service is not in its table. They stay encoded, because they would be five
    times as large when decoded."""
    counted: list[str | None]
    """The name of each server in `statistics.keys`; None for a server that has left the table or is not configured."""
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
