"""Says which lines the live screen has, in which order, and how many of each kind there are."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lvs_healthd.view.status_values import RealServerStatus, ServiceStatus, Status
from lvs_healthd.view.words import is_bad, shortage


class Row(NamedTuple):
    """One line: a service, or one of its servers below it."""

    service: ServiceStatus
    server: RealServerStatus | None = None
    """None for the line of the service itself."""


class Counts(NamedTuple):
    """How many there are of everything."""

    services: int
    bad_services: int
    servers: int
    """Without fallback servers."""
    states: tuple[tuple[str, int], ...]
    """State or verdict and how many servers have it; what needs attention comes first."""
    drift: int
    """How many services differ from the kernel's table."""


_ORDER = ("down", "damped", "unknown", "drained", "disabled", "up")


def counts(status: Status) -> Counts:
    """Count the services and servers of a status."""
    servers = [server for service in status.services for server in service.real_servers if not server.fallback]
    states = Counter(server.state or server.verdict for server in servers)
    order = sorted(states, key=lambda state: (_ORDER.index(state) if state in _ORDER else len(_ORDER), state))
    return Counts(
        services=len(status.services),
        bad_services=sum(is_bad_service(each, status) for each in status.services),
        servers=len(servers),
        states=tuple((state, states[state]) for state in order),
        drift=sum(not each.in_sync for each in status.services),
    )


def rows(status: Status, wanted: str, *, only_bad: bool) -> list[Row]:
    """List the lines: bad services with their bad servers first, then the services with their good servers.

    wanted: text that a server, its service, its state, its reason or what was ordered about it contains, in upper or
        lower case; "" for everything.
    only_bad: whether to leave out what is good.
    """
    text = wanted.casefold()
    listed = [row for service in status.services for row in _lines(service, status, text, bad=True)]
    if not only_bad:
        listed += [row for service in status.services for row in _lines(service, status, text, bad=False)]
    return listed


def is_bad_service(service: ServiceStatus, status: Status) -> bool:
    """Return whether a service lacks servers, has a bad one, or is not in the kernel's table as wanted."""
    drifts = not service.in_sync and _is_written(service, status)
    return bool(shortage(service)) or drifts or any(_of_kind(service, status, bad=True))


def _is_written(service: ServiceStatus, status: Status) -> bool:
    return "shadow" not in (status.daemon.mode, service.held_by)


def _of_kind(service: ServiceStatus, status: Status, *, bad: bool) -> Iterator[RealServerStatus]:
    is_written = _is_written(service, status)
    return (server for server in service.real_servers if is_bad(server, is_written=is_written) is bad)


def _lines(service: ServiceStatus, status: Status, text: str, *, bad: bool) -> Iterator[Row]:
    is_meant = _contains((service.service, service.address), text)
    servers = [
        Row(service, server)
        for server in _of_kind(service, status, bad=bad)
        if is_meant or _contains((server.server, server.state or server.verdict, server.reason, server.override), text)
    ]
    # A service whose servers are all bad, or all good, has one line. One that is bad by itself has it among the bad.
    if servers or (is_meant and (bad or not service.real_servers) and is_bad_service(service, status) is bad):
        yield Row(service)
        yield from servers


def _contains(texts: Sequence[str], text: str) -> bool:
    return not text or any(text in each.casefold() for each in texts)
