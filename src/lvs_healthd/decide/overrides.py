"""Keeps what operators have ordered, and says what they want of each server. Times are Unix time.

Operators also drain servers by files in the maintenance folder (`maintenance`). An order for a server counts before it.

For each server there is at most one order about its state (drain or disable) and one about its weight, and the same
once more for all services at once. An order for one service counts before one for all. All that exists a second time
for orders that the whole fleet shares, and an order for this director alone counts before any of those.
"""

from collections.abc import Collection, Iterable, Iterator

from lvs_healthd.decide.held import ServerState, ServiceState
from lvs_healthd.decide.maintenance import Drain, Maintenance
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.plan.precedence import Hand, State
from lvs_healthd.runtime.printable import printable
from lvs_healthd.state.overrides import EVERYWHERE, Kind, Override

ENDING_S = 600.0
"""An order that ends by itself is told about so long before, seconds, or when half of its time is over if it is
shorter than twice that."""

_STATES = {Kind.DRAIN: State.DRAINED, Kind.DISABLE: State.DISABLED}

_Place = tuple[str, str]
"""A service's key or `EVERYWHERE`, and a server's."""


class Overrides:
    """The orders in force.

    maintenance: what the maintenance folder says; None for nothing.
    """

    def __init__(self, maintenance: Maintenance | None = None) -> None:
        self.maintenance = maintenance or Maintenance()
        self._own = _Orders()
        self._shared = _Orders()
        self._empty: set[_Place] = set()
        """The drained servers, each in one service, whose connections are gone."""
        self._told: set[Override] = set()
        """The orders that were told to end soon."""

    def __len__(self) -> int:
        return len(self._own) + len(self._shared)

    def __iter__(self) -> Iterator[Override]:
        """Iterate over all orders, in the order of services and servers."""
        return iter(sorted((*self._own, *self._shared), key=lambda each: (_place(each), each.kind, each.director)))

    @property
    def own(self) -> list[Override]:
        """The orders for this director alone, in the order of services and servers."""
        return [each for each in self if not each.director]

    @property
    def shared(self) -> list[Override]:
        """The orders that the whole fleet shares, in the order of services and servers."""
        return [each for each in self if each.director]

    def replaced_by(self, override: Override) -> Override | None:
        """Return the order that this one would replace."""
        return self._known(override).get(_place(override))

    def put(self, override: Override) -> Override | None:
        """Take an order. Return the one that it replaces."""
        before = self.replaced_by(override)
        self._known(override)[_place(override)] = override
        return before

    def _known(self, override: Override) -> dict[_Place, Override]:
        orders = self._shared if override.director else self._own
        return orders.weights if override.kind is Kind.WEIGHT else orders.states

    def remove(self, override: Override) -> None:
        """Forget an order."""
        known = self._known(override)
        if known.get(_place(override)) is override:
            del known[_place(override)]
        self._told.discard(override)
        if override.service != EVERYWHERE:
            self._empty.discard(_place(override))
        elif override.kind is Kind.DRAIN:
            self._empty = {each for each in self._empty if _address(each) != override.server}

    def of(self, service: ServiceKey, server: DestinationKey) -> tuple[Override | None, Override | None]:
        """Return the orders about a server's state and about its weight that count."""
        if not len(self):
            return None, None
        places = _places_of(service, server)
        return (
            self._own.state_of(places) or self._shared.state_of(places),
            self._own.weight_of(places) or self._shared.weight_of(places),
        )

    def hand_of(self, service: ServiceKey, server: DestinationKey) -> Hand | None:
        """Return what operators want of a server; None for nothing."""
        state, weight = self.of(service, server)
        filed = self.maintenance.in_words(server)
        if state is None and weight is None and not filed:
            return None
        by_file = State.DRAINED if filed else None
        return Hand(
            state=by_file if state is None else _STATES[state.kind],
            state_reason="; ".join(filter(None, ("" if state is None else in_words(state), filed))),
            weight=None if weight is None else weight.weight,
            weight_reason="" if weight is None else in_words(weight),
            is_empty=(str(service), str(server)) in self._empty,
        )

    def drain_of(self, service: ServiceKey, server: DestinationKey) -> Drain | None:
        """Return since when a server is drained, by an order or else by a file; None if it is not."""
        order = self.of(service, server)[0]
        if order is None:
            return self.maintenance.drain_of(server)
        return Drain(order.since, order.deadline) if order.kind is Kind.DRAIN else None

    def emptied(self, service: ServiceKey, server: DestinationKey) -> None:
        """Note that a drained server's connections in a service are gone."""
        self._empty.add((str(service), str(server)))

    def filled(self, service: ServiceKey, server: DestinationKey) -> None:
        """Forget that a server had no connections, because it may get new ones."""
        self._empty.discard((str(service), str(server)))

    def ended(self, now: float) -> list[Override]:
        """Return the orders whose time is over."""
        return [each for each, until in self._limited() if until <= now]

    def _limited(self) -> Iterator[tuple[Override, float]]:
        """Yield the orders that end by themselves, and when."""
        for each in (*self._own, *self._shared):
            if each.until is not None:
                yield each, each.until

    def ending(self, now: float) -> list[Override]:
        """Return the orders that end soon, each only once."""
        found = []
        for each, until in self._limited():
            if until <= now or each in self._told:
                continue
            before_s = min(ENDING_S, (until - each.since) / 2)
            if until - before_s <= now:
                self._told.add(each)
                found.append(each)
        return found

    def replace(self, overrides: Iterable[Override]) -> None:
        """Take these orders in place of all others."""
        self._own, self._shared = _Orders(), _Orders()
        for each in overrides:
            self.put(each)


