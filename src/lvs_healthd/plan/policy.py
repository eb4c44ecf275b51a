"""The policy, which decides which servers of one service are in the table, at which weight, and why. It is pure.

`plan_service` holds every rule about a service's servers.
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
CONFIGURED_REASON = "configured"
"""A reload has changed the weight of a server that is up to 0 or from 0."""
ADOPTED_REASON = "as found in the kernel's table"

Present = Mapping[DestinationKey, DestinationRecord]
"""The servers of one service that are in the kernel's table."""


class ServicePlan(msgspec.Struct, frozen=True):
    """The servers that the table should hold for one service, and whether its real servers (not fallbacks) serve."""

    destinations: dict[DestinationKey, DestinationRecord]
    up: int
    """How many real servers are up, whatever their weight."""
    may_serve: bool
    """Whether any real server is up and has a weight above 0."""
    may_come: bool
    """Whether any real server is not proven yet and has a weight above 0."""
    is_unproven: bool
    """Whether any real server is not proven yet. The plan then depends on what is in the kernel's table."""
    uses_fallback: bool
    leaving: tuple[DestinationKey, ...]
    """Servers that are no longer configured, but keep serving for a while (see `plan_service`)."""


def plan_service(service: PlannedService, healths: Iterable[Health], present: Present) -> ServicePlan:
    """Decide the servers of one service.

    healths: the health of each of `service.servers`, in the same order.
    present: the service's servers that are in the kernel's table now.

    - A server that is up is in the table, with its configured weight.
    - A server that is down is out of the table, or at weight 0 if the service quiesces.
    - A server that is not proven yet is treated as down, with one exception: if the kernel's table has it, it stays at
      weight 0 and keeps its connections.
    - Servers that a reload has dropped keep serving while no configured server may serve and some are not proven yet.
      Otherwise replacing all servers at once would empty the service.
    - The fallback servers are in the table while none of the servers above may serve.
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
    """Return the reason for a configured server's line in the wanted table."""
    if health.verdict is Verdict.UNKNOWN:
        return Why(UNPROVEN_REASON, health.first_failure)
    return Why(health.detail or ADOPTED_REASON, health.first_failure)
