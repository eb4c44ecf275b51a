"""Says what an operator's order changes of the orders in force, or why it is refused. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lvs_healthd.daemon.meant import takes_back
from lvs_healthd.decide.held import ServerState
from lvs_healthd.decide.overrides import Overrides, in_words
from lvs_healthd.state.overrides import EVERYWHERE, Kind, Override
from lvs_healthd.view.naming import canonical
from lvs_healthd.view.override_values import OverrideRequest


class Change(NamedTuple):
    """What an order does to the orders in force."""

    put: list[Override]
    removed: list[Override]

    def apply(self, overrides: Overrides) -> None:
        """Change the orders in force."""
        for each in self.removed:
            overrides.remove(each)
        for each in self.put:
            overrides.put(each)


class Giver(NamedTuple):
    """Who gives an order, where and when."""

    uid: int
    director: str
    """How this director is called in the fleet."""
    now: float
    """Unix time."""


class RefusedOrderError(Exception):
    """An order that cannot be carried out. The text says why, and what to type instead."""


def change_of(overrides: Overrides, request: OverrideRequest, servers: list[ServerState], giver: Giver) -> Change:
    """Return what an order changes. Raises `RefusedOrderError`.

    overrides: the orders in force.
    servers: the servers that the order is about.
    """
    if request.everywhere:
        places = [(EVERYWHERE, canonical(request.everywhere))]
    else:
        places = [(str(server.service.key), str(server.key)) for server in servers]
    if takes_back(request):
        return Change([], list(_to_remove(overrides, request, servers, set(places))))
    kind = Kind(request.verb)
    made = [
        Override(
            kind=kind,
            service=service,
            server=server,
            weight=request.weight if kind is Kind.WEIGHT else None,
            reason=request.reason,
            uid=giver.uid,
            since=giver.now,
            until=request.until,
            deadline=request.deadline if kind is Kind.DRAIN else None,
            director=giver.director if request.fleet else "",
        )
        for service, server in places
    ]
    for each in made:
        replaced = overrides.replaced_by(each)
        if replaced is not None and replaced.kind is not kind and _ends_before(each, replaced):
            raise RefusedOrderError(
                f"{each.server} is {in_words(replaced)}, which this would end with its own end; leave --for and "
                "--until out, or enable it first"
            )
    return Change(made, [])


def _to_remove(
    overrides: Overrides, request: OverrideRequest, servers: list[ServerState], places: set[tuple[str, str]]
) -> Iterator[Override]:
    is_weight = request.verb == "weight"
    found = [
        each
        for each in overrides
        if (each.service, each.server) in places
        and (each.kind is Kind.WEIGHT) is is_weight
        and bool(each.director) is request.fleet
    ]
    yield from found
    for server in servers:
        counting = overrides.of(server.service.key, server.key)[int(is_weight)]
        if counting is None or counting in found:
            continue
        is_alike = bool(counting.director) is request.fleet
        is_wider = counting.service == EVERYWHERE and not request.everywhere
        if is_wider if is_alike else not found:
            raise RefusedOrderError(f"{server.key} is {in_words(counting)}; {_way_back(counting, server)}")


def still_ordered(overrides: Overrides, request: OverrideRequest, servers: Iterable[ServerState]) -> Iterator[str]:
    """Say which servers another order still is about, after an order that ended some."""
    if takes_back(request):
        for server in servers:
            counting = overrides.of(server.service.key, server.key)[int(request.verb == "weight")]
            if counting is not None:
                yield f"{server.key} is still {in_words(counting)}; {_way_back(counting, server)}"


def _way_back(override: Override, server: ServerState) -> str:
    """Return what to type to end an order about a server."""
    if override.service == EVERYWHERE:
        names = f"--everywhere {server.key.address}"
    else:
        names = f"{server.service.config.name} {server.key}"
    fleet = " --fleet" if override.director else ""
    verb = f"weight {names} auto" if override.kind is Kind.WEIGHT else f"enable {names}"
    return f"lvs-healthd {verb}{fleet}"


def _ends_before(one: Override, other: Override) -> bool:
    return one.until is not None and (other.until is None or one.until < other.until)
