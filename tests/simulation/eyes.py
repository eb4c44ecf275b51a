"""Watches the daemon: keeps the model beside it, and compares the two after each step."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence

from lvs_healthd.config.model import Below
from lvs_healthd.decide.brake import Stage
from lvs_healthd.decide.held import ServerState, Watch
from lvs_healthd.events.kinds import ConfigReloaded, DaemonFailed, DaemonStarted, Event, RealServerDown
from lvs_healthd.health.damping import Flaps
from lvs_healthd.ipvs.records import DestinationKey, Operation, ServiceKey, Verb
from lvs_healthd.probes.outcome import OutcomeKind
from lvs_healthd.probes.targets import ProbeKey
from lvs_healthd.reconcile.gate import Gate
from lvs_healthd.view.why_values import Layers, ServerWhy
from tests.simulation import invariants
from tests.simulation.documents import AGENT, INTERVAL_S, LONGEST_S, TIMEOUT_S, WITHIN_S
from tests.simulation.invariants import Settled, Write
from tests.simulation.model import DOWN, GRACE_S, LATE_S, UP, Check, Model, Order, Server, Virtual
from tests.simulation.outcomes import (
    ANSWERS,
    HALF,
    LATE,
    NO_ROUTE,
    NONE,
    PASS,
    PASSES,
    SILENT,
    TIMEOUT,
    UNSURE,
    is_word,
)
from tests.simulation.outside import interface_of
from tests.simulation.site import Site

VETO_S = 300.0
"""For how long other directors may hold a server, seconds."""

_Line = tuple[ServiceKey, DestinationKey]


class Eyes:
    """What is known of a site from outside, and whether it is as it must be."""

    def __init__(self) -> None:
        self.site = Site(self._heard, self._wrote, self._was_read)
        self.model = Model()
        self.strangers: dict[ServiceKey, set[DestinationKey]] = {}
        """The servers that somebody else has added to each service."""
        self.disturbed: set[ServiceKey] = set()
        """The services that somebody else has edited since the daemon has read them."""
        self.is_asked = False
        """Whether a request of an operator is being carried out."""
        self.stalled_until = -math.inf
        """Until when the daemon is late because it had no processor. Seconds on the monotonic clock."""
        self.broken: list[str] = []
        """The invariants that do not hold, and why."""
        self.writes = 0
        """How many writes there were."""
        self._digest = hashlib.blake2b(digest_size=16)
        self._real: dict[_Line, ServerState] = {}
        """The daemon's own state of each server."""
        self._flaps: dict[_Line, Flaps | None] = {}
        self._is_any_braked = False

    # What the daemon does

    @property
    def trace(self) -> str:
        """A digest of all that has happened so far."""
        return self._digest.hexdigest()

    def note(self, what: object) -> None:
        """Let something count in the digest."""
        self._digest.update(repr(what).encode())

    def find(self, rule: str, what: str) -> None:
        """Note that an invariant does not hold."""
        self.broken.append(f"{rule}: {what}")

    def _heard(self, event: Event) -> None:
        if isinstance(event, DaemonStarted):
            self.note("started")  # the event has the process's number in it
            self.site.has_started()
            self._adopted()
            self._configured()
            return
        self.note(event)
        if isinstance(event, ConfigReloaded):
            self._configured()
        elif isinstance(event, DaemonFailed):
            self.find("raises nothing", event.error)
        elif isinstance(event, RealServerDown):
            self._went_down(event)

    def _configured(self) -> None:
        services = self.site.running.decisions.services
        self._real = {(service.key, server.key): server for service in services for server in service.members}
        begun = {
            (*line, watch.check.name): _begun(watch) for line, server in self._real.items() for watch in server.watches
        }
        self.model.configure(self.site.running.config, self.site.clock.now, begun)
        for place in self.model.services.values():
            if place.was_served is None:
                entry = self.site.entries.get(place.key)
                serving = () if entry is None else (key for key, each in entry.destinations.items() if each.weight > 0)
                place.was_served = any(key in place.servers for key in serving)
        self._flaps.clear()

    def _adopted(self) -> None:
        """A server that serves when the daemon starts goes on, and one that does not must be proven first.

        A service that failed open goes on to do so: some begin as down, and serve all the same.
        """
        for service in self.site.running.decisions.services:
            entry = self.site.entries.get(service.key)
            for server in service.servers:
                record = None if entry is None else entry.destinations.get(server.key)
                serves = record is not None and (record.weight > 0 or server.config.weight == 0)
                goes_on = service.config.below is Below.FAIL_OPEN and server.health.verdict == DOWN
                if serves is not (server.health.verdict == UP) and not (serves and goes_on):
                    self.find("adopts who serves", f"{server.key} of {service.key} begins {server.health.verdict}")

    def _went_down(self, event: RealServerDown) -> None:
        braking = self.site.running.decisions.braking
        active = braking.active
        for line, held in self._real.items():
            if held.service.config.name == event.service and str(held.key) == event.server:
                ways = [name for name in braking.ways.of(held.config.checks[0]) if name in active]
                held_by = [name for name in ways if active[name].holds]
                server = self.model.services[line[0]].members[held.key]
                server.braked = held_by[0] if held_by else ""
                server.braked_since = active[server.braked].since if held_by else 0.0
                self._is_any_braked |= bool(held_by)

    def _was_read(self, keys: Sequence[ServiceKey]) -> None:
        if self.disturbed:
            self.disturbed.difference_update(keys)
            self.disturbed.intersection_update(self.site.entries)

    def _wrote(self, operation: Operation) -> None:
        self.writes += 1
        self.note(operation)
        self.look_again()
        key, server = operation.service.key, operation.destination
        write = Write(
            operation,
            self.model,
            self.site.entries.get(key),
            self.site.clock.now,
            self.is_asked,
            key in self.disturbed,
            frozenset(self.strangers.get(key, ())),
        )
        if write.server is not None and (write.brings_in or write.is_disturbed):
            write.server.came_at = self.site.clock.now
        for rule in invariants.OF_WRITES:
            if what := rule(write):
                self.find(rule.__name__, f"{operation.verb} {key} {server.key if server else ''}: {what}")
        if operation.verb is Verb.DELETE_SERVICE:
            self.strangers.pop(key, None)
        elif operation.verb is Verb.DELETE_SERVER and server is not None:
            self.strangers.get(key, set()).discard(server.key)

    # What probes find

    def judge(self, address: str, kind: str, result: str, began: Mapping[ProbeKey, float]) -> None:
        """Judge by the outcome of all probes of one kind of a host, which the daemon has got just now.

        began: when each of them began, seconds on the monotonic clock.
        """
        now, director = self.site.clock.now, self.site.director
        if self._is_any_braked:
            self.look_again()
        if result in ANSWERS:
            self.model.answered[address] = now
        if result in UNSURE or (result == TIMEOUT and director.is_full) or (kind == AGENT and not is_word(result)):
            return
        found = (
            "pass" if result in (PASSES if kind == AGENT else (PASS,)) else "silence" if result in SILENT else "answer"
        )
        for place, server, check in self.model.watching.get((address, kind), ()):
            if result in LATE and director.fault(interface_of(address), began[check.probe]):
                continue
            if result == NO_ROUTE and not self._blames_the_server(check):
                continue
            before = server.verdict, check.asks
            check.judge(found)
            if kind == AGENT:
                check.asks = {HALF: 50, NONE: 0}.get(result, check.asks)
            if (server.verdict, check.asks) != before:
                server.unsettled_until = now + GRACE_S
                server.came_at = now  # though it may not have been taken out at all, if it was down for a moment only
            if server.braked and not server.is_silent:
                server.braked = ""
            self._compare(place, server)

    def _blames_the_server(self, check: Check) -> bool:
        """Whether a host without a route counts as down. It may only if somebody else has answered lately."""
        probe, address = self.site.running.decisions.probes[check.probe], check.probe.address
        is_down = probe.last is not None and probe.last.kind is OutcomeKind.DOWN
        lately = self.site.clock.now - INTERVAL_S - TIMEOUT_S - 1e-6
        if is_down and not any(at >= lately for other, at in self.model.answered.items() if other != address):
            self.find("blames nobody for its own fault", f"{address} has no route, and nobody else has one")
        return is_down

    def _compare(self, place: Virtual, server: Server) -> None:
        real = self._real[place.key, server.key].health.verdict
        if real != server.verdict:
            what = f"{server.key} of {place.key} is {real}, and ought to be {server.verdict}"
            self.find("judges by what probes find", what)

    # What must always be so

    def look(self) -> None:
        """Compare all verdicts, and look how servers that flap are treated."""
        if not self.site.is_running:
            return
        self.look_again()
        self._look_at_brakes()
        for place in self.model.services.values():
            for server in place.members.values():
                self._compare(place, server)
                if place.config.damping is not None:
                    self._look_at_flaps(place, server)

    def _look_at_brakes(self) -> None:
        """The brake lets go when it has lasted for as long as it may."""
        now = self.site.clock.now
        for way, brake in self.site.running.decisions.braking.active.items():
            lasted_s = now - brake.entered
            most_s = {Stage.DOUBT: WITHIN_S, Stage.BRAKED: LONGEST_S}.get(brake.stage, math.inf)
            if lasted_s > most_s + LATE_S and now > self.stalled_until:
                self.find("lets go of the brake", f"{way} is in {brake.stage} for {lasted_s:.1f}s")
        for held, veto in self.site.running.decisions.vetoing.held:
            if now - veto.since > VETO_S + LATE_S and now > self.stalled_until:
                self.find("others hold nobody for long", f"{held.key} is held for {now - veto.since:.1f}s")
            if held.health.verdict != DOWN or self.model.state_of(held.service.key, held.key):
                self.find("others hold only who is down", f"{held.key} is held: {veto.vote}")

    def look_again(self) -> None:
        """Note who is held out because it flaps, and which brakes hold nobody any more."""
        now, active = self.site.clock.now, self.site.running.decisions.braking.active
        self.model.end(now, self.site.clock.time())
        is_any_braked = False
        for place in self.model.services.values():
            damps = place.config.damping is not None
            service = self.site.running.decisions.service(place.key)
            place.is_below = service is not None and service.plan.is_below
            place.is_settled = service is None or service.plan.is_settled
            gate = self.site.running.reconciler.gate
            is_kept_back = place.is_shadow or self.model.is_held(place.key) or _is_gated(gate, place.key)
            for server in place.members.values():
                if is_kept_back:
                    server.came_at = now  # it may come slowly once it is written again
                flaps = self._real[place.key, server.key].flaps
                is_damped = damps and flaps is not None and flaps.until is not None
                if is_damped is not server.is_damped:
                    server.is_damped = is_damped
                    server.unsettled_until = max(server.unsettled_until, now + GRACE_S)
                brake = active.get(server.braked)
                if server.braked and not (brake is not None and brake.holds and brake.since == server.braked_since):
                    server.braked = ""
                is_any_braked |= bool(server.braked)
        self._is_any_braked = is_any_braked

    def _look_at_flaps(self, place: Virtual, server: Server) -> None:
        """While a server is held out, the end only moves away; in an episode, no hold is shorter than the last."""
        line, now, rule = (place.key, server.key), self.site.clock.now, place.config.damping
        before, flaps = self._flaps.get(line), self._real[place.key, server.key].flaps
        if flaps is None or rule is None:
            self._flaps[line] = flaps
            return
        if flaps.until is not None:
            if flaps.until < now - LATE_S and now > server.unsettled_until:
                self.find("lets go on time", f"{line}: it was to be let go {now - flaps.until:.1f}s ago")
            most = max(now + rule.longest + 1e-3, math.inf if before is None else before.until or 0.0)
            if flaps.until > most:
                self.find("holds out no longer than allowed", f"{line}: for {flaps.until - now:.1f}s")
        if flaps is before:
            return
        self._flaps[line] = flaps
        if before is None:
            return
        if before.until is not None and flaps.until is not None and flaps.until < before.until:
            self.find("damps more and more", f"{line}: until {before.until}, and then {flaps.until}")
        if before.until is not None and flaps.until is None and before.until > now:
            self.find("damps more and more", f"{line}: let go {before.until - now:.1f}s too soon")
        if before.since is not None and flaps.since == before.since and flaps.holds < before.holds:
            self.find("damps more and more", f"{line}: {before.holds} holds, and then {flaps.holds}")

    # What must be so in the end

    def look_at_orders(self, *, have_ended: bool) -> None:
        """The daemon knows exactly the orders and holds that are in force, over restarts too.

        have_ended: whether there was time to end those that are over.
        """
        parts, now, wall = self.site.running, self.site.clock.now, self.site.clock.time()
        self.model.end(now, wall)
        real: dict[tuple[str, str, bool], Order] = {}
        for each in parts.decisions.overrides:
            until = math.inf if each.until is None else each.until
            real[each.service, each.server, each.kind == "weight"] = Order(str(each.kind), each.weight, until)
        known = {(*place, False): order for place, order in self.model.states.items()}
        known |= {(*place, True): order for place, order in self.model.weights.items()}
        for line, order in known.items():
            if real.get(line) != order:
                self.find("keeps orders", f"{line}: {order}, and the daemon has {real.get(line)}")
        for line, order in real.items():
            if line not in known and order.until > wall:
                self.find("keeps orders", f"{line}: the daemon has {order}, and nobody has ordered that")
            if have_ended and order.until < wall - LATE_S:
                self.find("ends orders on time", f"{line}: {order} was to end {wall - order.until:.1f}s ago")
        held = {hold.service for hold in parts.holding.holds}
        if held != set(self.model.held):
            names = [sorted(map(str, each)) for each in (held, self.model.held)]
            self.find("keeps holds", f"{names[0]}, and it ought to be {names[1]}")

    def look_at_table(self) -> None:
        """Everything has had the time to settle: look whether the table is as it ought to be."""
        for place in self.model.services.values():
            if self._is_settled(place) and (fought := self._fought(place)) is not None:
                for what in invariants.is_as_it_ought_to_be(
                    Settled(self.model, place, self.site.entries, fought, self.site.clock.now)
                ):
                    self.find("is_as_it_ought_to_be", f"{place.key}: {what}")
            self._look_at_reasons(place)

    def _is_settled(self, place: Virtual) -> bool:
        gate, now = self.site.running.reconciler.gate, self.site.clock.now
        if place.is_shadow or self.model.is_held(place.key) or _is_gated(gate, place.key):
            return False
        if self.strangers.get(place.key) and self.model.due(place, has_left=False).waits:
            return (
                False  # a stranger may be taken for a server that a reload has dropped, and serve until one is proven
            )
        return all(now > server.unsettled_until for server in place.members.values())

    def _fought(self, place: Virtual) -> frozenset[DestinationKey | None] | None:
        """Return the lines of a service that somebody else keeps undoing; None if that is the service itself."""
        fights, now = self.site.running.reconciler.fights._lines, self.site.clock.now
        fought = frozenset(server for (key, server), fight in fights.items() if key == place.key and fight.until > now)
        return None if None in fought else fought

    def _look_at_reasons(self, place: Virtual) -> None:
        """Every difference from the configuration is explained by `why`."""
        for server in place.servers.values():
            if self.site.clock.now <= server.unsettled_until:
                continue
            (why,) = self.site.running.view.why(place.config.name, str(server.key)).servers
            assert why.layers is not None
            wrong = [*self._unsaid(place, server, why), *self._kept_back(place, server, why.layers)]
            for what in wrong:
                self.find("explains every difference", f"{server.key} of {place.key}: {what} is not said: {why}")

    def _unsaid(self, place: Virtual, server: Server, why: ServerWhy) -> Iterator[str]:
        """Yield what should be said about the difference between the wanted and the configured weight."""
        if why.weight_wanted == server.weight:
            return
        said = f"{why.reason} {why.table_reason} {why.override}"
        is_up, ought = server.verdict == UP, self.model.weight_of(place.key, server)
        if order := self.model.state_of(place.key, server.key):
            words = {"drain": "drained", "disable": "disabled"}[order]
        elif server.is_damped and server.verdict != DOWN:
            words = "damped"
        elif (
            is_up
            and not why.weight_wanted
            and any(server.key in due.held_out for due in self.model.dues(place, has_left=False))
        ):
            words = "waits for others"
        elif is_up and ought != server.weight:
            words = "asks for" if "asks for" in said else "weight"
        elif is_up:
            words = "slow start"
        else:
            words = why.reason if server.verdict == DOWN else "not proven"
        if not words or words not in said:
            yield words or "why it is down"

    def _kept_back(self, place: Virtual, server: Server, layers: Layers) -> Iterator[str]:
        """Yield what should be said about the difference between the wanted and the kernel's table."""
        by = {each.by for each in layers.kept_back}
        if self.model.is_held(place.key) and "hold" not in by:
            yield "the hold"
        if place.is_shadow and "shadow" not in by:
            yield "shadow mode"
        if not layers.kernel.is_as_planned and not (by - {"reload"}):
            yield "what keeps it from being written"
        kinds = {each.kind for each in layers.orders}
        if (order := self.model.state_of(place.key, server.key)) and order not in kinds:
            yield "the order"


def _is_gated(gate: Gate, service: ServiceKey) -> bool:
    """Whether the brake or other directors keep a service as it is."""
    return gate.is_braked(service) or gate.is_vetoed(service)


def _begun(watch: Watch) -> Check:
    """Return the check as the daemon lets it begin."""
    health = watch.health
    asks = 100 if watch.asks is None else watch.asks.value
    return Check(watch.check, watch.type, str(health.verdict), asks=asks, run=health.passes or -health.failures)
