"""Events about services: whether enough servers may serve, and what is done if not."""

from lvs_healthd.events.kinds.event import Event


class ServiceFallback(Event, frozen=True, kw_only=True):
    """No real server of the service may serve, and it does not fail open. Its fallback is in use if it can be."""

    name = "service.fallback"
    level = "error"
    service: str
    fallback: tuple[str, ...]
    """The fallback servers that serve. Empty when none does; then the kernel refuses clients."""


class FallbackDown(Event, frozen=True, kw_only=True):
    """A fallback server with checks has gone down, so that it would not serve."""

    name = "fallback.down"
    level = "warning"
    service: str
    server: str
    check: str
    """The check that decided."""
    reason: str
    after_s: float
    """How long the verdict before had lasted, seconds."""


class FallbackUp(Event, frozen=True, kw_only=True):
    """A fallback server with checks is up."""

    name = "fallback.up"
    service: str
    server: str
    check: str
    reason: str
    after_s: float


class ServiceServing(Event, frozen=True, kw_only=True):
    """A real server may serve again, after a time in which none could."""

    name = "service.serving"
    service: str
    servers: int


class ServiceBelow(Event, frozen=True, kw_only=True):
    """Fewer real servers of the service may serve than `min_up`, or what is done about it has changed.

    Not emitted for a service that needs only one and has none (`ServiceFallback`), unless it fails open.
    """

    name = "service.below"
    level = "error"
    service: str
    able: int
    """How many real servers may serve, or how much weight."""
    min_up: int
    is_weight: bool
    """Whether these are weights."""
    action: str
    """What is done: "fail_open", "fallback" or "none"."""


class ServiceEnough(Event, frozen=True, kw_only=True):
    """Enough real servers of the service may serve again, after `ServiceBelow`."""

    name = "service.enough"
    service: str
    able: int
    min_up: int
    is_weight: bool
