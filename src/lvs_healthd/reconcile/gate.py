"""Keeps back writes that an operator's `hold`, a service's shadow mode, the brake or a veto of other directors forbids.

Nothing else does.

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
    """What the brake, or other directors, hold of one service."""

    servers: Collection[DestinationKey]
    """The real servers that are not taken out."""
    fallback: Collection[DestinationKey]
    """The fallback servers that are not brought in beside them."""


class Stop(enum.Enum):
    """What forbids a write."""

    SHADOW = "shadow"
    HOLD = "hold"
    BRAKE = "brake"
    VETO = "veto"
    """Other directors see the server up."""
    GUARD = "guard"
    """Not the gate: the service would be left with none of the servers that are to serve (see `guard`)."""


class Gate:
    """Decides which writes may be made now."""

    def __init__(self) -> None:
        self._is_all_held = False
        self._held: frozenset[ServiceKey] = frozenset()
        self._braked: Mapping[ServiceKey, Braked] = {}
        self._vetoed: Mapping[ServiceKey, Braked] = {}
        self.shadowed: frozenset[ServiceKey] = frozenset()
        """The services in shadow mode. What would be written to them is reported."""

    def copy(self) -> "Gate":
        """Return a gate with the same holds, brake and shadow modes. To change it has no effect on this one."""
        other = Gate()
        other._is_all_held, other._held = self._is_all_held, self._held
        other._braked, other._vetoed, other.shadowed = self._braked, self._vetoed, self.shadowed
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

    def veto(self, vetoed: Mapping[ServiceKey, Braked]) -> bool:
        """Keep these servers of these services in too from now on, and no others. Return whether that is a change."""
        is_changed = vetoed != self._vetoed
        self._vetoed = vetoed
        return is_changed

    def is_held(self, service: ServiceKey) -> bool:
        """Whether an operator holds this service."""
        return self._is_all_held or service in self._held

    def is_braked(self, service: ServiceKey) -> bool:
        """Whether the brake concerns servers of this service."""
        return service in self._braked

    def is_vetoed(self, service: ServiceKey) -> bool:
        """Whether other directors hold servers of this service."""
        return service in self._vetoed

    def keeps(self, service: ServiceKey, server: DestinationKey) -> bool:
        """Whether the brake keeps this server as it is: a real server in, or a fallback server out."""
        return _is_in(self._braked.get(service), server)

    def vetoes(self, service: ServiceKey, server: DestinationKey) -> bool:
        """Whether other directors keep this server as it is, in the same way."""
        return _is_in(self._vetoed.get(service), server)

    def permits(self, operation: Operation) -> bool:
        """Whether a write may be made now."""
        return self.stop(operation) is None

    def stop(self, operation: Operation) -> Stop | None:
        """Return what forbids a write now; None if nothing does."""
        service = operation.service.key
        if service in self.shadowed:
            return Stop.SHADOW
        if self.is_held(service):
            return Stop.HOLD
        if _forbids(self._braked.get(service), operation):
            return Stop.BRAKE
        return Stop.VETO if _forbids(self._vetoed.get(service), operation) else None

    def permitted(self, operations: Iterable[Operation]) -> list[Operation]:
        """Return the writes that may be made now, in the same order."""
        if not (self._is_all_held or self._held or self._braked or self._vetoed or self.shadowed):
            return list(operations)
        return [operation for operation in operations if self.permits(operation)]


def _is_in(braked: Braked | None, server: DestinationKey) -> bool:
    return braked is not None and (server in braked.servers or server in braked.fallback)


def _forbids(braked: Braked | None, operation: Operation) -> bool:
    """Whether a write takes out a server that stays, or brings in a fallback that is not to come beside it."""
    server = operation.destination
    if braked is None or server is None:
        return False
    if takes_capacity(operation):
        return server.key in braked.servers
    return server.key in braked.fallback and phase(operation) in _GIVING
