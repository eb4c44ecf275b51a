"""Events about the daemon itself: its life, its configuration, its processes and its files."""

from lvs_healthd.events.kinds.event import Event


class DaemonStarted(Event, frozen=True, kw_only=True):
    """The daemon is ready: it has adopted the table, and the first probes are due."""

    name = "daemon.started"
    version: str
    pid: int
    mode: str
    table: str
    """The kind of table: "IPVS 1.2.1" or "memory"."""
    services: int
    real_servers: int
    checks: int


class DaemonFailed(Event, frozen=True, kw_only=True):
    """The daemon could not start, or ends because of an internal error. The table stays as it is."""

    name = "daemon.error"
    level = "error"
    error: str


class DaemonStopping(Event, frozen=True, kw_only=True):
    """The daemon is stopping. The table stays as it is."""

    name = "daemon.stopping"
    signal: str


class ControlRenewed(Event, frozen=True, kw_only=True):
    """The daemon has made the control socket's file again, because somebody had removed it."""

    name = "control.renewed"
    level = "warning"
    socket: str


class ControlFailed(Event, frozen=True, kw_only=True):
    """Somebody removed the control socket's file, and the daemon cannot make it again.

    The daemon tries every second, but emits this event only once.
    """

    name = "control.error"
    level = "error"
    error: str


class ConfigReloaded(Event, frozen=True, kw_only=True):
    """A changed configuration took effect."""

    name = "config.reloaded"
    file: str
    mode: str
    """The mode in force from now on: "enforce" or "shadow"."""
    was: str
    """The mode before."""
    services_added: int
    services_removed: int
    services_changed: int
    """Services that were configured before, and in which a key other than real servers and checks has changed."""
    servers_added: int
    servers_removed: int
    servers_changed: int
    """Real servers that were configured before, and in which a key other than checks has changed."""
    checks_changed: int
    hooks_changed: int = 0
    """Hooks that are new, gone or different."""


class ConfigRejected(Event, frozen=True, kw_only=True):
    """A configuration has errors. After a reload, the old configuration stays in force. At a start, the daemon ends."""

    name = "config.rejected"
    level = "error"
    file: str
    errors: tuple[str, ...]


class ConfigRemarks(Event, frozen=True, kw_only=True):
    """A configuration with remarks took effect. A remark names something that will probably not do what was meant."""

    name = "config.remarks"
    level = "warning"
    file: str
    remarks: tuple[str, ...]


class ConfigRestartNeeded(Event, frozen=True, kw_only=True):
    """A reload changed a key that takes effect only at the next start. Everything else took effect."""

    name = "config.restart_needed"
    level = "warning"
    file: str
    key: str
    configured: str
    in_force: str


class SchedulerLag(Event, frozen=True, kw_only=True):
    """Probes start late because the machine is overloaded or `max_probes` is too low. At most one event a minute."""

    name = "scheduler.lag"
    level = "warning"
    lag_s: float
    waiting: int
    in_flight: int


class WorkerFailed(Event, frozen=True, kw_only=True):
    """A process that runs probes has ended, hung or sent garbage. Its probes are unsure until it is replaced."""

    name = "worker.error"
    level = "error"
    worker: int
    """The worker's number, counted from 1."""
    pid: int
    """The worker's process id; 0 when the process could not be started."""
    reason: str
    probes: int
    """How many probes the worker was responsible for."""
    retry_s: float


class ExecFailed(Event, frozen=True, kw_only=True):
    """The process that runs the programs of exec checks has ended. Exec checks are unsure until it is replaced."""

    name = "exec.error"
    level = "error"
    reason: str
    retry_s: float


class StateError(Event, frozen=True, kw_only=True):
    """The state file could not be read or written. The daemon continues without it."""

    name = "state.error"
    level = "warning"
    file: str
    error: str


class StateRecovered(Event, frozen=True, kw_only=True):
    """The state file is written again after an error."""

    name = "state.recovered"
    file: str
