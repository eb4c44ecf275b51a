"""Tells what a new plan means for a service: whether anybody may serve, and whether enough may (`min_up`)."""

from collections.abc import Iterable, Iterator

from lvs_healthd.config.model import Below
from lvs_healthd.decide.held import ServiceState
from lvs_healthd.events.kinds import Event, ServiceBelow, ServiceEnough, ServiceFallback, ServiceServing


def news_of(service: ServiceState) -> Iterable[Event]:
    """Return the events for what has changed with a service's plan, and note in the service that they were told."""
    plan = service.plan
    if plan.leaving:
        return ()  # while servers that a reload has dropped keep serving, nothing has changed for clients
    if plan.is_usual and service.serving and plan.may_serve and service.action is None and not service.is_shortage_told:
        return ()
    return (*_shortage(service), *_serving(service))


def _serving(service: ServiceState) -> Iterator[Event]:
    plan, name = service.plan, service.config.name
    if plan.may_serve == service.serving:
        return
    if plan.may_serve:
        service.serving = True
        yield ServiceServing(service=name, servers=plan.up)
    elif service.serving or not plan.may_come:
        service.serving = False
        if plan.action is not Below.FAIL_OPEN:  # all servers serve then, as `_shortage` tells
            yield ServiceFallback(service=name, fallback=tuple(str(spare.key) for spare in plan.spares))


def _shortage(service: ServiceState) -> Iterator[Event]:
    plan, floor, name = service.plan, service.planned.floor, service.config.name
    was, action = service.action, plan.action
    if plan.is_waiting:
        return  # servers that are not proven yet may suffice, after a start or a reload that has added them
    service.action = action
    is_weight = floor.counts_weight
    if action is None and service.is_shortage_told:
        service.is_shortage_told = False
        yield ServiceEnough(service=name, able=plan.able, min_up=floor.needed, is_weight=is_weight)
    # A service that needs one and has none is told as such.
    if action not in {None, was} and (floor.needed > 1 or action is Below.FAIL_OPEN or was is Below.FAIL_OPEN):
        service.is_shortage_told = True
        yield ServiceBelow(service=name, able=plan.able, min_up=floor.needed, is_weight=is_weight, action=action)
