"""The policy run for every service at once: the result that the planner must reach by any sequence of changes."""

from collections.abc import Mapping

from lvs_healthd.health.machine import Health
from lvs_healthd.ipvs.records import DestinationKey, ServiceEntry, ServiceKey, Table, Wanted, Why
from lvs_healthd.plan.policy import (
    FALLBACK_REASON,
    LEAVING_REASON,
    NO_PLAN,
    SERVING_REASON,
    Change,
    Standing,
    plan_service,
    reason_for,
)
from lvs_healthd.plan.records import PlannedService, shared


def plan(
    services: tuple[PlannedService, ...], verdicts: Mapping[tuple[ServiceKey, DestinationKey], Health], actual: Table
) -> Wanted:
    table: Table = {}
    why: dict[tuple[ServiceKey, DestinationKey], Why] = {}
    for service in services:
        key = service.key
        healths = [verdicts[key, server.key] for server in service.servers]
        changes = [
            Change(server, None, Standing(health.verdict, server.record.weight))
            for server, health in zip(service.servers, healths, strict=True)
        ]
        planned = plan_service(service, NO_PLAN, changes, actual[key].destinations if key in actual else {})
        destinations = {server: record for server, record in planned.changed.items() if record is not None}
        table[key] = ServiceEntry(service.record, destinations)
        why |= {(key, server.key): reason_for(health) for server, health in zip(service.servers, healths, strict=True)}
        why |= {(key, server): Why(LEAVING_REASON, takes_orders=False) for server in planned.leaving}
        reason = FALLBACK_REASON if planned.uses_fallback else SERVING_REASON
        why |= {(key, server.key): Why(reason, takes_orders=False) for server in service.fallback}
    return Wanted(table, {service.key: service.name for service in services}, why, shared(services))
