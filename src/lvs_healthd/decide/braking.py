"""Keeps the brake of each way out of the director, and knows which servers it holds. The rules are in `brake`.

A target is a host: all its checks and services together. It has fallen silent when one of its probes got no answer at
all, and none of them has got one since. An answer of any kind proves the way: a refusal and a bad status too, and a
connection that was accepted before the target fell silent.

Nothing is recorded when a probe passes. While nobody is silent, this costs nothing. When a target falls silent, a few
others are asked for their last outcome. Only if none of them has answered since, all are looked at, again and again and
in slices, until it is clear what has happened.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from types import MappingProxyType

from lvs_healthd.config.model import Below
from lvs_healthd.decide import brake as rules
from lvs_healthd.decide.blame import AT_ONCE_S, OwnFaults, is_loopback
from lvs_healthd.decide.brake import Brake, Look, Recovering, Rule, Stage
from lvs_healthd.decide.held import ProbeState, ServerState, ServiceState
from lvs_healthd.decide.silence import Found, answered_since, found, is_up, may_be_silence, passes
from lvs_healthd.decide.way import NO_FINDING, Change, Finding, Held, NoWays, Way, Ways, held_on
from lvs_healthd.health.machine import DOWN
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.plan import policy
from lvs_healthd.plan.records import destination_key
from lvs_healthd.probes.outcome import Outcome, OutcomeKind
from lvs_healthd.reconcile.gate import Braked
from lvs_healthd.runtime.pace import paced

SEARCH_EVERY_S = 0.05
"""The minimum time between two searches for a target that answers, while nothing is held, seconds."""

MOST_CAUSES = 5
"""How many causes of one brake are named at most. Without routes, each target has one of its own."""

NOTHING_CHANGED: Mapping[ServiceKey, ServiceState] = MappingProxyType({})
"""No service would be another one."""

SEARCHED = 512
"""How many probes one search looks at. The next search continues from there."""


class Braking:
    """The brakes of all ways.

    probes: returns all the probes there are.
    own: knows which addresses are the director's own.
    clock: monotonic time, seconds.
    """

    def __init__(self, probes: Callable[[], Iterable[ProbeState]], own: OwnFaults, clock: Callable[[], float]) -> None:
        self.ways: Ways = NoWays()
        self.rule = Rule(share=0.8, within_s=10.0, min_targets=2, longest_s=300.0)
        self.doubted = asyncio.Event()
        """Set when there is anything to look at."""
        self._probes = probes
        self._own = own
        self._clock = clock
        self._ways: dict[str, Way] = {}
        self._down: dict[ServerState, None] = {}
        """The servers that went down while a way to them was held, if silence is the only reason."""
        self._risen: dict[ServerState, None] = {}
        """Those of them that have come up since the wanted table was last planned."""
        self._let_go: dict[ServerState, float] = {}
        """When the brake was let go for each of them whose own next probes decide. Seconds on the monotonic clock."""
        self._unsearched: Iterator[ProbeState] = iter(())
        self._next_search = 0.0
        self.let_go: Callable[[ServerState], None] = lambda _: None
        """Called with each server that is down and not kept any more."""
        self._fit: frozenset[str] = frozenset()
        """The addresses of fallback servers at which a check passes."""

    @property
    def active(self) -> dict[str, Brake]:
        """The brake of each way that is not CLEAR."""
        return {name: way.brake for name, way in self._ways.items() if way.brake.stage is not Stage.CLEAR}

    @property
    def is_busy(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._down) or any(way.brake.stage is not Stage.CLEAR for way in self._ways.values())

    @property
    def is_holding(self) -> bool:
        """Whether anything is held, or may be soon."""
        return bool(self._down) or any(way.brake.holds for way in self._ways.values())

    @property
    def held(self) -> tuple[Held, ...]:
        """The ways on which the brake is on."""
        return tuple(held_on(name, way) for name, way in self._ways.items() if way.brake.stage is Stage.BRAKED)

    def judged(self, probe: ProbeState, outcome: Outcome) -> None:
        """Take an outcome that differs from the one before into account."""
        if probe.is_path or probe.is_agent or (probe.silent_since is None and not may_be_silence(outcome)):
            return
        what = found(probe.check, outcome, probe.course)
        if what is Found.ANSWER:
            if probe.silent_since is not None:
                self._answered(probe)
        elif outcome.kind is OutcomeKind.UP:
            probe.silent_since = None  # a datagram that nobody refuses
        elif what is Found.SILENCE:
            now = self._clock()
            began = now - (probe.latency_s or 0.0)
            if probe.silent_since is None:
                probe.silent_since = began
            for name in self.ways.of(probe.check):
                self._fell_silent(name, probe, began, now)

    def _answered(self, probe: ProbeState) -> None:
        probe.silent_since = None
        now = self._clock()
        began = now - (probe.latency_s or 0.0)
        for name in self.ways.of(probe.check):
            way = self._ways.get(name)
            if way is not None and way.brake.stage is not Stage.CLEAR and began > way.brake.since + AT_ONCE_S:
                way.witness = probe
                self.doubted.set()

    def _fell_silent(self, name: str, probe: ProbeState, began: float, now: float) -> None:
        way = self._ways.get(name)
        if way is None:
            way = self._ways[name] = Way()
        if way.brake.stage is not Stage.CLEAR or self._has_answer(name, way, probe, now):
            return
        way.brake = rules.fell_silent(way.brake, began, now)
        self.doubted.set()

    def _has_answer(self, name: str, way: Way, failing: ProbeState, now: float) -> bool:
        """Whether another target of a way has answered since the failing probe's target fell silent. Looks at few."""
        since = failing.silent_since or now
        if way.witness is not None and answered_since(way.witness, since):
            return True
        if now < self._next_search:
            return False
        self._next_search = now + SEARCH_EVERY_S
        searched = tuple(islice(self._unsearched, SEARCHED))
        if not searched:
            self._unsearched = iter(tuple(self._probes()))
            searched = tuple(islice(self._unsearched, SEARCHED))
        for probe in searched:
            if answered_since(probe, since) and not probe.is_path and name in self.ways.of(probe.check):
                way.witness = probe
                return True
        return False

    def health_changed(self, server: ServerState) -> None:
        """Note that a server's verdict has changed."""
        if server.health.verdict is not DOWN:
            if server in self._down:
                self._risen[server] = None
            return
        if not self._ways:
            return  # no target has ever fallen silent, so nothing is held
        self._risen.pop(server, None)
        if self._is_held(server):
            self._down[server] = None

    def planned(self) -> None:
        """Note that the wanted table now follows from all verdicts so far.

        Until then it lacks the servers that have come up, and they must be kept as before.
        """
        for server in self._risen:
            self._down.pop(server, None)
            self._let_go.pop(server, None)
        self._risen.clear()

    def _is_held(self, server: ServerState) -> bool:
        """Whether the brake keeps a server that is down from being removed."""
        weight = server.config.weight if server.special is None else server.special.weight
        if not server.watches or not server.service.config.brake or not (weight or server.config.weight):
            return False
        has_failed = False
        for watch in server.watches:
            if watch.health.verdict is DOWN:
                if not (self._is_silent(watch.probe) and self._holds(watch.probe)):
                    return False
                has_failed = True
        return has_failed

    def _is_silent(self, probe: ProbeState) -> bool:
        return probe.silent_since is not None and not probe.is_path and not probe.is_agent

    def _holds(self, probe: ProbeState) -> bool:
        return any((way := self._ways.get(name)) is not None and way.brake.holds for name in self.ways.of(probe.check))

    async def turn(self, findings: Mapping[str, Finding]) -> list[Change]:
        """Look at all targets of the ways that are not CLEAR, and return what has changed.

        findings: what a diagnosis of the director has found, for each way.
        """
        changes: list[Change] = []
        for name, way in list(self._ways.items()):
            if way.brake.stage is not Stage.CLEAR:
                look, causes = await self._look(name, way, findings.get(name, NO_FINDING))
                new = [*self._stepped(name, way, look, causes)]
                if any(change.stage is Stage.CLEAR for change in new):
                    self._let_go |= dict.fromkeys(self._down, self._clock())
                changes += new
        async for server in paced(list(self._down)):
            if server in self._risen:
                continue
            if self._is_held(server):
                self._let_go.pop(server, None)
            elif not self._may_recover(server):
                self._down.pop(server, None)
                self._let_go.pop(server, None)
                self.let_go(server)
        self._fit = await self._answering({each for server in self._down for each in _fallbacks(server)})
        return changes

    def _may_recover(self, server: ServerState) -> bool:
        let_go = self._let_go.get(server)
        failed = [watch for watch in server.watches if watch.health.verdict is DOWN]
        if let_go is None or not failed:
            return False
        now = self._clock()
        return all(
            (watch.probe.silent_since is not None or is_up(watch.probe))
            and rules.may_recover(
                Recovering(
                    let_go=let_go,
                    probed=(watch.probe.last_at or 0.0) - (watch.probe.latency_s or 0.0),
                    passes=is_up(watch.probe),
                    rise=watch.check.rise,
                    interval_s=watch.check.interval,
                    timeout_s=watch.check.timeout,
                ),
                now,
            )
            for watch in failed
        )

    async def _answering(self, addresses: set[str]) -> frozenset[str]:
        """Return those of these addresses at which a check passes."""
        if not addresses:
            return frozenset()
        now = self._clock()
        return frozenset(
            [
                probe.check.address
                async for probe in paced(tuple(self._probes()))
                if probe.check.address in addresses and passes(probe, now)
            ]
        )

    def _stepped(self, name: str, way: Way, look: Look, causes: tuple[str, ...]) -> Iterator[Change]:
        now, before = self._clock(), way.brake
        way.silent, way.targets = look.silent, look.silent + look.others
        after = way.brake = rules.looked(before, look, self.rule, now)
        if before.stage is Stage.BRAKED:
            known = way.causes
            way.causes = tuple(dict.fromkeys((*known, *causes)))[:MOST_CAUSES]
            if after.stage is not Stage.BRAKED:
                way.counted_from, way.let_go = before.since - self.rule.within_s, now
                yield Change(held_on(name, way), after.stage, after.why, now - way.braked)
            elif way.causes != known:
                yield Change(held_on(name, way), after.stage, "", now - way.braked)
        elif after.stage is Stage.BRAKED:
            way.causes, way.braked = causes[:MOST_CAUSES], now
            yield Change(held_on(name, way), after.stage, "", 0.0)

    async def _look(self, name: str, way: Way, finding: Finding) -> tuple[Look, tuple[str, ...]]:
        """Look at all targets of a way. Return the look, and what is wrong with the director in words."""
        since = way.brake.since
        if way.witness is not None and answered_since(way.witness, since):
            return Look(0, 0, has_answer=True), ()
        silent: dict[str, float] = {}
        """When the last probe began that got no answer, by address."""
        others: set[str] = set()
        own: dict[str, None] = {}
        async for probe in paced(tuple(self._probes())):
            if probe.is_path or probe.is_agent or not probe.watches or name not in self.ways.of(probe.check):
                continue
            if probe.is_suspended:
                continue  # nobody asks its target anything
            if answered_since(probe, since):
                way.witness = probe
                return Look(0, 0, has_answer=True), ()
            address = probe.check.address
            if probe.silent_since is None:
                others.add(address)
            elif way.silent_from(probe.silent_since) >= since - self.rule.within_s and probe.last_at is not None:
                silent[address] = max(silent.get(address, 0.0), probe.last_at - (probe.latency_s or 0.0))
                if len(own) < MOST_CAUSES and probe.last is not None and probe.last.kind is OutcomeKind.UNSURE:
                    own[probe.last.detail] = None
        causes = (*own, *finding.symptoms)
        is_watched = not finding.watched_to or any(
            finding.watched_from <= began <= finding.watched_to for began in silent.values()
        )
        proof = finding.proof if is_watched else ""
        look = Look(len(silent), len(others - silent.keys()), has_answer=False, symptom="; ".join(causes), proof=proof)
        return look, causes

    def keeps(self, server: ServerState) -> bool:
        """Whether a server that went down has been kept in the table since."""
        return server in self._down

    def kept(self, changed: Mapping[ServiceKey, ServiceState] = NOTHING_CHANGED) -> dict[ServiceKey, Braked]:
        """Return what the brake keeps from being written: servers that stay, and a fallback that does not come.

        changed: services as a reload would make them, planned, in place of what they are. A server that it would
            replace is not kept.
        """
        members = {key: frozenset(service.members) for key, service in changed.items()} if self._down else {}
        services: dict[ServiceState, set[DestinationKey]] = {}
        spares: dict[ServiceState, set[DestinationKey]] = {}
        for server in self._down:
            key = server.service.key
            if key in members and (server in self._risen or server not in members[key]):
                continue
            if server.watches and not is_ordered_out(server):
                silent = spares if server.is_spare else services
                silent.setdefault(changed.get(key, server.service), set()).add(server.key)
        kept = {
            service.key: Braked(servers | held_out(service), frozenset(map(destination_key, service.config.fallback)))
            for service, servers in services.items()
            if not self._goes_to_fallback(service, servers)
        }
        for service, servers in spares.items():
            if service.plan.may_serve and service.plan.rule is not policy.Rule.HELD_OUT:
                continue  # real servers have its clients now
            before = kept.get(service.key, Braked((), ()))
            kept[service.key] = Braked({*before.servers, *servers}, before.fallback)
        return kept

    def _goes_to_fallback(self, service: ServiceState, silent: set[DestinationKey]) -> bool:
        """Whether a service loses nothing by going to its fallback: too few servers answer, and a fallback does.

        Once the brake is let go, the servers get the time to show themselves. The table would change twice otherwise.
        """
        if any(each in self._let_go for each in service.servers):
            return False
        able = service.able((each, each.special) for each in service.servers if each.key not in silent)
        is_below = able < service.planned.floor.needed if service.planned.below is Below.FALLBACK else not able
        return is_below and any(self._is_fit(each.endpoint.address) for each in service.config.fallback)

    def _is_fit(self, address: str) -> bool:
        """Whether a fallback server can take the clients: it is the director itself, or one of its checks passes."""
        return is_loopback(address) or self._own.is_ours(address) or address in self._fit


def _fallbacks(server: ServerState) -> Iterator[str]:
    """Yield the addresses of the fallback servers of a server's service."""
    return (each.endpoint.address for each in server.service.config.fallback)


def held_out(service: ServiceState) -> set[DestinationKey]:
    """Return the servers that may serve, and that the plan holds out because the fallback is to serve."""
    if service.plan.rule is not policy.Rule.HELD_OUT:
        return set()
    return {server.key for server in service.servers if server.may_serve(server.special)}


def is_ordered_out(server: ServerState) -> bool:
    """Whether an operator takes a server out. The brake never blocks that."""
    return server.is_ordered_out or (server.hand is not None and server.hand.weight == 0)
