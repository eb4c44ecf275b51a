"""Finds the servers that an operator means by the names and addresses of an order."""

from collections.abc import Collection, Iterable

from lvs_healthd.decide.held import ServerState, ServiceState
from lvs_healthd.decide.overrides import Overrides, are_configured, names_of
from lvs_healthd.state.overrides import EVERYWHERE, Kind, Override
from lvs_healthd.view.naming import UnknownNameError, canonical, is_called, spellings
from lvs_healthd.view.override_values import OverrideRequest


def takes_back(request: OverrideRequest) -> bool:
    """Return whether an order ends earlier ones."""
    return request.verb == "enable" or (request.verb == "weight" and request.weight is None)


def meant_servers(services: Iterable[ServiceState], request: OverrideRequest) -> list[ServerState]:
    """Return the configured servers that an order is about. Raises `UnknownNameError`.

    An order for a whole service is not about its fallback.
    """
    if request.everywhere:
        address = canonical(request.everywhere)
        found = [server for service in services for server in service.members if server.key.address == address]
        if not found:
            raise UnknownNameError(f"no service has a real server with the address {request.everywhere}")
        return found
    named = [each for each in services if is_called(request.service, (each.config.name, *spellings(str(each.key))))]
    if not named:
        raise UnknownNameError(f'no service is called "{request.service}" or has that address')
    if not request.servers:
        return [server for service in named for server in service.servers]
    members = [server for service in named for server in service.members]
    chosen: dict[ServerState, None] = {}
    for word in request.servers:
        called = [server for server in members if is_called(word, spellings(str(server.key)))]
        if not called:
            raise UnknownNameError(f'no real server of "{request.service}" has the address {word}')
        chosen |= dict.fromkeys(called)
    return list(chosen)


def meant_absent(services: Collection[ServiceState], overrides: Overrides, request: OverrideRequest) -> list[Override]:
    """Return the orders that a request takes back about servers that are not configured now.

    Empty if it means any other servers besides.
    """
    if not takes_back(request):
        return []
    of_fleet = overrides.shared if request.fleet else overrides.own
    like = [each for each in of_fleet if (each.kind is Kind.WEIGHT) is (request.verb == "weight")]
    absent = [each for each, there in zip(like, are_configured(services, like), strict=True) if not there]
    names = names_of(services, absent)
    found = [each for each in absent if _is_meant(each, names[each.service], request)]
    is_all = all(any(is_called(word, spellings(each.server)) for each in found) for word in request.servers)
    return found if is_all else []


def _is_meant(override: Override, name: str, request: OverrideRequest) -> bool:
    if request.everywhere:
        return (override.service, override.server) == (EVERYWHERE, canonical(request.everywhere))
    if override.service == EVERYWHERE or not is_called(request.service, (name, *spellings(override.service))):
        return False
    return any(is_called(word, spellings(override.server)) for word in request.servers or ("*",))
