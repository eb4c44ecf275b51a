"""What is known of etcd as values, for /api/v1/status, `lvs-healthd status` and `why`, and the metrics."""

from typing import Protocol

import msgspec


class StoreStatus(msgspec.Struct, frozen=True, kw_only=True):
    """etcd, from which services come. Times are Unix time."""

    endpoints: tuple[str, ...]
    """The URLs of its servers."""
    prefix: str
    """How the names of its keys begin."""
    services: int | None
    """How many keys of services are in force; None if nothing is known of them yet."""
    revision: int = 0
    """The revision of etcd at which it said what is in force."""
    changed: float | None = None
    """When that last changed; None if nothing is known of it yet."""
    heard: float | None = None
    """When a server of etcd answered last; None if none has answered since the start."""
    held: str = ""
    """Why what it says now is not in force, though it is right; empty if it is."""
    error: str = ""
    """Why it cannot be read, or what is wrong with what it says; empty if nothing is."""
    since: float | None = None
    """Since when it is held or wrong; None if it is neither."""
    todo: str = ""
    """What to type if what it says is meant; empty if it is not held."""


class KeyWhy(msgspec.Struct, frozen=True, kw_only=True):
    """The key of etcd that a service comes from."""

    key: str
    store: StoreStatus


class Store(Protocol):
    """Knows what etcd says."""

    @property
    def status(self) -> StoreStatus | None:
        """What is known of it; None without one."""

    def key_of(self, service: str) -> str:
        """Return the key that a service comes from; "" if it is of the file."""
