"""The policy run for every service at once: the result that the planner must reach by any sequence of changes."""

from collections.abc import Mapping

import msgspec

from lvs_healthd.health.machine import Health
from lvs_healthd.ipvs.records import DestinationKey, ServiceEntry, ServiceKey, Table, Wanted, Why
from lvs_healthd.plan.policy import NO_PLAN, plan_service
from lvs_healthd.plan.reasons import FALLBACK_REASON, LEAVING_REASON, SERVING_REASON, reason_for
from lvs_healthd.plan.records import PlannedService, shared
from lvs_healthd.plan.standings import Change, Members, Standing


def plan(
    services: tuple[PlannedService, ...],
    verdicts: Mapping[tuple[ServiceKey, DestinationKey], Health],
    actual: Table,
    dropped: Mapping[ServiceKey, frozenset[DestinationKey] | None] | None = None,
) -> Wanted:
    """Return the wanted table.

    dropped: the servers of each service that reloads have dropped and that still serve; None if nobody knows.
    """
    table: Table = {}
    why: dict[tuple[ServiceKey, DestinationKey], Why] = {}
    for service in services:
        key = service.key
        healths = [verdicts[key, server.key] for server in service.servers]
        changes = [
            Change(server, None, Standing(health.verdict, server.record.weight))
            for server, health in zip(service.servers, healths, strict=True)
        ]
        present = actual[key].destinations if key in actual else {}
        before = msgspec.structs.replace(NO_PLAN, dropped=(dropped or {}).get(key))
        planned = plan_service(service, before, changes, present, Members(tuple))
        destinations = {server: record for server, record in planned.changed.items() if record is not None}
        table[key] = ServiceEntry(service.record, destinations)
        why |= {(key, server.key): reason_for(health) for server, health in zip(service.servers, healths, strict=True)}
        why |= {(key, server): Why(LEAVING_REASON, takes_orders=False) for server in planned.leaving}
        reason = FALLBACK_REASON if planned.uses_fallback else SERVING_REASON
        why |= {(key, server.key): Why(reason, takes_orders=False) for server in service.fallback}
    return Wanted(table, {service.key: service.name for service in services}, why, shared(services))
