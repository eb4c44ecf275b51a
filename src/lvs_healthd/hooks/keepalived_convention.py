"""Tells of changes as keepalived does: a line of its FIFO, or a notify script without more arguments.

Sources: keepalived 2.2.7, `notify_fifo_vs` and `notify_fifo_rs` of check/ipwrapper.c, `format_vs` of
check/check_data.c, `inet_sockaddrtotrio` of lib/utils.c.
"""

from lvs_healthd.config.model import RealServer, Service
from lvs_healthd.events.kinds import (
    Event,
    RealServerDown,
    RealServerUp,
    ServiceBelow,
    ServiceEnough,
    ServiceFallback,
    ServiceServing,
)

UP, DOWN = "UP", "DOWN"

_NO_PROTOCOL = "none"
"""What keepalived writes for the protocol of servers behind a firewall mark."""

SHORTAGES = {"service.fallback": DOWN, "service.below": DOWN, "service.serving": UP, "service.enough": UP}
"""The events by which a service is down or up for keepalived."""


class Quorums:
    """Which services are down for keepalived: those without any server, and those with less than `min_up`."""

    def __init__(self) -> None:
        self._empty: set[str] = set()
        self._below: set[str] = set()

    def changed(self, event: Event) -> str:
        """Take an event into account. Return what its service has changed to, "UP" or "DOWN"; "" for no change."""
        match event:
            case ServiceFallback(service=service) | ServiceServing(service=service):
                kept = self._empty
            case ServiceBelow(service=service) | ServiceEnough(service=service):
                kept = self._below
            case _:
                return ""
        was_down = service in self._empty or service in self._below
        if SHORTAGES[event.name] == DOWN:
            kept.add(service)
        else:
            kept.discard(service)
        is_down = service in self._empty or service in self._below
        if is_down and not was_down:
            return DOWN
        # The first thing that is heard of a service may be that it is up again, after a restart.
        return UP if not is_down and (was_down or SHORTAGES[event.name] == UP) else ""

    def forget_others(self, services: frozenset[str]) -> None:
        """Forget all services but these."""
        self._empty &= services
        self._below &= services


def state_of(event: Event) -> str:
    """Return what a real server has changed to, "UP" or "DOWN"; "" if it has not, or if this is its first pass."""
    match event:
        case RealServerUp(was=was):
            return UP if was != "unknown" else ""
        case RealServerDown():
            return DOWN
        case _:
            return ""


def line_of(service: Service, server: RealServer | None, state: str) -> str:
    """Return the line of the FIFO for a change of a service, or of one of its servers."""
    if server is None:
        return f"VS {_service(service)} {state}\n"
    protocol = _NO_PROTOCOL if service.endpoint is None else str(service.protocol)
    return f"RS [{server.endpoint.address}]:{protocol}:{server.endpoint.port} {_service(service)} {state}\n"


def _service(service: Service) -> str:
    if service.endpoint is None:
        return f"FWM {service.fwmark}"
    return f"[{service.endpoint.address}]:{service.protocol}:{service.endpoint.port}"
