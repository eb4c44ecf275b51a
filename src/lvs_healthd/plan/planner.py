"""Keeps the wanted table up to date: runs the policy for the services that have changed, and for no others."""

from collections.abc import Iterable, Iterator, Mapping

from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, ServiceEntry, ServiceKey, Table, TableLine, Wanted, Why
from lvs_healthd.plan.mark_services import NAME, WHY
from lvs_healthd.plan.policy import (
    CONFIGURED_REASON,
    FALLBACK_REASON,
    LEAVING_REASON,
    NO_PLAN,
    NOBODY_ELSE_REASON,
    SERVING_REASON,
    Change,
    Present,
    ServicePlan,
    Standing,
    plan_service,
    reason_for,
)
from lvs_healthd.plan.precedence import Special
from lvs_healthd.plan.records import PlannedService, shared


class _Service:
    """The state of one service that is kept from one plan to the next."""

    __slots__ = ("entry", "healths", "plan", "planned", "servers", "specials")

    def __init__(
        self, planned: PlannedService, healths: dict[DestinationKey, Health], specials: dict[DestinationKey, Special]
    ) -> None:
        self.planned = planned
        self.entry = ServiceEntry(planned.record, {})
        """The service's entry in the wanted table."""
        self.servers = {server.key: server for server in planned.servers}
        self.healths = healths
        """The health of each real server, with the verdict that the last plan used."""
        self.specials = specials
        """What sets a real server apart, for each that is special, as the last plan used it."""
        self.plan = NO_PLAN

    def first_changes(self) -> Iterator[Change]:
        """Return every real server as a change, for the service's first plan."""
        for key, server in self.servers.items():
            yield Change(server, None, self._standing(key))

    def renewed(self, key: DestinationKey, health: Health, special: Special | None) -> Change:
        """Take a real server's new health, and what sets it apart. Return what changes."""
        before = self._standing(key)
        self.healths[key] = health
        if special is not None:
            self.specials[key] = special
        else:
            self.specials.pop(key, None)
        return Change(self.servers[key], before, self._standing(key))

    def would_change(self, key: DestinationKey, health: Health, special: Special | None) -> bool:
        """Whether the line of a real server must be planned again when it has this health and is so special."""
        return health.verdict is not self.healths[key].verdict or special != self.specials.get(key)

    def _standing(self, key: DestinationKey) -> Standing:
        special = self.specials.get(key) if self.specials else None
        if special is None:
            return Standing(self.healths[key].verdict, self.servers[key].record.weight)
        return Standing(self.healths[key].verdict, special.weight, special.state, special.is_empty)

    def depends_on(self, server: DestinationKey | None) -> bool:
        """Whether the plan depends on one line of the kernel's table: a server, or the service itself.

        server: the server; None for the service itself.
        """
        if not self.plan.unproven:
            return False
        health = self.healths.get(server) if server is not None else None
        return health is None or health.verdict is Verdict.UNKNOWN

    def unproven(self, server: DestinationKey | None) -> Iterator[Change]:
        """Return the unproven servers whose wanted line depends on one line of the kernel's table.

        server: the server of that line, configured or not. None for the service's own line, on which every unproven
            server depends.
        """
        for key in self.healths if server is None else (server,):
            health = self.healths.get(key)
            if health is not None and health.verdict is Verdict.UNKNOWN:
                standing = self._standing(key)
                yield Change(self.servers[key], standing, standing)


def _drained_or_restored(before: _Service, after: _Service) -> Iterator[tuple[ServiceKey, DestinationKey]]:
    """Find the servers that stay up while their configured weight changes to 0 or from 0."""
    drained = {server.key: not server.record.weight for server in before.planned.servers}
    for server in after.planned.servers:
        if drained.get(server.key, not server.record.weight) is not (not server.record.weight):
            healths = before.healths[server.key], after.healths[server.key]
            if all(health.verdict is Verdict.UP for health in healths):
                yield after.planned.key, server.key


