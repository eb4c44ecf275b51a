"""Sources of real servers as values, for /api/v1/status, `lvs-healthd status` and `why`, and the metrics."""

from typing import Protocol

import msgspec

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.model import Service


class SourceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One source, such as a file that lists servers. Times are Unix time."""

    source: str
    """Its kind and its name: "file /etc/lvs-healthd/web.list"."""
    services: tuple[str, ...]
    """The names of the services that use it."""
    servers: int | None
    """How many servers of it are in force; None if it has never listed any."""
    changed: float | None = None
    """When they last changed; None if it has never listed any."""
    held: str = ""
    """Why what it lists now is not in force, though it is a list; empty if it is."""
    error: str = ""
    """Why it cannot be read, or what is wrong with its list; empty if nothing is."""
    since: float | None = None
    """Since when it is held or wrong; None if it is neither."""
    todo: str = ""
    """What to type if what it lists is meant; empty if it is not held."""


class Sources(Protocol):
    """Knows the sources of real servers."""

    @property
    def statuses(self) -> tuple[SourceStatus, ...]:
        """Each source."""

    def of(self, service: Service, server: Endpoint) -> SourceStatus | None:
        """Return the source from which a service has a server; None if it is configured, or if that is not known."""
