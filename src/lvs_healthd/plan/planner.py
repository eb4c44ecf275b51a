"""Keeps the wanted table up to date: runs the policy for the services that have changed, and for no others."""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from lvs_healthd.health.machine import DOWN, UNKNOWN, UP, Health
from lvs_healthd.ipvs.records import DestinationKey, ServiceEntry, ServiceKey, Table, TableLine, Wanted, Why
from lvs_healthd.plan.mark_services import NAME, WHY
from lvs_healthd.plan.policy import NO_PLAN, Present, Rule, ServicePlan, plan_service
from lvs_healthd.plan.precedence import Special
from lvs_healthd.plan.reasons import (
    BELOW_REASON,
    CONFIGURED_REASON,
    FALLBACK_REASON,
    LEAVING_REASON,
    SERVING_REASON,
    reason_for,
)
from lvs_healthd.plan.records import PlannedServer, PlannedService, shared
from lvs_healthd.plan.standings import NO_SPARES, Change, Members, Standing, plain_standing

_Due = dict[DestinationKey, tuple[Health, Special | None]]
"""The newest health of each server whose line must be planned again, and what sets it apart."""


class _Service:
    """The state of one service that is kept from one plan to the next.

    old: the service before a reload; None if it is new.
    """

    __slots__ = ("entry", "healths", "plan", "planned", "servers", "spares", "specials")

    def __init__(
        self,
        planned: PlannedService,
        healths: dict[DestinationKey, Health],
        specials: dict[DestinationKey, Special],
        old: "_Service | None",
    ) -> None:
        self.planned = planned
        self.entry = ServiceEntry(planned.record, {})
        """The service's entry in the wanted table."""
        self.servers = {server.key: server for server in planned.servers}
        self.healths = healths
        """The health of each real server, with the verdict that the last plan used."""
        self.spares: dict[DestinationKey, tuple[Health, Special | None]] = {}
        """The health of each fallback server that is checked or special, and what sets it apart."""
        self.specials = specials
        """What sets a real server apart, for each that is special, as the last plan used it."""
        # A service that had too few servers before a reload has too few after it, until enough can serve. What is done
        # about it goes on.
        self.plan: ServicePlan = NO_PLAN
        if old is not None:
            was = old.plan
            self.plan = msgspec.structs.replace(
                NO_PLAN,
                is_below=was.is_below,
                is_settled=was.is_settled,
                is_begun=was.is_begun,
                was_met=was.was_met,
                rule=was.rule,
                spares=was.spares,
                dropped=old.dropped_by(planned),
            )

    def dropped_by(self, new: PlannedService) -> frozenset[DestinationKey] | None:
        """Return the servers that serve and that another configuration of the service does not have.

        A fallback is not among them if there is another. None means that nobody knows (see `ServicePlan.dropped`).
        """
        known = self.plan.dropped
        if known is None:
            return None
        spares = {spare.key for spare in self.planned.fallback} if new.fallback else set()
        serving = {key for key, record in self.entry.destinations.items() if record.weight > 0}
        return (known | serving) - spares - new.configured

    def first_changes(self) -> Iterator[Change]:
        """Return every real server as a change, for the service's first plan."""
        for key, server in self.servers.items():
            yield Change(server, None, self._standing(key))

    def everybody(self) -> Iterator[tuple[PlannedServer, Standing]]:
        """Return every real server as it stands."""
        for key, server in self.servers.items():
            yield server, self._standing(key)

    def spare_standings(self) -> dict[DestinationKey, Standing]:
        """Return how the fallback servers stand that are checked or special."""
        return {
            spare.key: _standing(*self.spares[spare.key], spare)
            for spare in self.planned.fallback
            if spare.key in self.spares
        }

    def spare_reason(self, spare: PlannedServer) -> str:
        """Return why a fallback server serves, or does not."""
        plan = self.plan
        if spare in plan.spares:
            reason = BELOW_REASON if plan.rule is Rule.HELD_OUT else FALLBACK_REASON
            return reason if spare in self.planned.tiers[0] else f"{reason}, and none of a lower tier is fit"
        if spare.key in self.spares:
            health, special = self.spares[spare.key]
            if special is not None and special.state is not None:
                return special.reason
            if health.verdict is DOWN:
                return health.detail
        return "others of the fallback serve" if plan.spares else SERVING_REASON

    def reason(self, key: DestinationKey) -> Why:
        """Return the reason for the line of a real server."""
        return reason_for(self.healths[key], self.specials.get(key), self.plan.rule)

    def renew(self, due: "_Due", why: dict[tuple[ServiceKey, DestinationKey], Why]) -> dict[DestinationKey, Change]:
        """Take the new health of real servers, and what sets them apart. Return what changes.

        why: the reasons of all lines, in which those of these servers are renewed.
        """
        service, rule, specials, changes = self.planned.key, self.plan.rule, self.specials, {}
        for key, (health, special) in due.items():
            server, was = self.servers[key], self.healths[key]
            self.healths[key] = health
            if special is None and not specials:
                weight = server.record.weight
                before, now = plain_standing(was.verdict, weight), plain_standing(health.verdict, weight)
            else:
                before, now = _standing(was, specials.get(key), server), _standing(health, special, server)
                if special is not None:
                    specials[key] = special
                else:
                    specials.pop(key, None)
            changes[key] = Change(server, before, now)
            why[service, key] = reason_for(health, special, rule)
        return changes

    def would_change(self, key: DestinationKey, health: Health, special: Special | None) -> bool:
        """Whether the line of a real server must be planned again when it has this health and is so special."""
        if health.verdict is not self.healths[key].verdict:
            return True
        return (special is not None or bool(self.specials)) and special != self.specials.get(key)

    def _standing(self, key: DestinationKey) -> Standing:
        special = self.specials.get(key) if self.specials else None
        return _standing(self.healths[key], special, self.servers[key])

    def depends_on(self, server: DestinationKey | None) -> bool:
        """Whether the plan depends on one line of the kernel's table: a server, or the service itself.

        server: the server; None for the service itself.
        """
        if not self.plan.counts.unproven:
            return False
        health = self.healths.get(server) if server is not None else None
        return health is None or health.verdict is UNKNOWN

    def unproven(self, server: DestinationKey | None) -> Iterator[Change]:
        """Return the unproven servers whose wanted line depends on one line of the kernel's table.

        server: the server of that line, configured or not. None for the service's own line, on which every unproven
            server depends.
        """
        for key in self.healths if server is None else (server,):
            health = self.healths.get(key)
            if health is not None and health.verdict is UNKNOWN:
                standing = self._standing(key)
                yield Change(self.servers[key], standing, standing)


