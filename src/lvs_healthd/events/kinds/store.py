"""Services from etcd."""

from lvs_healthd.events.kinds.event import Event


class StoreChanged(Event, frozen=True, kw_only=True):
    """What etcd says has come into force: services and servers come and go as by a reload."""

    name = "store.changed"
    prefix: str
    """How the names of its keys begin."""
    revision: int
    """The revision of etcd at which it said so."""
    services: int
    """How many keys of services there are now."""
    written: tuple[str, ...]
    """The keys that are new or have another value, without the prefix, at most twenty."""
    written_count: int
    deleted: tuple[str, ...]
    """The keys that are gone, at most twenty."""
    deleted_count: int
    accepted: bool = False
    """Whether it was held before, and an operator has said that it is meant."""


class StoreHeld(Event, frozen=True, kw_only=True):
    """What etcd says would take out so much that it takes effect only if an operator says that it is meant."""

    name = "store.held"
    level = "warning"
    prefix: str
    revision: int
    """The revision of etcd at which it said so."""
    services: int
    """How many keys of services stay in force."""
    reason: str
    todo: str
    """What to type if it is meant."""


class StoreFailed(Event, frozen=True, kw_only=True):
    """etcd cannot be read, or what it says is wrong. What it said before stays in force. It is asked again."""

    name = "store.error"
    level = "warning"
    prefix: str
    services: int | None
    """How many keys of services stay in force; None if nothing is known of them yet."""
    error: str
    """What is wrong: of mistakes at most twenty, each with key and line."""


class StoreRecovered(Event, frozen=True, kw_only=True):
    """etcd can be read again, and what it says is right and in force."""

    name = "store.recovered"
    prefix: str
    after_s: float
    """How long that was not so, seconds."""
