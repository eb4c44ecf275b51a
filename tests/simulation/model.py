"""What ought to be so, kept apart from the daemon: verdicts, operators' orders, holds, and who should serve.

It is written as plainly as possible, computes everything each time, and shares no rule with the daemon's code. It only
takes from the daemon with which verdict a check begins that is new.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.model import Below, Config, FallbackServer, Mode, OnFailure, Service
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.plan.records import destination_key, service_key
from lvs_healthd.probes.targets import ProbeKey, probe_key

GRACE_S = 1.0
"""A write may follow from what was true up to so long ago, seconds: plans are not made more often than the daemon has
time for them."""

LATE_S = 2.5
"""How late an order may end, seconds: the daemon looks once a second, and writes a file first."""

AGENT = "agent"
UP, DOWN, UNKNOWN = "up", "down", "unknown"
EVERYWHERE = "*"


@dataclass(slots=True)
class Check:
    """One check of one server."""

    config: AnyCheck
    """As it is configured."""
    kind: str
    verdict: str
    asks: int = 100
    """The share of its weight for which it has asked last, percent."""
    probe: ProbeKey = field(init=False)
    """The key of its probe."""
    run: int = 0
    """How many sure outcomes in succession were of the last kind: passes above 0, failures below."""
    last: str = ""
    """What the last outcome that was sure has found: "pass", "answer" (a failure with an answer) or "silence"."""

    def __post_init__(self) -> None:
        self.configure(self.config)

    def configure(self, config: AnyCheck) -> None:
        """Take over how it is configured."""
        self.config, self.probe = config, probe_key(config)

    def judge(self, what: str) -> None:
        """Take an outcome that is sure."""
        step = 1 if what == "pass" else -1
        self.run = self.run + step if self.run * step > 0 else step
        self.last = what
        if self.run >= self.config.rise:
            self.verdict = UP
        elif -self.run >= self.config.fall:
            self.verdict = DOWN


@dataclass(slots=True)
class Server:
    """One real server of one service."""

    key: DestinationKey
    weight: int
    checks: dict[str, Check]
    is_damped: bool = False
    unsettled_until: float = -math.inf
    """Until when the daemon may still act by what was true before. Seconds on the monotonic clock."""
    tier: int = 1
    """Of a fallback server."""
    came_at: float = -math.inf
    """When it was brought in last. Seconds on the monotonic clock."""
    braked: str = ""
    """The way whose brake keeps it since it went down; "" for none."""
    braked_since: float = 0.0
    """When the silence began for which that brake holds. Seconds on the monotonic clock."""

    @property
    def verdict(self) -> str:
        worst = UP
        for check in self.checks.values():
            if check.verdict == DOWN:
                return DOWN
            if check.verdict == UNKNOWN:
                worst = UNKNOWN
        return worst

    @property
    def is_silent(self) -> bool:
        """Whether nothing but silence has brought it down."""
        down = [check for check in self.checks.values() if check.verdict == DOWN]
        return bool(down) and all(check.last == "silence" for check in down)


class Order(NamedTuple):
    """What an operator has ordered about a server."""

    kind: str
    weight: int | None
    until: float
    """Unix time; infinity for never."""


Place = tuple[str, str]
"""A service's key as text, or `EVERYWHERE`; and a server's address and port, or its address alone."""


class Due(NamedTuple):
    """Who ought to get new connections in a service, with which weights."""

    serving: dict[DestinationKey, int]
    """The real servers."""
    spares: dict[DestinationKey, int]
    """The fallback servers."""
    waits: bool
    """Whether there are too few, and some are not proven yet. Then servers that a reload has dropped go on serving."""
    held_out: Mapping[DestinationKey, int] = MappingProxyType({})
    """The real servers that may serve, and wait at weight 0 because the fallback serves."""

    @property
    def everybody(self) -> dict[DestinationKey, int]:
        return self.serving | self.spares


@dataclass(slots=True)
class Virtual:
    """One service, as it is configured and judged."""

    key: ServiceKey
    config: Service
    servers: dict[DestinationKey, Server]
    """The real servers."""
    spares: dict[DestinationKey, Server]
    """The fallback servers."""
    is_below: bool = False
    """Whether the daemon says that too few may serve. It counts only where the hysteresis leaves it open."""
    is_settled: bool = True
    """Whether all servers have had their turn, so that `is_below` is more than a beginning."""
    was_served: bool | None = None
    """Whether any of the real servers served before the daemon first wrote to the service; None until that is known."""
    fell_back: bool = False
    """Whether its fallback was to serve when this configuration came. Then none of the servers that it dropped was."""

    @property
    def members(self) -> dict[DestinationKey, Server]:
        return self.servers | self.spares

    @property
    def needed(self) -> int:
        """How much must be able to serve."""
        min_up = self.config.min_up
        weighty = sum(server.weight > 0 for server in self.servers.values())
        return min_up.weight or min_up.count or max(1, math.ceil(weighty * min_up.percent / 100))

    def amount(self, servers: Mapping[DestinationKey, int]) -> int:
        """Return how much these servers are, with their weights, in the unit of what is needed."""
        return sum(servers.values()) if self.config.min_up.weight else len(servers)

    def lacks(self, amount: int) -> bool:
        """Return whether this is too little."""
        hysteresis = self.config.min_up.hysteresis
        if amount == 0 or amount < self.needed - hysteresis:
            return True
        if not hysteresis:
            return amount < self.needed
        # As long as not all servers have had their turn, it is not known what was before, and the hysteresis waits.
        return self.is_below and amount < (self.needed + hysteresis if self.is_settled else self.needed)

    def may_suffice(self, amount: int) -> bool:
        """Return whether this would be enough, of which a part is not proven yet.

        As long as not all servers have had their turn, what served before counts as enough, and the hysteresis with it.
        """
        if self.is_settled or not self.was_served:
            return not self.lacks(amount)
        return amount > 0 and amount >= self.needed - self.config.min_up.hysteresis

    @property
    def is_shadow(self) -> bool:
        return self.config.mode is Mode.SHADOW

    @property
    def quiesces(self) -> bool:
        return self.config.on_failure is OnFailure.QUIESCE


@dataclass(slots=True)
class Model:
    """What ought to be so."""

    services: dict[ServiceKey, Virtual] = field(default_factory=dict)
    states: dict[Place, Order] = field(default_factory=dict)
    """Orders to drain or disable."""
    weights: dict[Place, Order] = field(default_factory=dict)
    held: dict[ServiceKey | None, None] = field(default_factory=dict)
    """The services to which nothing is to be written; None for the whole table."""
    kept: dict[ServiceKey | None, None] = field(default_factory=dict)
    """The same as a restart will find it. It differs while the disk is full."""
    ours: set[ServiceKey] = field(default_factory=set)
    """Every service that was ever to be written."""
    watching: dict[tuple[str, str], list[tuple[Virtual, Server, Check]]] = field(default_factory=dict)
    """The checks that probe a host, by its address and the type of the check."""
    answered: dict[str, float] = field(default_factory=dict)
    """When the last probe began that a host has answered. Seconds on the monotonic clock."""

    def configure(self, config: Config, now: float, begun: dict[tuple[ServiceKey, DestinationKey, str], Check]) -> None:
        """Take over a configuration. What keeps its key keeps its state.

        begun: the state with which the daemon lets each check begin. It counts for those that are new.
        """
        before, self.services = self.services, {}
        for service in config.services:
            key = service_key(service)
            known = before[key].members if key in before else {}
            fell_back = key in before and bool(
                self.due(before[key], has_left=False, goes_on=before[key].fell_back).spares
            )
            servers: dict[DestinationKey, Server] = {}
            spares: dict[DestinationKey, Server] = {}
            for each in service.servers:
                server_key = destination_key(each)
                old = known.get(server_key)
                checks = {}
                for check in each.checks:
                    found: Check | None = old.checks.get(check.name) if old is not None else None
                    if found is None:
                        found = begun[key, server_key, check.name]
                    elif found.config != check:
                        # An edited check keeps its verdict, and goes on counting, but needs one outcome more.
                        found.run = max(1 - check.fall, min(found.run, check.rise - 1))
                    if found.kind == AGENT and found.verdict == UNKNOWN:
                        # An agent that has said nothing stands for nothing where another check proves the server.
                        found.verdict = begun[key, server_key, check.name].verdict
                    found.configure(check)
                    checks[check.name] = found
                server = Server(server_key, each.weight, checks, unsettled_until=now + GRACE_S, came_at=now)
                if old is not None:
                    server.is_damped = old.is_damped
                    server.braked, server.braked_since = old.braked, old.braked_since
                    server.came_at = old.came_at
                if isinstance(each, FallbackServer):
                    server.tier = each.tier
                    spares[server_key] = server
                else:
                    servers[server_key] = server
            was_served = before[key].was_served if key in before else None
            self.services[key] = Virtual(key, service, servers, spares, was_served=was_served, fell_back=fell_back)
            if service.mode is not Mode.SHADOW:
                self.ours.add(key)
        self.watching = {}
        for place in self.services.values():
            for server in place.members.values():
                for watched in server.checks.values():
                    target = server.key.address, watched.kind
                    self.watching.setdefault(target, []).append((place, server, watched))

    def forget(self) -> None:
        """Forget what a new process cannot know."""
        self.services, self.watching, self.answered = {}, {}, {}
        self.held = dict(self.kept)

    # Orders

    def order(self, kind: str, places: Iterable[Place], weight: int | None, until: float) -> None:
        """Note an order that was carried out."""
        for place in places:
            if kind == "enable":
                self.states.pop(place, None)
            elif kind == "weight" and weight is None:
                self.weights.pop(place, None)
            elif kind == "weight":
                self.weights[place] = Order(kind, weight, until)
            else:
                self.states[place] = Order(kind, None, until)

    def restore(self, file: bytes) -> None:
        """Take the orders from the daemon's file. One that is cut off holds none."""
        self.states.clear()
        self.weights.clear()
        try:
            orders = json.loads(file)["overrides"]
        except ValueError:
            return
        for each in orders:
            place = each["service"], each["server"]
            order = Order(each["kind"], each.get("weight"), each.get("until", math.inf))
            (self.weights if order.kind == "weight" else self.states)[place] = order

    def end(self, now: float, wall: float) -> None:
        """Forget the orders whose time is over.

        now: monotonic time, seconds.
        wall: Unix time.
        """
        for orders in (self.states, self.weights):
            for place in [place for place, order in orders.items() if order.until <= wall]:
                del orders[place]
                self.unsettle(now + LATE_S)

    def unsettle(self, until: float) -> None:
        """Note that the daemon may act by what was true before for a while."""
        for place in self.services.values():
            for server in place.members.values():
                server.unsettled_until = max(server.unsettled_until, until)

    def state_of(self, service: ServiceKey, server: DestinationKey) -> str:
        """Return what an operator wants of a server: "drain", "disable", or "" for nothing."""
        order = self.states.get((str(service), str(server))) or self.states.get((EVERYWHERE, server.address))
        return "" if order is None else order.kind

    def weight_of(self, service: ServiceKey, server: Server) -> int:
        """Return the weight with which a server ought to serve."""
        own, everywhere = (str(service), str(server.key)), (EVERYWHERE, server.key.address)
        order = self.weights.get(own) or self.weights.get(everywhere)
        weight = server.weight if order is None or order.weight is None else order.weight
        least = min((check.asks for check in server.checks.values()), default=100)
        return -(-weight * least // 100)

    # Who ought to serve

    def is_held(self, key: ServiceKey) -> bool:
        return None in self.held or key in self.held

    def dues(self, place: Virtual, *, has_left: bool) -> list[Due]:
        """Return who may have to serve. While unproven servers may suffice, that depends on what was before.

        has_left: as in `due`.
        """
        found = [self.due(place, has_left=has_left, goes_on=goes_on) for goes_on in (False, True)]
        return found if found[0] != found[1] else found[:1]

    def due(self, place: Virtual, *, has_left: bool, goes_on: bool = False) -> Due:
        """Return who ought to get new connections (docs/configuration.md, "How many servers a service needs").

        has_left: whether servers that are not configured any more still serve.
        goes_on: whether, while servers that are not proven yet may suffice, the service goes on to fail open, or its
            fallback to serve.
        """
        fit: dict[DestinationKey, int] = {}
        damped: dict[DestinationKey, int] = {}
        unproven: dict[DestinationKey, int] = {}
        in_service: dict[DestinationKey, int] = {}
        waits = False
        for server in place.servers.values():
            if self.state_of(place.key, server.key):
                continue
            verdict, weight = server.verdict, self.weight_of(place.key, server)
            waits |= verdict == UNKNOWN and not server.is_damped
            if not weight:
                continue
            in_service[server.key] = weight
            if verdict == UP:
                (damped if server.is_damped else fit)[server.key] = weight
            elif verdict == UNKNOWN and not server.is_damped:
                unproven[server.key] = weight
        serving = fit | damped if place.amount(fit) < place.needed else fit
        if not place.lacks(place.amount(serving)):
            return Due(serving, {}, waits=False)
        fails_open = place.config.below is Below.FAIL_OPEN and bool(in_service)
        if waits and has_left and not (fails_open and goes_on):
            return Due(serving, {}, waits=True)
        may_suffice = place.may_suffice(place.amount(serving) + place.amount(unproven))
        if fails_open and (goes_on or not may_suffice):
            return Due(in_service, {}, waits=waits)
        if not serving or (place.config.below is Below.FALLBACK and (goes_on or not may_suffice)):
            spares = self._fit_spares(place, takes_unproven=not serving or goes_on)
            return Due(serving, spares, waits=waits) if not spares else Due({}, spares, waits=waits, held_out=serving)
        return Due(serving, {}, waits=waits)

    def _fit_spares(self, place: Virtual, *, takes_unproven: bool) -> dict[DestinationKey, int]:
        """Return the fallback servers that serve if any has to: those of the lowest tier of which any is up.

        takes_unproven: whether one that is not proven yet will do too.
        """
        for verdict in (UP, UNKNOWN) if takes_unproven else (UP,):
            for tier in sorted({spare.tier for spare in place.spares.values()}):
                found = {
                    spare.key: self.weight_of(place.key, spare)
                    for spare in place.spares.values()
                    if spare.tier == tier and spare.verdict == verdict and not self.state_of(place.key, spare.key)
                }
                if fit := {key: weight for key, weight in found.items() if weight}:
                    return fit
        return {}
