"""Sources of real servers other than the configuration."""

from lvs_healthd.events.kinds.event import Event


class DiscoveryChanged(Event, frozen=True, kw_only=True):
    """What a source lists has come into force: its servers are added and removed as by a reload."""

    name = "discovery.changed"
    source: str
    """"file /etc/lvs-healthd/web.list"."""
    services: tuple[str, ...]
    """The names of the services that use it, at most twenty."""
    count: int
    """How many there are."""
    servers: int
    """How many servers it lists now."""
    added: tuple[str, ...]
    """The servers that it had not listed before, at most twenty."""
    added_count: int
    removed: tuple[str, ...]
    """The servers that it does not list any more, at most twenty."""
    removed_count: int
    changed_count: int
    """How many have another weight."""
    accepted: bool = False
    """Whether it was held before, and an operator has said that it is meant."""


class DiscoveryHeld(Event, frozen=True, kw_only=True):
    """A source lists so few servers that this takes effect only if an operator says that it is meant."""

    name = "discovery.held"
    level = "warning"
    source: str
    services: tuple[str, ...]
    """The names of the services that use it, at most twenty."""
    count: int
    """How many there are."""
    servers: int
    """How many servers stay in force."""
    reason: str
    todo: str
    """What to type if it is meant."""


class DiscoveryFailed(Event, frozen=True, kw_only=True):
    """A source cannot be read, or what it lists is wrong. What it listed before stays in force. It is asked again."""

    name = "discovery.error"
    level = "warning"
    source: str
    services: tuple[str, ...]
    """The names of the services that use it, at most twenty."""
    count: int
    """How many there are."""
    servers: int
    """How many servers stay in force."""
    error: str


class DiscoveryRecovered(Event, frozen=True, kw_only=True):
    """What a source lists is right again, and in force, after it could not be read, was wrong or was held."""

    name = "discovery.recovered"
    source: str
    after_s: float
    """How long that was not so, seconds."""
