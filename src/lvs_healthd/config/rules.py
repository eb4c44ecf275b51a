"""Rules between servers and between services: what the kernel could not do, or would do otherwise than meant."""

from collections.abc import Hashable, Sequence

from lvs_healthd.config.errors import Errors, show
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import Endpoint, Forward, Service
from lvs_healthd.config.servers import Placed


def judge_servers(service: Service, servers: Sequence[Placed], fallback: Sequence[Placed], errors: Errors) -> None:
    """Note what is wrong with the servers of one service."""
    seen: dict[Endpoint, KeyPath] = {}
    for placed in (*servers, *fallback):
        endpoint = placed.server.endpoint
        if endpoint in seen:
            errors.add(placed.path, f"{_spelled(endpoint)} is there already, on line {errors.line(seen[endpoint])}")
        seen.setdefault(endpoint, placed.path)
        if placed.forward_is_known:
            _judge_forwarding(service, placed, errors)


def _judge_forwarding(service: Service, placed: Placed, errors: Errors) -> None:
    forward, endpoint = placed.server.forward, placed.server.endpoint
    if service.endpoint and forward is not Forward.NAT and endpoint.port != service.endpoint.port:
        errors.add(
            placed.path,
            f"port {endpoint.port} is not the service's {service.endpoint.port}, and {forward} leaves ports as they "
            'are; only forward = "nat" can map them',
        )
    if forward is not Forward.TUN and endpoint.family != service.family:
        errors.add(
            placed.path,
            f"{endpoint.address} is not {service.family} like its service, and {forward} cannot cross families; "
            'only forward = "tun" can',
        )


def judge_together(services: Sequence[tuple[KeyPath, Service]], errors: Errors) -> None:
    """Note services that are in each other's way."""
    names: dict[str, KeyPath] = {}
    tuples: dict[Hashable, tuple[KeyPath, str]] = {}
    for path, service in services:
        if service.name in names:
            line = errors.line(names[service.name])
            errors.add((*path, "name"), f"the service on line {line} is called {show(service.name)} too")
        names.setdefault(service.name, path)
        identity = (service.endpoint, service.protocol) if service.endpoint else (service.fwmark, service.family)
        if identity in tuples:
            other, other_name = tuples[identity]
            what = f"{service.endpoint}/{service.protocol}" if service.endpoint else f"fwmark {service.fwmark}"
            key = "address" if service.endpoint else "fwmark"
            message = f"{what} is service {show(other_name)} already, on line {errors.line(other)}"
            errors.add((*path, key), message)
        tuples.setdefault(identity, (path, service.name))


def _spelled(endpoint: Endpoint) -> str:
    return str(endpoint) if endpoint.port else endpoint.address
