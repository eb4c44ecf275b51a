"""Events about the director: its settings, its network and its clock."""

from lvs_healthd.events.kinds.event import Event


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
