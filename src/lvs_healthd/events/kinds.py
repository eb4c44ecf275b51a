"""The events that the daemon emits for its log and metrics.

An event's name is a stable dotted noun. Operators build alerts on names and fields, so both are an interface, which
docs/logs.md documents. A probe that merely passes causes no event.
"""

from typing import ClassVar

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """The base class of all events. `level` is the log level: "debug", "info", "warning" or "error"."""

    name: ClassVar[str]
    level: ClassVar[str] = "info"


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


class RealServerDrained(Event, frozen=True, kw_only=True):
    """A drained real server has no connections left, or its time for them is up. It leaves the kernel's table."""

    name = "real_server.drained"
    service: str
    server: str
    reason: str
    """"no connections left", or that the deadline has passed and how many connections are cut off."""
    after_s: float
    """Seconds since it was drained."""


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


class ServiceFallback(Event, frozen=True, kw_only=True):
    """No real server of the service may serve. Its fallback servers are in use, if it has any."""

    name = "service.fallback"
    level = "error"
    service: str
    fallback: tuple[str, ...]
    """The fallback servers. Empty when the service has none; then the kernel refuses clients."""


class ServiceServing(Event, frozen=True, kw_only=True):
    """A real server may serve again, after a time in which none could."""

    name = "service.serving"
    service: str
    servers: int


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


class SettingChanged(Event, frozen=True, kw_only=True):
    """A setting of the director outside the table was set. In shadow mode, it would have been set."""

    name = "setting.changed"
    setting: str
    """The setting's name: a sysctl's dotted name, "ipvs.timeouts.tcp" or "nftables inet lvs_healthd", for example."""
    found: str
    value: str
    reason: str
    """"configured", or "repair: …" when somebody else had changed the setting."""
    shadow: bool


class SettingDrift(Event, frozen=True, kw_only=True):
    """Somebody else has changed a setting since the daemon set it. The correction follows as setting.changed."""

    name = "setting.drift"
    level = "warning"
    setting: str
    found: str
    expected: str


class SettingFailed(Event, frozen=True, kw_only=True):
    """A setting could not be read or written. The daemon tries again after `retry_s` seconds."""

    name = "setting.error"
    level = "error"
    error: str
    retry_s: float


class SettingAdvice(Event, frozen=True, kw_only=True):
    """A sysctl that is not configured makes a service behave in a surprising way. The event is not repeated."""

    name = "setting.advice"
    level = "warning"
    setting: str
    value: str
    service: str
    """The first configured service that the sysctl affects."""
    advice: str


class NetworkImpaired(Event, frozen=True, kw_only=True):
    """The director's own network has a fault that makes servers seem dead. Probes that fail through it are unsure."""

    name = "network.impaired"
    level = "error"
    fault: str
    """What is wrong, and what to do or where to look."""


class NetworkRecovered(Event, frozen=True, kw_only=True):
    """A fault of the director's own network (see network.impaired) is over."""

    name = "network.recovered"
    fault: str
    after_s: float
    """How long it lasted, seconds."""


class NetworkUnwatched(Event, frozen=True, kw_only=True):
    """The director's interfaces cannot be watched, or the kernel's reports about them were lost.

    The daemon tries again after `retry_s` seconds. Meanwhile a broken interface counts against the servers behind it.
    """

    name = "network.error"
    level = "error"
    error: str
    retry_s: float


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


class ClockSuspected(Event, frozen=True, kw_only=True):
    """Certificates are not valid at this time, but perhaps the director's clock is wrong. Repeated every hour."""

    name = "clock.suspected"
    level = "error"
    clock: str
    """What the director's clock says."""
    reason: str
    targets: int
    """How many targets are unsure because of this so far."""
    verified: int
    """How many targets there are whose certificates are verified."""


class ClockTrusted(Event, frozen=True, kw_only=True):
    """The director's clock is no longer suspected."""

    name = "clock.trusted"
    clock: str
    """What the director's clock says."""
    after_s: float


class PathMarkTaken(Event, frozen=True, kw_only=True):
    """Somebody else's service has one of the marks of path probes. It is left alone, and the probes get other marks."""

    name = "path.mark_taken"
    level = "warning"
    service: str
    """The service: "fwmark 65536"."""


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


EVENTS: tuple[type[Event], ...] = tuple(Event.__subclasses__())
"""Every kind of event, in the order of this file."""
