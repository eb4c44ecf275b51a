"""Decides which events a hook is told of, by their names, services and servers."""

from lvs_healthd.config.hook_model import Hook
from lvs_healthd.config.hook_values import is_meant
from lvs_healthd.events.kinds import Event

EVERYTHING = ("*",)
"""The default of `services` and `servers`."""

_EVERY_SERVICE = "*"
"""What an order about all services has for its service."""

_MOST_REMEMBERED = 100_000
"""How many names are remembered. Names that a reload has removed are forgotten with all others."""


class Selection:
    """The events that a hook is told of."""

    def __init__(self, hook: Hook) -> None:
        self._names = hook.events
        self._in_shadow = hook.in_shadow
        self._services = _Names(hook.services)
        self._servers = _Names(hook.servers)

    def has(self, event: Event, *, in_shadow: bool) -> bool:
        """Return whether the hook is told of an event.

        in_shadow: whether the event is only decided: because the daemon or the service is in shadow mode.
        """
        return event.name in self._names and self.is_about(event, in_shadow=in_shadow)

    def is_about(self, event: Event, *, in_shadow: bool) -> bool:
        """Return whether an event is about the hook's services and servers, whatever its name."""
        if not self._in_shadow and (in_shadow or getattr(event, "shadow", False)):
            return False
        service = getattr(event, "service", "")
        return (service == _EVERY_SERVICE or self._services.have(service)) and self._servers.have(
            getattr(event, "server", "")
        )


class _Names:
    """Names or patterns. What was found out about a name is remembered, because there are few names and many events."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._patterns = patterns
        self._known: dict[str, bool] | None = None if patterns == EVERYTHING else {}

    def have(self, name: str) -> bool:
        """Return whether a name is among them. "" stands for nothing, which is only among everything."""
        if self._known is None:
            return True
        found = self._known.get(name)
        if found is None:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            found = self._known[name] = any(is_meant(name, pattern) for pattern in self._patterns) and bool(name)
        return found
