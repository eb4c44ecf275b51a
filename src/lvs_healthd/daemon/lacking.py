"""Says which services an operator's orders would leave without enough servers."""

from collections.abc import Iterable, Iterator

from lvs_healthd.decide.held import ServerState
from lvs_healthd.decide.overrides import Overrides
from lvs_healthd.health.machine import DOWN
from lvs_healthd.plan.policy import Rule
from lvs_healthd.plan.precedence import Special, State


def lacking(servers: Iterable[ServerState], after: Overrides) -> Iterator[str]:
    """Say of each service that has enough servers that may serve now, and would not have, what it would have.

    servers: those that the orders are about.
    after: all orders, with the new ones.
    """
    touched = {server.service.key: server.service for server in servers}
    for service in touched.values():
        floor, name = service.planned.floor, service.config.name
        now = service.able((each, each.special) for each in service.servers)
        then = service.able((each, each.reconsidered(after.hand_of(service.key, each.key))) for each in service.servers)
        if now and not then:
            yield f'"{name}" without a real server that may serve'
        elif now >= floor.needed > then:
            unit = "a weight of " if floor.counts_weight else ""
            yield f'"{name}" with {unit}{then} that may serve, less than its min_up of {floor.needed}'
        if service.plan.rule is Rule.FAIL_OPEN and not any(
            _may_stay(each, each.reconsidered(after.hand_of(service.key, each.key))) for each in service.servers
        ):
            yield f'"{name}" without a server, while it fails open'
        if service.plan.uses_fallback and not any(
            _is_fit(each, each.reconsidered(after.hand_of(service.key, each.key))) for each in service.spares
        ):
            yield f'"{name}" without a fallback server, while its fallback serves'


def _may_stay(server: ServerState, apart: Special | None) -> bool:
    """Return whether a server serves while its service fails open.

    apart: what sets it apart.
    """
    if apart is None:
        return server.config.weight > 0
    return apart.state in {None, State.DAMPED} and apart.weight > 0


def _is_fit(spare: ServerState, apart: Special | None) -> bool:
    """Return whether a fallback server may serve: it is not known to be down.

    apart: what sets it apart.
    """
    is_out = apart is not None and (apart.state is not None or not apart.weight)
    return spare.health.verdict is not DOWN and not is_out
