"""The policy, which decides which servers of one service are in the table, at which weight, and why. It is pure.

`plan_service` holds every rule about a service's servers.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, Why
from lvs_healthd.plan.records import PlannedServer, PlannedService
from lvs_healthd.plan.weights import Weight

FALLBACK_REASON = "fallback: no real server may serve"
SERVING_REASON = "real servers serve again"
LEAVING_REASON = "not configured any more; serves until a new server is proven"
UNPROVEN_REASON = "not proven healthy yet"
CONFIGURED_REASON = "configured"
"""The reason when a reload changes a server's weight to 0 or from 0, while the server is up."""
ADOPTED_REASON = "as found in the kernel's table"

Present = Mapping[DestinationKey, DestinationRecord]
"""The servers of one service that are in the kernel's table."""


class Standing(NamedTuple):
    """What decides a real server's line."""

    verdict: Verdict
    weight: int
    """Its weight when it serves."""


class Change(NamedTuple):
    """A real server whose line must be decided again."""

    server: PlannedServer
    before: Standing | None
    """What the previous plan used; None if there is no previous plan."""
    now: Standing


class ServicePlan(msgspec.Struct, frozen=True):
    """The servers that the table should hold for one service, as a difference from the previous plan.

    The plan also says whether the service's real servers (not its fallbacks) serve.
    """

    changed: dict[DestinationKey, DestinationRecord | None]
    """The lines that were decided again; None for a server that should not be in the table."""
    up: int
    """How many real servers are up, whatever their weight."""
    weight: int
    """The sum of the weights of the servers that are up."""
    unproven: int
    """How many real servers are not proven yet. The plan then depends on what is in the kernel's table."""
    unproven_weight: int
    """The sum of the weights of the servers that are not proven yet."""
    leaving: dict[DestinationKey, DestinationRecord]
    """Servers that are no longer configured, but keep serving for a while (see `plan_service`)."""
    uses_fallback: bool

    @property
    def may_serve(self) -> bool:
        """Whether any real server is up and has a weight above 0."""
        return self.weight > 0

    @property
    def may_come(self) -> bool:
        """Whether any real server is not proven yet and has a weight above 0."""
        return self.unproven_weight > 0


NO_PLAN = ServicePlan({}, up=0, weight=0, unproven=0, unproven_weight=0, leaving={}, uses_fallback=False)
"""What a service has before its first plan."""


def plan_service(
    service: PlannedService, before: ServicePlan, changes: Iterable[Change], present: Present
) -> ServicePlan:
    """Decide which servers of one service are in the table. The cost grows with the changes, not with the servers.

    before: the service's last plan, which counts all its real servers; or `NO_PLAN`, which counts none.
    changes: the real servers whose verdict has changed since the last plan, and the unproven ones whose line in the
        kernel's table has changed. With `NO_PLAN`, all real servers.
    present: the service's servers that are in the kernel's table now.

    - A server that is up is in the table, with its configured weight, or the one that its checks ask for (`weights`).
    - A server that is down is out of the table, or at weight 0 if the service quiesces.
    - A server that is not proven yet is treated as down, with one exception: if the kernel's table has it, it stays at
      weight 0 and keeps its connections.
    - Servers that a reload has dropped keep serving while no configured server may serve and some are not proven yet.
      Otherwise replacing all servers at once would empty the service.
    - The fallback servers are in the table while none of these servers may serve.
    """
    changed: dict[DestinationKey, DestinationRecord | None] = {}
    up, weight = before.up, before.weight
    unproven, unproven_weight = before.unproven, before.unproven_weight
    is_quiesced = service.quiesce
    for server, old, new in changes:
        if old is not None and old.verdict is Verdict.UP:
            up -= 1
            weight -= old.weight
        elif old is not None and old.verdict is Verdict.UNKNOWN:
            unproven -= 1
            unproven_weight -= old.weight
        if new.verdict is Verdict.UP:
            up += 1
            weight += new.weight
            changed[server.key] = server.at(new.weight)
            continue
        if new.verdict is Verdict.UNKNOWN:
            unproven += 1
            unproven_weight += new.weight
        stays = is_quiesced or (new.verdict is Verdict.UNKNOWN and server.key in present)
        changed[server.key] = server.quiesced if stays else None
    leaving: dict[DestinationKey, DestinationRecord] = {}
    if not weight and unproven:
        configured = service.configured
        leaving = {key: record for key, record in present.items() if key not in configured and record.weight > 0}
    changed |= dict.fromkeys(before.leaving) | leaving
    uses_fallback = not weight and not leaving
    if uses_fallback is not before.uses_fallback:
        changed |= {spare.key: spare.record if uses_fallback else None for spare in service.fallback}
    return ServicePlan(
        changed=changed,
        up=up,
        weight=weight,
        unproven=unproven,
        unproven_weight=unproven_weight,
        leaving=leaving,
        uses_fallback=uses_fallback,
    )


def reason_for(health: Health, weight: Weight | None = None) -> Why:
    """Return the reason for a configured server's line in the wanted table.

    weight: its weight, if that is not the configured one.
    """
    if health.verdict is Verdict.UNKNOWN:
        return Why(UNPROVEN_REASON, health.first_failure)
    reason = health.detail or ADOPTED_REASON
    if weight is not None and health.verdict is Verdict.UP:
        reason = f"{weight.reason}; {reason}"
    return Why(reason, health.first_failure)
