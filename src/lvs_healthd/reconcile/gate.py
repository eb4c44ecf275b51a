"""Keeps back writes that an operator's `hold`, a service's shadow mode or the brake forbids. Nothing else does.

The wanted table stays as the plan says, so whatever is written once the gate opens is what is wanted then. A write that
is kept back remains to be done, and is no error.
"""

import enum
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


class Stop(enum.Enum):
    """What forbids a write."""

    SHADOW = "shadow"
    HOLD = "hold"
    BRAKE = "brake"
    GUARD = "guard"
    """Not the gate: the service would be left with none of the servers that are to serve (see `guard`)."""


class Gate:
    """Decides which writes may be made now."""

    def __init__(self) -> None:
        self._is_all_held = False
        self._held: frozenset[ServiceKey] = frozenset()
        self._braked: Mapping[ServiceKey, Braked] = {}
        self.shadowed: frozenset[ServiceKey] = frozenset()
        """The services in shadow mode. What would be written to them is reported."""

    def copy(self) -> "Gate":
        """Return a gate with the same holds, brake and shadow modes. To change it has no effect on this one."""
        other = Gate()
        other._is_all_held, other._held = self._is_all_held, self._held
        other._braked, other.shadowed = self._braked, self.shadowed
        return other

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
        return self.stop(operation) is None

    def stop(self, operation: Operation) -> Stop | None:
        """Return what forbids a write now; None if nothing does."""
        service, server = operation.service.key, operation.destination
        if service in self.shadowed:
            return Stop.SHADOW
        if self.is_held(service):
            return Stop.HOLD
        braked = self._braked.get(service)
        if braked is None or server is None:
            return None
        if takes_capacity(operation):
            return Stop.BRAKE if server.key in braked.servers else None
        return Stop.BRAKE if server.key in braked.fallback and phase(operation) in _GIVING else None

    def permitted(self, operations: Iterable[Operation]) -> list[Operation]:
        """Return the writes that may be made now, in the same order."""
        if not (self._is_all_held or self._held or self._braked or self.shadowed):
            return list(operations)
        return [operation for operation in operations if self.permits(operation)]
