"""Keeps the wanted table up to date, at a cost that follows what changed and not what is configured.

It comes to the same table as `plan.plan`, which decides it whole and is the specification; a property test holds the
two against each other after every step. What `plan` counts anew each time is kept here for each service.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from lvs_healthd.health import Health, Verdict
from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    Line,
    ServiceEntry,
    ServiceKey,
    Table,
    Wanted,
    Why,
)
from lvs_healthd.plan import (
    FALLBACK_REASON,
    LEAVING_REASON,
    SERVING_REASON,
    PlannedServer,
    PlannedService,
    shared,
    why_of,
)


class Standing(NamedTuple):
    """How the real servers of one service stand, fallbacks not among them."""

    up: int
    may_serve: bool
    """Whether one that is up has weight."""
    may_come: bool
    """Whether one that is not proven yet has weight."""


class _Running:
    """What is held of one service between two plans."""

    __slots__ = ("configured", "entry", "is_fallback_in", "leaving", "planned", "servers", "serving", "unknown", "up")

    def __init__(self, planned: PlannedService) -> None:
        self.planned = planned
        self.entry = ServiceEntry(planned.record, {})
        """The wanted one."""
        self.servers: dict[DestinationKey, PlannedServer] = {server.key: server for server in planned.servers}
        self.configured = {*self.servers, *(server.key for server in planned.fallback)}
        self.up: set[DestinationKey] = set()
        self.unknown: set[DestinationKey] = set()
        self.serving = 0
        """The weight of all that are up."""
        self.leaving: set[DestinationKey] | None = None
        """Servers that a reload has dropped and that serve on; None while a real server serves or none is to come."""
        self.is_fallback_in: bool | None = None
        """None until it was decided for the first time."""

    def verdict(self, server: DestinationKey) -> Verdict:
        """Return what the last plan knew of a server."""
        if server in self.up:
            return Verdict.UP
        return Verdict.UNKNOWN if server in self.unknown else Verdict.DOWN

    @property
    def holds(self) -> bool:
        """Whether none may serve only because some are not proven yet."""
        return not self.serving and bool(self.unknown)


class Planner:
    """The wanted table and the verdicts that are not in it yet."""

    def __init__(self) -> None:
        self.wanted = Wanted({}, {}, {})
        """As of the last `plan`, which changes it in place, reasons up to now; `configure` makes another object."""
        self.up = 0
        """How many real servers of all services were up at the last `plan`."""
        self._services: dict[ServiceKey, _Running] = {}
        self._due: dict[tuple[ServiceKey, DestinationKey], Health] = {}
        self._touched: set[Line] | None = None

    def configure(
        self, services: Iterable[PlannedService], healths: Mapping[tuple[ServiceKey, DestinationKey], Health]
    ) -> None:
        """Plan for these services from now on. One that is the same object as before goes on as it is.

        `healths` says what is held of each real server of the others.
        """
        before, self._services = self._services, {}
        changed: list[_Running] = []
        for service in services:
            running = before.get(service.key)
            if running is not None and running.planned is service:
                del before[service.key]
            else:
                running = _Running(service)
                changed.append(running)
            self._services[service.key] = running
        why = dict(self.wanted.why)
        for key, gone in before.items():
            self.up -= len(gone.up)
            for server in {*gone.configured, *(gone.leaving or ())}:
                why.pop((key, server), None)
                self._due.pop((key, server), None)
        for running in changed:
            key = running.planned.key
            self._due.update({(key, server): healths[key, server] for server in running.servers})
        self.wanted = Wanted(
            {key: running.entry for key, running in self._services.items()},
            {key: running.planned.name for key, running in self._services.items()},
            why,
            shared(running.planned for running in self._services.values()),
        )
        self._touched = None

    def changed(self, service: ServiceKey, server: DestinationKey, health: Health) -> None:
        """Take note of what is now held of a real server; the last word before a plan counts.

        Where the verdict is the same, only the reason is another, and no plan is needed for that: ten thousand first
        failures must not pile up until a verdict changes.
        """
        line = (service, server)
        if line in self._due or health.verdict is not self._services[service].verdict(server):
            self._due[line] = health
        else:
            self.wanted.why[line] = why_of(health)

    def plan(self, actual: Table, moved: Iterable[Line] | None = None) -> None:
        """Bring `wanted` up to date with all changes, knowing what is in the kernel's table (`actual`).

        `moved` names the lines of `actual` that are others than at the last plan; None means that any may be. They
        matter only to services with servers that are not proven yet.
        """
        due, self._due = self._due, {}
        concerned: dict[ServiceKey, _Running] = {} if self._touched is not None else dict(self._services)
        for (key, server), health in due.items():
            running = concerned[key] = self._services[key]
            self._judge(running, server, health.verdict)
            self.wanted.why[key, server] = why_of(health)
            self._place(running, server, actual)
        if moved is None:
            moved = [(key, None) for key, running in self._services.items() if running.unknown]
        for key, each in moved:
            found = self._services.get(key)
            if found is not None and found.unknown:
                concerned[key] = found
                self._look_again(found, each, actual)
        for running in concerned.values():
            self._conclude(running, actual)

    def take_touched(self) -> set[Line] | None:
        """Return the lines of `wanted` that changed since the last call; None: it is another object, look at all."""
        touched, self._touched = self._touched, set()
        return touched

    def standing(self, key: ServiceKey) -> Standing:
        """Say how a service's real servers stood at the last plan."""
        running = self._services[key]
        may_come = any(running.servers[server].record.weight for server in running.unknown)
        return Standing(len(running.up), bool(running.serving), may_come)

    def _judge(self, running: _Running, server: DestinationKey, verdict: Verdict) -> None:
        """Count a server where its verdict belongs."""
        weight = running.servers[server].record.weight
        if (verdict is Verdict.UP) is not (server in running.up):
            if verdict is Verdict.UP:
                running.up.add(server)
                running.serving += weight
                self.up += 1
            else:
                running.up.discard(server)
                running.serving -= weight
                self.up -= 1
        if verdict is Verdict.UNKNOWN:
            running.unknown.add(server)
        else:
            running.unknown.discard(server)

    def _place(self, running: _Running, key: DestinationKey, actual: Table) -> None:
        """Decide the line of a configured real server."""
        planned = running.planned
        server = running.servers[key]
        record: DestinationRecord | None = None
        if key in running.up:
            record = server.record
        elif planned.quiesce or (key in running.unknown and key in _present(actual, planned.key)):
            record = server.quiesced
        self._set(running, key, record)

    def _look_again(self, running: _Running, key: DestinationKey | None, actual: Table) -> None:
        """Decide again what depends on one line of the kernel's table, or (None) on any line of the service."""
        if key is not None:
            if key in running.unknown:
                self._place(running, key, actual)
            elif running.leaving is not None and key not in running.configured:
                self._hold(running, running.leaving, key, actual)
            return
        for server in running.unknown:
            self._place(running, server, actual)
        if running.leaving is not None:
            for server in {*running.leaving, *_present(actual, running.planned.key)} - running.configured:
                self._hold(running, running.leaving, server, actual)

    def _conclude(self, running: _Running, actual: Table) -> None:
        """Decide who serves while no real server may: those that a reload has dropped, or else the fallback."""
        service = running.planned.key
        if not running.holds:
            for key in running.leaving or ():
                self._drop(running, key)
            running.leaving = None
        elif running.leaving is None:
            running.leaving = set()
            for key in _present(actual, service).keys() - running.configured:
                self._hold(running, running.leaving, key, actual)
        is_fallback_in = not running.serving and not running.leaving
        if is_fallback_in is not running.is_fallback_in:
            running.is_fallback_in = is_fallback_in
            for server in running.planned.fallback:
                self._set(running, server.key, server.record if is_fallback_in else None)
                self.wanted.why[service, server.key] = Why(FALLBACK_REASON if is_fallback_in else SERVING_REASON)

    def _hold(self, running: _Running, leaving: set[DestinationKey], key: DestinationKey, actual: Table) -> None:
        """Let a server that is not configured any more serve on as it is in the table, if it is there and serves."""
        record = _present(actual, running.planned.key).get(key)
        if record is not None and record.weight > 0:
            leaving.add(key)
            self._set(running, key, record)
            self.wanted.why[running.planned.key, key] = Why(LEAVING_REASON)
        elif key in leaving:
            leaving.remove(key)
            self._drop(running, key)

    def _drop(self, running: _Running, key: DestinationKey) -> None:
        self._set(running, key, None)
        del self.wanted.why[running.planned.key, key]

    def _set(self, running: _Running, key: DestinationKey, record: DestinationRecord | None) -> None:
        """Write one line of the wanted table, None for no such line, and note it where it is another than before."""
        destinations = running.entry.destinations
        if destinations.get(key) is record:
            return
        if record is None:
            del destinations[key]
        else:
            destinations[key] = record
        if self._touched is not None:
            self._touched.add((running.planned.key, key))


def _present(actual: Table, key: ServiceKey) -> dict[DestinationKey, DestinationRecord]:
    entry = actual.get(key)
    return entry.destinations if entry is not None else {}