class Planner:
    """Holds the wanted table, and the changes of health that the table does not reflect yet."""

    def __init__(self) -> None:
        self.wanted = Wanted({}, {}, {})
        """The wanted table. `plan` brings it up to date in place, and `configure` replaces it with a new object."""
        self.up = 0
        """How many real servers of all services were up at the last `plan`."""
        self._services: dict[ServiceKey, _Service] = {}
        self._due: dict[tuple[ServiceKey, DestinationKey], tuple[Health, Special | None]] = {}
        """The newest health of each server whose line must be planned again, and what sets it apart."""
        self._unplanned: dict[ServiceKey, None] = {}
        """Services that are new or changed since the last plan."""
        self._touched: set[TableLine] | None = None
        self._marked: list[tuple[ServiceKey, DestinationKey]] = []
        """The servers of mark services."""

    def configure(
        self,
        services: Iterable[PlannedService],
        healths: Mapping[tuple[ServiceKey, DestinationKey], Health],
        specials: Mapping[tuple[ServiceKey, DestinationKey], Special] | None = None,
        mark_services: Table | None = None,
    ) -> None:
        """Plan for these services from now on. A service that is the same object as before keeps its plan.

        healths: the health of each real server of the services that are new or changed.
        specials: what sets each of these servers apart that is special.
        mark_services: the services of path probes, which no verdict changes; None for none.
        """
        apart: dict[ServiceKey, dict[DestinationKey, Special]] = {}
        for (key, server_key), special in (specials or {}).items():
            apart.setdefault(key, {})[server_key] = special
        before, self._services = self._services, {}
        why = dict(self.wanted.why)
        for service in services:
            key = service.key
            if key in before and before[key].planned is service:
                self._services[key] = before.pop(key)
            else:
                known = {server.key: healths[key, server.key] for server in service.servers}
                self._services[key] = _Service(service, known, apart.get(key, {}))
                self._unplanned[key] = None
        for key, gone in before.items():
            self.up -= gone.plan.up
            for server in (*gone.planned.configured, *gone.plan.leaving):
                why.pop((key, server), None)
                self._due.pop((key, server), None)
            if key not in self._services:
                self._unplanned.pop(key, None)
        for key in self._unplanned:
            each = self._services[key]
            why |= {
                (key, server): reason_for(health, each.specials.get(server)) for server, health in each.healths.items()
            }
            if key in before:
                why |= dict.fromkeys(_drained_or_restored(before[key], self._services[key]), Why(CONFIGURED_REASON))
        names = {key: each.planned.name for key, each in self._services.items()}
        for line in self._marked:
            why.pop(line, None)
        marked = mark_services or {}
        self._marked = [(key, server) for key, entry in marked.items() for server in entry.destinations]
        why |= dict.fromkeys(self._marked, Why(WHY, takes_orders=False))
        names |= {key: f"{NAME}{key.fwmark}" for key in marked}
        self.wanted = Wanted(
            {key: each.entry for key, each in self._services.items()} | marked,
            names,
            why,
            shared(each.planned for each in self._services.values()),
        )
        self._touched = None

    def changed(
        self, service: ServiceKey, server: DestinationKey, health: Health, special: Special | None = None
    ) -> None:
        """Note a real server's new health, and what sets it apart. The next plan uses what was noted last.

        When only the reason has changed and not the verdict, the reason is replaced at once, without a plan. Otherwise
        ten thousand first failures could pile up until a verdict changes.
        """
        line = (service, server)
        if line in self._due or self._services[service].would_change(server, health, special):
            self._due[line] = health, special
        else:
            self._services[service].healths[server] = health
            self.wanted.why[line] = reason_for(health, special)

    def plan(self, actual: Table, moved: Iterable[TableLine] | None = None) -> list[ServiceKey]:
        """Bring `wanted` up to date with all changes. Return the services that were planned again.

        actual: the kernel's table.
        moved: the lines of `actual` that have changed since the last plan; None when any line may have changed.
        """
        fresh, self._unplanned = self._unplanned, {}
        due, self._due = self._due, {}
        changes: dict[ServiceKey, dict[DestinationKey, Change]] = {key: {} for key in fresh}
        for line, (health, special) in due.items():
            key, server = line
            changes.setdefault(key, {})[server] = self._services[key].renewed(server, health, special)
            self.wanted.why[line] = reason_for(health, special)
        for key, changed in [(key, None) for key in self._services] if moved is None else moved:
            service = self._services.get(key)
            if service is not None and service.depends_on(changed):
                those = changes.setdefault(key, {})
                for change in service.unproven(changed):
                    those.setdefault(change.server.key, change)
        for key, those in changes.items():
            service, entry = self._services[key], actual.get(key)
            present = entry.destinations if entry is not None else {}
            self._replan(service, service.first_changes() if key in fresh else those.values(), present)
        return list(changes)

    def take_touched(self) -> set[TableLine] | None:
        """Return the lines of `wanted` that have changed since the last call.

        None means that `wanted` was replaced, and any line may have changed.
        """
        touched, self._touched = self._touched, set()
        return touched

    def standing(self, key: ServiceKey) -> ServicePlan:
        """Return a service's last plan, which says how many of its real servers are up and whether any may serve."""
        return self._services[key].plan

    def _replan(self, service: _Service, changes: Iterable[Change], present: Present) -> None:
        before = service.plan
        plan = service.plan = plan_service(service.planned, before, changes, present)
        self.up += plan.up - before.up
        key, destinations = service.planned.key, service.entry.destinations
        for server, record in plan.changed.items():
            if destinations.get(server) is record:
                continue
            if record is None:
                del destinations[server]
            else:
                destinations[server] = record
            if self._touched is not None:
                self._touched.add((key, server))
        self._explain(service, before)

    def _explain(self, service: _Service, before: ServicePlan) -> None:
        """Give a reason to fallback servers and to servers that are no longer configured, which have no health."""
        key, plan, why = service.planned.key, service.plan, self.wanted.why
        for server in before.leaving:
            why.pop((key, server), None)
        for server in plan.leaving:
            why[key, server] = Why(LEAVING_REASON, takes_orders=False)
        for server in plan.damped:
            reason = service.specials[server].reason
            why[key, server] = Why(f"{NOBODY_ELSE_REASON}; {reason}" if plan.uses_damped else reason)
        if before is NO_PLAN or plan.uses_fallback is not before.uses_fallback:
            for spare in service.planned.fallback:
                reason = FALLBACK_REASON if plan.uses_fallback else SERVING_REASON
                why[key, spare.key] = Why(reason, takes_orders=False)
