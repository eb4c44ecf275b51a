"""The request for a reload and its result as values, for POST /api/v1/reload and `lvs-healthd reload`."""

from typing import Literal

import msgspec


class ReloadRequest(msgspec.Struct, frozen=True):
    """How a reload is asked for."""

    dry_run: bool = False
    """Whether to change nothing, and only say what the reload would change."""
    force: bool = False
    """Whether the configuration may take out more of the serving servers than `reload_guard` allows, or all."""

    def __str__(self) -> str:
        """Return the command that asks for such a reload, for the log."""
        return " ".join(("reload", *(["--dry-run"] if self.dry_run else []), *(["--force"] if self.force else [])))


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference between two configurations. It concerns a service, a real server, or a check of a real server."""

    how: Literal["added", "removed", "changed"]
    service: str
    """The service's name."""
    server: str = ""
    """The real server's address and port; "" when the service itself differs."""
    check: str = ""
    """The check's name; "" when the server itself differs."""


class LineChange(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the kernel's table that a reload would change. Most fields are those of the event `table.changed`."""

    operation: str
    service: str
    """The service's name."""
    server: str = ""
    """The real server's address and port; "" for the line of the service itself."""
    fields: str
    reason: str
    when: str = ""
    """For what the change would have to wait, such as "when its checks have passed"; "" if it would come at once."""


class AddressChange(msgspec.Struct, frozen=True, kw_only=True):
    """An announced address that a reload would put on an interface, take off it, or move."""

    address: str
    """Empty if nothing could be found out."""
    was: str = ""
    """The interface from which it would be taken; "" for none."""
    interface: str = ""
    """The interface on which it would be configured; "" for none."""
    change: str
    """What would become of it, in words: "would be taken off lvs0"."""
    when: str = ""
    """For what that would have to wait; "" if it would come at once, or not at all."""


class RestartNeeded(msgspec.Struct, frozen=True, kw_only=True):
    """A key whose new value takes effect only at the next start."""

    key: str
    """The key's name: "probe_workers" or "ipvs.netns"."""
    configured: str
    """The new value, as text."""
    in_force: str
    """The value that stays in force until the restart, as text."""


class ReloadOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a reload changed, or why it was rejected. Modes and counts are those of the event `config.reloaded`."""

    file: str
    """The configuration's path."""
    errors: tuple[str, ...] = ()
    """Why the reload was rejected (then nothing has changed); empty if it was not rejected."""
    mode: str = ""
    was: str = ""
    services_added: int = 0
    services_removed: int = 0
    services_changed: int = 0
    servers_added: int = 0
    servers_removed: int = 0
    servers_changed: int = 0
    checks_changed: int = 0
    hooks_changed: int = 0
    restart_needed: tuple[RestartNeeded, ...] = ()
    dry_run: bool = False
    """Whether this was a dry run. Then nothing was changed, and the other fields say what a reload would do."""
    would_change: tuple[Change, ...] = ()
    """After a dry run: the changes that the counts above include, at most a hundred of them."""
    not_tried: tuple[str, ...] = ()
    """After a dry run: changed keys that it could not check. Only a reload shows whether they can take effect."""
    table: tuple[LineChange, ...] = ()
    """After a dry run: the lines of the kernel's table that would change, in the order of the writes, at most a hundred
    of them. Those that would have to wait come last."""
    table_count: int = 0
    """After a dry run: how many lines of the kernel's table would change, with those that would have to wait."""
    addresses: tuple[AddressChange, ...] = ()
    """After a dry run: the announced addresses that would come, go or move, at most a hundred of them."""
    addresses_count: int = 0
    """After a dry run: how many there are."""
