"""Decides which events a hook is told of, by their names, services, servers and checks."""

from lvs_healthd.config.hook_model import Hook
from lvs_healthd.config.hook_values import is_meant
from lvs_healthd.events.kinds import Event

EVERYTHING = ("*",)
"""The default of `services`, `servers` and `checks`."""

_DOWN = frozenset({"real_server.down", "fallback.down"})
_UP = frozenset({"real_server.up", "fallback.up"})

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
        self._checks = _Names(hook.checks)
        self._chooses_checks = hook.checks != EVERYTHING
        self._are_told: dict[tuple[str, str], bool] = {}
        """Whether the hook was told of each server that is down. Kept only for a hook that chooses checks."""

    @property
    def heard(self) -> frozenset[str]:
        """The names of the events that it must hear of to decide about the others."""
        return self._names | (_DOWN if self._chooses_checks and self._names & _UP else frozenset())

    def has(self, event: Event, *, in_shadow: bool) -> bool:
        """Return whether the hook is told of an event. Ask once about each, in their order.

        in_shadow: whether the event is only decided: because the daemon or the service is in shadow mode.
        """
        return self.is_about(event, in_shadow=in_shadow) and event.name in self._names

    def is_about(self, event: Event, *, in_shadow: bool) -> bool:
        """Return whether an event is about the hook's services, servers and checks, whatever its name."""
        if not self._in_shadow and (in_shadow or getattr(event, "shadow", False)):
            return False
        service = getattr(event, "service", "")
        is_meant = (service == _EVERY_SERVICE or self._services.have(service)) and self._servers.have(
            getattr(event, "server", "")
        )
        return is_meant and (not self._chooses_checks or self._is_about_check(event))

    def keep(self, services: frozenset[str]) -> None:
        """Forget the servers of all services but these."""
        for key in [key for key in self._are_told if key[0] not in services]:
            del self._are_told[key]

    def _is_about_check(self, event: Event) -> bool:
        # The check that passes last is often another one than the one that had failed. So whoever was told of a failure
        # is told of its end.
        is_meant = self._checks.have(getattr(event, "check", ""))
        key = getattr(event, "service", ""), getattr(event, "server", "")
        if event.name in _DOWN:
            self._are_told[key] = is_meant
        elif event.name in _UP:
            return self._are_told.pop(key, is_meant)
        return is_meant


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
