"""What happened, as values: every step of the daemon emits events; log, metrics, state and hooks listen.

An event's name is a stable dotted noun and its fields are an interface that operators build alerts on; both are
documented in docs/logs.md. Nothing is emitted for a probe that merely passed.
"""

from typing import ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all events. `level` is the log level: "debug", "info", "warning" or "error"."""

    name: ClassVar[str]
    level: ClassVar[str] = "info"


class DaemonStarted(Event, frozen=True, kw_only=True):
    """The daemon is ready: table adopted, first probes due."""

    name = "daemon.started"
    version: str
    pid: int
    mode: str
    table: str
    """What the table is: "IPVS 1.2.1" or "memory"."""
    services: int
    real_servers: int
    checks: int


class DaemonFailed(Event, frozen=True, kw_only=True):
    """The daemon could not start, or ends by a fault of its own; the table stays as it is."""

    name = "daemon.failed"
    level = "error"
    error: str


class DaemonStopping(Event, frozen=True, kw_only=True):
    """The daemon goes; the table stays as it is."""

    name = "daemon.stopping"
    signal: str


class ConfigReloaded(Event, frozen=True, kw_only=True):
    """A changed configuration took effect."""

    name = "config.reloaded"
    file: str
    services_added: int
    services_removed: int
    servers_added: int
    servers_removed: int
    checks_changed: int


class ConfigRejected(Event, frozen=True, kw_only=True):
    """A reload found errors, and the old configuration stays in force; or the first load did, and there is none."""

    name = "config.rejected"
    level = "error"
    file: str
    errors: tuple[str, ...]


class ConfigRestartNeeded(Event, frozen=True, kw_only=True):
    """A reload brought another value of a key that holds from the next start on; everything else took effect."""

    name = "config.restart_needed"
    level = "warning"
    file: str
    key: str
    configured: str
    in_force: str


class RealServerUp(Event, frozen=True, kw_only=True):
    """A real server may serve: all its checks passed `rise` times."""

    name = "real_server.up"
    service: str
    server: str
    check: str
    """The check that passed last."""
    reason: str
    passes: int
    rise: int
    was: str
    """The verdict before: "down" or "unknown"."""
    after_s: float
    """How long the old verdict held, seconds."""


class RealServerDown(Event, frozen=True, kw_only=True):
    """A real server may not serve: one of its checks failed `fall` times."""

    name = "real_server.down"
    level = "warning"
    service: str
    server: str
    check: str
    reason: str
    """What an operator understands: "no answer in 1s"."""
    failures: int
    fall: int
    was: str
    after_s: float


class CheckFailing(Event, frozen=True, kw_only=True):
    """The first failure after success, or a failure for a new reason: what is about to happen, or what it is now."""

    name = "check.failing"
    level = "warning"
    service: str
    server: str
    check: str
    reason: str
    failures: int
    """Counted up to `fall`."""
    fall: int
    verdict: str
    """The check's, at this moment: "up", "unknown" or "down"."""


class CheckUnsure(Event, frozen=True, kw_only=True):
    """A probe could not tell, through a fault on our own side. The verdict stands."""

    name = "check.unsure"
    level = "warning"
    service: str
    server: str
    check: str
    reason: str


class ServiceFallback(Event, frozen=True, kw_only=True):
    """No real server of the service may serve: the fallback is in use, or there is none."""

    name = "service.fallback"
    level = "error"
    service: str
    fallback: tuple[str, ...]
    """Empty when the service has none: clients are refused by the kernel."""


class ServiceServing(Event, frozen=True, kw_only=True):
    """A real server serves again after none could."""

    name = "service.serving"
    service: str
    servers: int


class TableChanged(Event, frozen=True, kw_only=True):
    """One write the kernel acknowledged (in shadow mode: one that would have been made)."""

    name = "table.changed"
    operation: str
    """add_service, set_service, delete_service, add_server, set_server, delete_server."""
    service: str
    server: str
    """Empty for an operation on the service itself."""
    reason: str
    fields: str
    """Which fields were set from what to what: "weight 1 -> 0"."""
    shadow: bool
    detection_s: float | None = None
    """From the first failed probe to the kernel's acknowledgement; only where a failure took the server out."""


class TableDrift(Event, frozen=True, kw_only=True):
    """The kernel's table was not as we left it: somebody else wrote to it. The correction follows as table.changed."""

    name = "table.drift"
    level = "warning"
    service: str
    server: str
    found: str
    """What is different: "missing", "not configured", "weight 7, expected 1"."""


class TableFight(Event, frozen=True, kw_only=True):
    """Somebody else undoes the same write of ours again and again. Told again every ten minutes."""

    name = "table.fight"
    level = "error"
    service: str
    server: str
    times: int
    """How often in a row."""
    hold_s: float
    """How long we wait before we write it again."""
    suspects: tuple[str, ...]
    """Programs that manage IPVS tables and run here: "keepalived (pid 812)"."""


class TableFightOver(Event, frozen=True, kw_only=True):
    """A line that was fought over has been left alone for a while."""

    name = "table.fight_over"
    service: str
    server: str


class TableError(Event, frozen=True, kw_only=True):
    """The kernel refused a write, or the table could not be read; it is tried again after `retry_s`."""

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


class SettingChanged(Event, frozen=True, kw_only=True):
    """A setting of the director beside the table was set (in shadow mode: would have been)."""

    name = "setting.changed"
    setting: str
    """A sysctl by its dotted name, "ipvs.timeouts.tcp", "ipvs.sync.master", "nftables inet lvs_healthd"."""
    found: str
    value: str
    reason: str
    """"configured", or that it repairs what somebody else did."""
    shadow: bool


class SettingDrift(Event, frozen=True, kw_only=True):
    """A setting was not as we left it: somebody else changed it. The correction follows as setting.changed."""

    name = "setting.drift"
    level = "warning"
    setting: str
    found: str
    expected: str


class SettingFailed(Event, frozen=True, kw_only=True):
    """A setting could not be read or written; it is tried again after `retry_s`."""

    name = "setting.error"
    level = "error"
    error: str
    retry_s: float


class SettingAdvice(Event, frozen=True, kw_only=True):
    """A sysctl that is not configured makes a service work otherwise than one might think. Told once while it holds."""

    name = "setting.advice"
    level = "warning"
    setting: str
    value: str
    service: str
    """The first service that it concerns."""
    advice: str


class SchedulerLag(Event, frozen=True, kw_only=True):
    """Probes start late: the machine is overloaded or `max_probes` is too low. At most one a minute."""

    name = "scheduler.lag"
    level = "warning"
    lag_s: float
    waiting: int
    in_flight: int


class WorkerFailed(Event, frozen=True, kw_only=True):
    """A probe worker process ended, hung or spoke nonsense; its probes are unsure until another takes its place."""

    name = "worker.failed"
    level = "error"
    worker: int
    """Which of them, from 1."""
    pid: int
    """Its process id; 0 when it could not be started."""
    reason: str
    probes: int
    """How many it ran."""
    retry_s: float


class StateError(Event, frozen=True, kw_only=True):
    """The state file could not be read or written; the daemon goes on without it."""

    name = "state.error"
    level = "warning"
    file: str
    error: str


EVENTS: tuple[type[Event], ...] = tuple(Event.__subclasses__())
"""Every kind of event, in this file's order."""
