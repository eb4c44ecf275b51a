"""The policy, which decides which servers of one service are in the table, at which weight, and why. It is pure.

`plan_service` holds every rule about a service's servers.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, Why
from lvs_healthd.plan.precedence import Special, State
from lvs_healthd.plan.records import PlannedServer, PlannedService

FALLBACK_REASON = "fallback: no real server may serve"
SERVING_REASON = "real servers serve again"
LEAVING_REASON = "not configured any more; serves until a new server is proven"
UNPROVEN_REASON = "not proven healthy yet"
CONFIGURED_REASON = "configured"
"""The reason when a reload changes a server's weight to 0 or from 0, while the server is up."""
NOBODY_ELSE_REASON = "serves all the same, because no other server may"
"""What the reason of a damped server begins with that serves."""
ADOPTED_REASON = "as found in the kernel's table"

Present = Mapping[DestinationKey, DestinationRecord]
"""The servers of one service that are in the kernel's table."""


class Standing(NamedTuple):
    """What decides a real server's line."""

    verdict: Verdict
    weight: int
    """Its weight when it serves."""
    state: State | None = None
    """What keeps it from serving, whatever its verdict; None for nothing."""
    is_empty: bool = False
    """Whether a drained server is out of the table."""

    @property
    def serves(self) -> bool:
        """Whether it may take new connections, if its weight is not 0."""
        return self.verdict is Verdict.UP and self.state is None

    @property
    def may_come(self) -> bool:
        """Whether only its checks are missing."""
        return self.verdict is Verdict.UNKNOWN and self.state is None


class Change(NamedTuple):
    """A real server whose line must be decided again."""

    server: PlannedServer
    before: Standing | None
    """What the previous plan used; None if there is no previous plan."""
    now: Standing


class Damped(NamedTuple):
    """A damped server that is up."""

    server: PlannedServer
    weight: int
    """Its weight if it serves."""


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
    damped: dict[DestinationKey, Damped]
    """The damped servers that are up."""
    uses_damped: bool
    """Whether they serve all the same."""

    @property
    def may_serve(self) -> bool:
        """Whether any real server is up and has a weight above 0."""
        return self.weight > 0 or self.uses_damped

    @property
    def may_come(self) -> bool:
        """Whether any real server is not proven yet and has a weight above 0."""
        return self.unproven_weight > 0


NO_PLAN = ServicePlan(
    {}, up=0, weight=0, unproven=0, unproven_weight=0, leaving={}, uses_fallback=False, damped={}, uses_damped=False
)
"""What a service has before its first plan."""


def plan_service(
    service: PlannedService, before: ServicePlan, changes: Iterable[Change], present: Present
) -> ServicePlan:
    """Decide which servers of one service are in the table. The cost grows with the changes, not with the servers.

    before: the service's last plan, which counts all its real servers; or `NO_PLAN`, which counts none.
    changes: the real servers whose verdict has changed since the last plan, and the unproven ones whose line in the
        kernel's table has changed. With `NO_PLAN`, all real servers.
    present: the service's servers that are in the kernel's table now.

    - A server that is up is in the table, with its configured weight or a special one (`precedence`).
    - A disabled server is out of the table. A drained one is at weight 0 until its connections are gone.
    - A damped server is treated as down. But if no other server may serve, those damped ones serve that are up.
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
    damped = before.damped.copy()
    for server, old, new in changes:
        for standing, sign in ((old, -1), (new, 1)):
            if standing is None:
                continue
            up += sign * (standing.verdict is Verdict.UP)
            weight += sign * standing.weight * standing.serves
            unproven += sign * standing.may_come
            unproven_weight += sign * standing.weight * standing.may_come
        damped.pop(server.key, None)
        if new.state is State.DAMPED and new.verdict is Verdict.UP:
            damped[server.key] = Damped(server, new.weight)
        changed[server.key] = _line(server, new, is_quiesced=service.quiesce, is_present=server.key in present)
    uses_damped = not weight and any(each.weight for each in damped.values())
    out = {key: each.server.quiesced if service.quiesce else None for key, each in damped.items()}
    changed |= {key: each.server.at(each.weight) for key, each in damped.items()} if uses_damped else out
    leaving: dict[DestinationKey, DestinationRecord] = {}
    if not weight and not uses_damped and unproven:
        configured = service.configured
        leaving = {key: record for key, record in present.items() if key not in configured and record.weight > 0}
    changed |= dict.fromkeys(before.leaving) | leaving
    uses_fallback = not weight and not uses_damped and not leaving
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
        damped=damped,
        uses_damped=uses_damped,
    )


def _line(
    server: PlannedServer, standing: Standing, *, is_quiesced: bool, is_present: bool
) -> DestinationRecord | None:
    """Return the line of one server; None if it should not be in the table.

    is_quiesced: whether its service quiesces servers that are down.
    is_present: whether it is in the kernel's table.
    """
    if standing.serves:
        return server.at(standing.weight)
    if standing.state is State.DISABLED:
        return None
    if standing.state is State.DRAINED:
        return server.quiesced if is_present and not standing.is_empty else None
    stays = is_quiesced or (standing.verdict is Verdict.UNKNOWN and is_present)
    return server.quiesced if stays else None


def reason_for(health: Health, special: Special | None = None) -> Why:
    """Return the reason for a configured server's line in the wanted table.

    special: what sets it apart; None for nothing.
    """
    if special is not None and special.state is not None:
        return Why(special.reason)
    if health.verdict is Verdict.UNKNOWN:
        return Why(UNPROVEN_REASON, health.first_failure)
    reason = health.detail or ADOPTED_REASON
    if special is not None and health.verdict is Verdict.UP:
        return Why(f"{special.reason}; {reason}", health.first_failure, is_asked=True)
    return Why(reason, health.first_failure)