class _Orders:
    """The orders for this director alone, or those that the fleet shares."""

    def __init__(self) -> None:
        self.states: dict[_Place, Override] = {}
        self.weights: dict[_Place, Override] = {}

    def __len__(self) -> int:
        return len(self.states) + len(self.weights)

    def __iter__(self) -> Iterator[Override]:
        return iter((*self.states.values(), *self.weights.values()))

    def state_of(self, places: tuple[_Place, _Place]) -> Override | None:
        """Return the order about a server's state.

        places: of an order for its service, and of one for all its services.
        """
        own, everywhere = places
        return self.states.get(own) or self.states.get(everywhere)

    def weight_of(self, places: tuple[_Place, _Place]) -> Override | None:
        """Return the order about a server's weight."""
        own, everywhere = places
        return self.weights.get(own) or self.weights.get(everywhere)


def in_words(override: Override) -> str:
    """Say who wants what, and why: "drained by uid 0: kernel update"."""
    what = f"weight {override.weight}" if override.kind is Kind.WEIGHT else str(_STATES[override.kind])
    where = " in all services" if override.service == EVERYWHERE else ""
    who = f" on {printable(override.director)} for the fleet" if override.director else ""
    return f"{what}{where} by uid {override.uid}{who}{f': {override.reason}' if override.reason else ''}"


def _place(override: Override) -> _Place:
    return override.service, override.server


def _places_of(service: ServiceKey, server: DestinationKey) -> tuple[_Place, _Place]:
    """Return the places of an order for a server of one service, and of one for all its services."""
    return (str(service), str(server)), (EVERYWHERE, server.address)


def _address(place: _Place) -> str:
    """Return the address of the server in a place of one service."""
    return place[1].rpartition(":")[0].strip("[]")


def about(services: Iterable[ServiceState], overrides: Iterable[Override]) -> Iterator[ServerState]:
    """Iterate over the configured servers that any of these orders is about."""
    meant = {_place(each) for each in overrides}
    keys = {service for service, _ in meant}
    for service in services:
        if EVERYWHERE not in keys and str(service.key) not in keys:
            continue
        for server in service.members:
            if not meant.isdisjoint(_places_of(service.key, server.key)):
                yield server


def are_configured(services: Iterable[ServiceState], overrides: Collection[Override]) -> list[bool]:
    """Return for each of these orders whether it is about any configured server."""
    places = {place for server in about(services, overrides) for place in _places_of(server.service.key, server.key)}
    return [_place(each) in places for each in overrides]


def names_of(services: Iterable[ServiceState], overrides: Collection[Override]) -> dict[str, str]:
    """Return the names of the services of these orders, by their keys. What has no name is called by its key."""
    names = {each.service: each.service for each in overrides}
    known = {str(service.key): service.config.name for service in services} if names.keys() - {EVERYWHERE} else {}
    return {key: known.get(key, key) for key in names}
