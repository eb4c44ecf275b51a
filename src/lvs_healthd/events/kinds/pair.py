"""What a director does as one of a pair: the roles of services, and the track file."""

from lvs_healthd.events.kinds.event import Event


class PairActive(Event, frozen=True, kw_only=True):
    """A virtual address is one of this host's, so clients of these services are here."""

    name = "pair.active"
    vip: str
    services: tuple[str, ...]
    """The names of the services that the address makes active, at most twenty."""
    count: int
    """How many there are."""
    after_s: float | None = None
    """How long this director was standby for them, seconds; None when that was not known."""
    reason: str = ""
    """Empty when the address is there; otherwise why the services count as active all the same."""


class PairStandby(Event, frozen=True, kw_only=True):
    """A virtual address is not one of this host's, so clients of these services are not here."""

    name = "pair.standby"
    vip: str
    services: tuple[str, ...]
    """The names of the services that are standby here, at most twenty."""
    count: int
    """How many there are."""
    after_s: float | None = None
    """How long this director was active for them, seconds; None when that was not known."""
    suspended: bool = False
    """Whether they are not probed meanwhile."""


class PairError(Event, frozen=True, kw_only=True):
    """The addresses of this host cannot be read. All services count as active until they can."""

    name = "pair.error"
    level = "error"
    error: str
    retry_s: float


class TrackFileChanged(Event, frozen=True, kw_only=True):
    """What the track file tells VRRP has changed, or the file was made, or written again because it was not as left."""

    name = "track.changed"
    level = "warning"
    file: str
    value: int
    """0: this director can serve. 1: it cannot."""
    reason: str


class TrackFileError(Event, frozen=True, kw_only=True):
    """The track file cannot be read or written, so VRRP acts on what it said before. It is tried again and again."""

    name = "track.error"
    level = "error"
    file: str
    error: str
    retry_s: float


class TrackFileRecovered(Event, frozen=True, kw_only=True):
    """The track file is right again after an error."""

    name = "track.recovered"
    file: str
    value: int