def _standing(health: Health, special: Special | None, server: PlannedServer) -> Standing:
    if special is None:
        return plain_standing(health.verdict, server.record.weight)
    return Standing(health.verdict, special.weight, special.state, special.is_empty)


def _drained_or_restored(before: _Service, after: _Service) -> Iterator[tuple[ServiceKey, DestinationKey]]:
    """Find the servers that stay up while their configured weight changes to 0 or from 0, and no other one counts."""
    drained = {server.key: not server.record.weight for server in before.planned.servers}
    for server in after.planned.servers:
        if server.key not in after.specials and drained.get(server.key, not server.record.weight) is not (
            not server.record.weight
        ):
            healths = before.healths[server.key], after.healths[server.key]
            if all(health.verdict is UP for health in healths):
                yield after.planned.key, server.key


class Planner:
    """Holds the wanted table, and the changes of health that the table does not reflect yet."""

    def __init__(self) -> None:
        self.wanted = Wanted({}, {}, {})
        """The wanted table. `plan` brings it up to date in place, and `configure` replaces it with a new object."""
        self.up = 0
        """How many real servers of all services were up at the last `plan`."""
        self._services: dict[ServiceKey, _Service] = {}
        self._due: dict[ServiceKey, _Due] = {}
        """The servers of each service whose lines must be planned again."""
        self._unplanned: dict[ServiceKey, None] = {}
        """Services that are new or changed since the last plan."""
        self._spares_due: dict[ServiceKey, None] = {}
        """Services of which a fallback server has changed since the last plan."""
        self._touched: dict[TableLine, None] | None = None
        self._marked: list[tuple[ServiceKey, DestinationKey]] = []
        """The servers of mark services."""

    def copy(self) -> "Planner":
        """Return a planner that can be given another configuration and plan for it without any effect on this one.

        Both have the unchanged services in common. So the copy must be told of no change of these (`changed`,
        `spare_changed`), and plan without `moved` lines.
        """
        other = Planner()
        other.wanted, other.up = self.wanted, self.up
        other._services = dict(self._services)  # another planner's
        other._marked = list(self._marked)
        return other

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
                self._services[key] = _Service(service, known, apart.get(key, {}), before.get(key))
                self._unplanned[key] = None
        for key, gone in before.items():
            self.up -= gone.plan.up
            for server in (*gone.planned.configured, *gone.plan.leaving):
                why.pop((key, server), None)
            self._due.pop(key, None)
            if key not in self._services:
                self._unplanned.pop(key, None)
                self._spares_due.pop(key, None)
        for key in self._unplanned:
            each = self._services[key]
            why |= {(key, server): each.reason(server) for server in each.healths}
            if key in before and before[key].plan.rule is Rule.UP:  # under another rule, that is the reason
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
        known, due = self._services[service], self._due.get(service)
        if known.would_change(server, health, special) or (due is not None and server in due):
            if due is None:
                due = self._due[service] = {}
            due[server] = health, special
        else:
            known.healths[server] = health
            self.wanted.why[service, server] = known.reason(server)

    def spare_changed(
        self, service: ServiceKey, server: DestinationKey, health: Health, special: Special | None
    ) -> None:
        """Note a fallback server's new health, and what sets it apart."""
        self._services[service].spares[server] = health, special
        self._spares_due[service] = None

    def plan(self, actual: Table, moved: Iterable[TableLine] | None = None) -> list[ServiceKey]:
        """Bring `wanted` up to date with all changes. Return the services that were planned again.

        actual: the kernel's table.
        moved: the lines of `actual` that have changed since the last plan; None when any line may have changed.
        """
        fresh, self._unplanned = self._unplanned, {}
        due, self._due = self._due, {}
        spares_due, self._spares_due = self._spares_due, {}
        changes: dict[ServiceKey, dict[DestinationKey, Change]] = {}
        for key in (*fresh, *spares_due) if fresh or spares_due else ():
            changes[key] = {}
        services = self._services
        for key, servers in due.items():
            changes[key] = services[key].renew(servers, self.wanted.why)
        for key, changed in [(key, None) for key in services] if moved is None else moved:
            moving = services.get(key)
            if moving is not None and moving.depends_on(changed):
                those = changes.setdefault(key, {})
                for change in moving.unproven(changed):
                    those.setdefault(change.server.key, change)
        for key, those in changes.items():
            service, entry = services[key], actual.get(key)
            present = entry.destinations if entry is not None else {}
            self._replan(service, service.first_changes() if key in fresh else those.values(), present)
        return list(changes)

    def take_touched(self) -> AbstractSet[TableLine] | None:
        """Return the lines of `wanted` that have changed since the last call, in the order in which they did.

        None means that `wanted` was replaced, and any line may have changed.
        """
        touched, self._touched = self._touched, {}
        return None if touched is None else touched.keys()

    def standing(self, key: ServiceKey) -> ServicePlan:
        """Return a service's last plan, which says how many of its real servers are up and whether any may serve."""
        return self._services[key].plan

    def _replan(self, service: _Service, changes: Iterable[Change], present: Present) -> None:
        before = service.plan
        members = Members(service.everybody, service.spare_standings() if service.spares else NO_SPARES)
        plan = service.plan = plan_service(service.planned, before, changes, present, members)
        self.up += plan.counts.up - before.counts.up
        key, destinations = service.planned.key, service.entry.destinations
        for server, record in plan.changed.items():
            if destinations.get(server) is record:
                continue
            if record is None:
                del destinations[server]
            else:
                destinations[server] = record
            if self._touched is not None:
                self._touched[key, server] = None
        if not (plan.is_usual and before.is_usual):
            self._explain(service, before)

    def _explain(self, service: _Service, before: ServicePlan) -> None:
        """Give a reason to every line whose reason is another one now, although nothing of its server has changed.

        Fallback servers and servers that are no longer configured have no health that could be the reason.
        """
        key, plan, why = service.planned.key, service.plan, self.wanted.why
        for server in before.leaving:
            why.pop((key, server), None)
        for server in plan.leaving:
            why[key, server] = Why(LEAVING_REASON, takes_orders=False)
        if is_other := plan.rule is not before.rule:
            why |= {(key, server): service.reason(server) for server in plan.changed if server in service.healths}
        if is_other or before.counts is NO_PLAN.counts or plan.spares != before.spares or service.spares:
            for spare in service.planned.fallback:
                why[key, spare.key] = Why(service.spare_reason(spare), takes_orders=False)
