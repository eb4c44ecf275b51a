"""What makes one director comparable with another, as values for /api/v1/director.

It says how services are configured beside their real servers, which /api/v1/status lists, and what the kernel is set to
beside the table. There are no secrets in it. A field that is added later has a default.
"""

import msgspec


class SyncValues(msgspec.Struct, frozen=True, kw_only=True):
    """A sync daemon that runs in the kernel."""

    role: str
    """"master" (it sends connections) or "backup" (it receives them)."""
    interface: str
    syncid: int
    """A backup takes only messages with its own number; one with 0 takes all."""
    group: str
    """The multicast group."""
    port: int


class TimeoutValues(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's timeouts of connections, seconds."""

    tcp: int
    tcp_fin: int
    udp: int


class ServiceConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """How a service is configured, beside its real servers."""

    service: str
    """Its name."""
    address: str
    """address:port/protocol or "fwmark N"."""
    settings: dict[str, str] = {}
    """Its keys that do not have their default, with their values in words, but for those that differ between directors
    by their nature, such as interfaces."""
    checks: str = ""
    """A digest of the checks of all its servers: their types, targets, paces and paths, without secrets."""


class DirectorValues(msgspec.Struct, frozen=True, kw_only=True):
    """A director, as far as another one should be like it."""

    run: str
    """Tells this process from all others."""
    at: float
    """When this was said, Unix time by the director's own clock."""
    version: str
    sysctls: dict[str, str] = {}
    """Those that matter to IPVS and exist here, by their dotted names."""
    timeouts: TimeoutValues | None = None
    """None if the table is not the kernel's, or they cannot be read."""
    sync: tuple[SyncValues, ...] = ()
    error: str = ""
    """Why the kernel's settings cannot be read; empty if they can."""
    services: tuple[ServiceConfiguration, ...] = ()
