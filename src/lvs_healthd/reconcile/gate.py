"""Keeps back writes that an operator's `hold`, a service's shadow mode or the brake forbids. Nothing else does.

The wanted table stays as the plan says, so whatever is written once the gate opens is what is wanted then. A write that
is kept back remains to be done, and is no error.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from lvs_healthd.ipvs.diff import Phase, phase, takes_capacity
from lvs_healthd.ipvs.records import DestinationKey, Operation, ServiceKey

_GIVING = (Phase.ADD_SERVERS, Phase.RAISE)
"""The phases that bring servers into service."""


class Braked(NamedTuple):
    """What the brake holds of one service."""

    servers: Collection[DestinationKey]
    """The real servers that are not taken out."""
    fallback: Collection[DestinationKey]
    """The fallback servers that are not brought in beside them."""


class Gate:
    """Decides which writes may be made now."""

    def __init__(self) -> None:
        self._is_all_held = False
        self._held: frozenset[ServiceKey] = frozenset()
        self._braked: Mapping[ServiceKey, Braked] = {}
        self.shadowed: frozenset[ServiceKey] = frozenset()
        """The services in shadow mode. What would be written to them is reported."""

    def hold(self, services: Iterable[ServiceKey | None]) -> None:
        """Permit no write to these services from now on, and any to all others. None stands for the whole table."""
        held = frozenset(services)
        self._is_all_held = None in held
        self._held = frozenset(key for key in held if key is not None)

    def brake(self, braked: Mapping[ServiceKey, Braked]) -> bool:
        """Keep these servers of these services in from now on, and no others. Return whether that is a change."""
        is_changed = braked != self._braked
        self._braked = braked
        return is_changed

    def is_held(self, service: ServiceKey) -> bool:
        """Whether an operator holds this service."""
        return self._is_all_held or service in self._held

    def is_braked(self, service: ServiceKey) -> bool:
        """Whether the brake concerns servers of this service."""
        return service in self._braked

    def keeps(self, service: ServiceKey, server: DestinationKey) -> bool:
        """Whether the brake keeps this server as it is: a real server in, or a fallback server out."""
        braked = self._braked.get(service)
        return braked is not None and (server in braked.servers or server in braked.fallback)

    def permits(self, operation: Operation) -> bool:
        """Whether a write may be made now."""
        service, server = operation.service.key, operation.destination
        if service in self.shadowed or self.is_held(service):
            return False
        braked = self._braked.get(service)
        if braked is None or server is None:
            return True
        if takes_capacity(operation):
            return server.key not in braked.servers
        return server.key not in braked.fallback or phase(operation) not in _GIVING

    def permitted(self, operations: Iterable[Operation]) -> list[Operation]:
        """Return the writes that may be made now, in the same order."""
        if not (self._is_all_held or self._held or self._braked or self.shadowed):
            return list(operations)
        return [operation for operation in operations if self.permits(operation)]
