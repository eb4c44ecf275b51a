"""Finds what hooks are told of a server, besides the event: its place, its weight, and what its monitor has said."""

from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ServerState, ServiceState
from lvs_healthd.hooks.facts import Facts


class HookFacts:
    """Finds services and servers by their names in events. A reload may replace both at any time."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions
        self._of: list[ServiceState] | None = None
        """The list of services that the index is of."""
        self._services: dict[str, ServiceState] = {}
        self._servers: dict[str, dict[str, ServerState]] = {}

    def __call__(self, service: str, server: str, check: str) -> Facts | None:
        """Return what is known of a service, or of one of its servers; None if it is not there any more.

        server: its address and port; "" for the service itself.
        check: the check whose monitor to look for; "" for none.
        """
        if self._of is not self._decisions.services:
            self._of = self._decisions.services
            self._services, self._servers = {each.config.name: each for each in self._of}, {}
        found = self._services.get(service)
        if found is None:
            return None
        if not server:
            return Facts(found.config)
        # One service at a time, because there may be tens of thousands of servers, and hooks seldom mean all of them.
        if service not in self._servers:
            self._servers[service] = {str(each.key): each for each in found.members}
        state = self._servers[service].get(server)
        if state is None:
            return None
        lasts = (watch.probe.last for watch in state.watches if watch.check.name == check)
        last = next(lasts, None)
        return Facts(found.config, state.config, last.monitor if last is not None else None)
