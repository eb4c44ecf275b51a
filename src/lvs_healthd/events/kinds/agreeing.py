"""What other directors say of servers: vetoes of removals, and whether anybody else can tell."""

from lvs_healthd.events.kinds.event import Event


class VetoOn(Event, frozen=True, kw_only=True):
    """A server is down here and stays in the table, because other directors see it up. Told after two seconds."""

    name = "veto.on"
    level = "warning"
    service: str
    server: str
    reason: str
    """Who sees it how, and how many must see it down."""
    for_s: float
    """For how long it may stay at most, seconds from now."""


class VetoOff(Event, frozen=True, kw_only=True):
    """Other directors do not hold a server any more. If it is still down here, it goes now."""

    name = "veto.off"
    service: str
    server: str
    reason: str
    """What ended it."""
    after_s: float
    """How long it was held, seconds."""


class VetoAlone(Event, frozen=True, kw_only=True):
    """Too few other directors are heard to agree about a server that goes down: this one decides alone."""

    name = "veto.alone"
    level = "warning"
    heard: int
    """How many others are heard."""
    needed: int
    """How many are needed: `agree` without this director."""
    cause: str
    """Why they are not heard; empty if that is not known."""


class VetoTogether(Event, frozen=True, kw_only=True):
    """Enough other directors are heard again."""

    name = "veto.together"
    heard: int
    needed: int
    after_s: float
    """How long too few were heard, seconds."""


class VetoError(Event, frozen=True, kw_only=True):
    """What another director says cannot be understood, and does not count. Told once until that changes."""

    name = "veto.error"
    level = "warning"
    director: str
    error: str
