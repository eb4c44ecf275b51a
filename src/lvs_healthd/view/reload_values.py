"""The result of a reload as values, for POST /api/v1/reload and `lvs-healthd reload`."""

import msgspec


class RestartNeeded(msgspec.Struct, frozen=True, kw_only=True):
    """A key whose new value takes effect only at the next start."""

    key: str
    configured: str
    in_force: str


class ReloadOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload changed, or why it was rejected. Modes and counts are those of the event `config.reloaded`."""

    file: str
    errors: tuple[str, ...] = ()
    """Why the reload was rejected, so that nothing has changed; empty if it was not."""
    mode: str = ""
    was: str = ""
    services_added: int = 0
    services_removed: int = 0
    services_changed: int = 0
    servers_added: int = 0
    servers_removed: int = 0
    servers_changed: int = 0
    checks_changed: int = 0
    restart_needed: tuple[RestartNeeded, ...] = ()
