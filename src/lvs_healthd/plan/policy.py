"""The policy: which servers of one service are in the table, at which weight, and why. Pure.

Every rule about a service's servers stands in `plan_service`, and nowhere else.
"""

from collections.abc import Iterable, Mapping

import msgspec

from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, Why
from lvs_healthd.plan.records import PlannedService

FALLBACK_REASON = "fallback: no real server may serve"
SERVING_REASON = "real servers serve again"
LEAVING_REASON = "not configured any more; serves until a new server is proven"
UNPROVEN_REASON = "not proven healthy yet"
ADOPTED_REASON = "as found in the kernel's table"

Present = Mapping[DestinationKey, DestinationRecord]
"""The servers of one service that are in the kernel's table."""


class ServicePlan(msgspec.Struct, frozen=True):
    """What the table should hold of one service, and how its real servers stand, fallbacks not among them."""

    destinations: dict[DestinationKey, DestinationRecord]
    up: int
    """How many real servers are up, whatever their weight."""
    may_serve: bool
    """Whether a real server that is up has weight."""
    may_come: bool
    """Whether a real server that is not proven yet has weight."""
    is_unproven: bool
    """Whether a real server is not proven yet: then the plan depends on what is in the kernel's table."""
    uses_fallback: bool
    leaving: tuple[DestinationKey, ...]
    """Servers that are not configured any more and serve on for a while."""


def plan_service(service: PlannedService, healths: Iterable[Health], present: Present) -> ServicePlan:
    """Decide the servers of one service.

    `healths` is what is known of each of `service.servers`, in their order; `present` is what the kernel's table holds
    of the service now.

    A server that is up is in with its configured weight. One that is down is out, or at weight 0 where the service
    quiesces. One that is not proven yet is treated like one that is down, except that it stays at weight 0, with its
    connections, where it is in the table. The fallback is in while no server may serve. Servers that a reload has
    dropped serve on while none may serve and some are not proven yet: to replace all servers at once must not empty
    the service.
    """
    destinations: dict[DestinationKey, DestinationRecord] = {}
    up = weight = unproven = unproven_weight = 0
    is_quiesced = service.quiesce
    for server, health in zip(service.servers, healths, strict=True):
        verdict = health.verdict
        if verdict is Verdict.UP:
            destinations[server.key] = server.record
            up += 1
            weight += server.record.weight
        elif verdict is Verdict.UNKNOWN:
            unproven += 1
            unproven_weight += server.record.weight
            if is_quiesced or server.key in present:
                destinations[server.key] = server.quiesced
        elif is_quiesced:
            destinations[server.key] = server.quiesced
    leaving: dict[DestinationKey, DestinationRecord] = {}
    if not weight and unproven:
        configured = service.configured
        leaving = {key: record for key, record in present.items() if key not in configured and record.weight > 0}
        destinations |= leaving
    uses_fallback = not weight and not leaving
    if uses_fallback:
        destinations |= {server.key: server.record for server in service.fallback}
    return ServicePlan(
        destinations=destinations,
        up=up,
        may_serve=bool(weight),
        may_come=bool(unproven_weight),
        is_unproven=bool(unproven),
        uses_fallback=uses_fallback,
        leaving=tuple(leaving),
    )


def reason_for(health: Health) -> Why:
    """Return why a configured server's line in the table is what it is."""
    if health.verdict is Verdict.UNKNOWN:
        return Why(UNPROVEN_REASON, health.first_failure)
    return Why(health.detail or ADOPTED_REASON, health.first_failure)
