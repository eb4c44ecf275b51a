"""The policy, which decides which servers of one service are in the table, at which weight, and why. It is pure.

`plan_service` holds every rule about a service's servers.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from lvs_healthd.config.model import Below
from lvs_healthd.health.machine import UNKNOWN, UP, Verdict
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord
from lvs_healthd.plan.precedence import State
from lvs_healthd.plan.records import PlannedServer, PlannedService
from lvs_healthd.plan.standings import NOT_ORDERED, UNCHECKED, Change, Counts, Members, Spares, Standing

_NO_SPARES: tuple[PlannedServer, ...] = ()
_NOBODY: frozenset[DestinationKey] = frozenset()

Present = Mapping[DestinationKey, DestinationRecord]
"""The servers of one service that are in the kernel's table."""


class Rule(enum.Enum):
    """Which real servers of a service serve."""

    UP = "up"
    """Those that are up."""
    DAMPED_TOO = "damped too"
    """Those that are up, damped or not, because there would not be enough otherwise."""
    FAIL_OPEN = "fail open"
    """All that no operator takes out, because there are not enough that are up."""
    HELD_OUT = "held out"
    """None, because there are not enough that are up, and the fallback serves."""


class ServicePlan(msgspec.Struct, frozen=True):
    """The servers that the table should hold for one service, as a difference from the previous plan.

    The plan also says whether the service's real servers (not its fallbacks) serve.
    """

    changed: dict[DestinationKey, DestinationRecord | None]
    """The lines that were decided again; None for a server that should not be in the table."""
    counts: Counts
    leaving: dict[DestinationKey, DestinationRecord]
    """Servers that are no longer configured, but keep serving for a while (see `plan_service`)."""
    rule: Rule
    is_below: bool
    """Whether fewer may serve than `min_up`."""
    is_settled: bool = False
    """Whether `is_below` says more than that servers are not proven yet, as after a start. Then it stays settled."""
    is_begun: bool = False
    """Whether this is a plan at all, and `was_met` was found out."""
    was_met: bool | None = None
    """Whether enough could serve before the first plan; None if that is not known. It counts until `is_settled`."""
    spares: tuple[PlannedServer, ...] = ()
    """The fallback servers that serve."""
    able: int = 0
    """How many real servers may serve, or how much weight, in the unit of `min_up`."""
    is_waiting: bool = False
    """Whether fewer may serve than `min_up`, but servers that are not proven yet may suffice."""
    dropped: frozenset[DestinationKey] | None = None
    """The servers that may be among `leaving` at the next plan. None, as at a start, means that nobody knows which
    servers a new configuration has dropped: then all that are present count."""
    is_usual: bool = False
    """Whether enough may serve, and there is nothing else to know: no server is leaving, and no fallback is checked."""

    @property
    def uses_fallback(self) -> bool:
        """Whether any fallback server serves."""
        return bool(self.spares)

    @property
    def action(self) -> Below | None:
        """What is done because fewer may serve than `min_up`; None if enough may."""
        if not self.is_below:
            return None
        if self.rule is Rule.FAIL_OPEN:
            return Below.FAIL_OPEN
        return Below.FALLBACK if self.uses_fallback else Below.NONE

    @property
    def up(self) -> int:
        """How many real servers are up, whatever their weight."""
        return self.counts.up

    @property
    def weight(self) -> int:
        """The sum of the weights of the servers that are up and nothing keeps from serving."""
        return self.counts.weight

    @property
    def may_serve(self) -> bool:
        """Whether any real server is up and has a weight above 0."""
        return self.counts.weight > 0 or (self.rule is Rule.DAMPED_TOO and self.counts.damped_weight > 0)

    @property
    def may_come(self) -> bool:
        """Whether any real server is not proven yet and has a weight above 0."""
        return self.counts.unproven_weight > 0


NO_PLAN = ServicePlan({}, Counts(), leaving={}, rule=Rule.UP, is_below=True)
"""What a service has before its first plan."""


def plan_service(
    service: PlannedService,
    before: ServicePlan,
    changes: Iterable[Change],
    present: Present,
    members: Members,
) -> ServicePlan:
    """Decide which servers of one service are in the table. The cost grows with the changes, not with the servers.

    before: the service's last plan, which counts all its real servers; or `NO_PLAN`, which counts none.
    changes: the real servers whose verdict has changed since the last plan, and the unproven ones whose line in the
        kernel's table has changed. With `NO_PLAN`, all real servers.
    present: the service's servers that are in the kernel's table now.
    members: all the service's servers as they stand now.

    - A server that is up is in the table, with its configured weight or a special one (`precedence`).
    - A disabled server is out of the table. A drained one is at weight 0 until its connections are gone.
    - A damped server is treated as down. But if fewer than `min_up` would serve, those damped ones serve that are up.
    - A server that is down is out of the table, or at weight 0 if the service quiesces.
    - A server that is not proven yet is treated as down, with one exception: if the kernel's table has it, it stays at
      weight 0 and keeps its connections.
    - Servers that a reload has dropped keep serving while fewer than `min_up` may serve and some are not proven yet.
      Otherwise replacing all servers at once would empty the service. A fallback that a reload replaces goes at once.
    - Below `min_up`, the service fails open, or the fallback serves and the servers that are up wait at weight 0, or
      nothing changes, as `below` says. While servers that are not proven yet may suffice, neither begins, and neither
      ends: servers that a reload adds put no others out of service. But a service whose last server goes down fails
      open at once if it is to fail open and no fallback is fit.
    - While none of these servers may serve, the fallback does in any case.
    - Of the fallback, the lowest tier serves of which any server is up; if there is none, one of which any server is
      not proven yet, unless real servers that are up serve. If all are down, the real servers that are up go on.
    """
    changes = tuple(changes)
    counts = before.counts.moved(changes)
    floor = service.floor
    enough = counts.weight if floor.counts_weight else counts.servers
    if before.is_usual and enough >= floor.needed + floor.hysteresis and enough > 0 and not members.spares:
        return ServicePlan(
            changed={each.server.key: _line(service, each.server, each.now, Rule.UP, present) for each in changes},
            counts=counts,
            leaving={},
            rule=Rule.UP,
            is_below=False,
            is_settled=True,
            is_begun=True,
            able=enough,
            dropped=_NOBODY,
            is_usual=True,
        )
    was_met = before.was_met if before.is_begun else _was_met(service, present)
    able = _able(service, before, counts, was_met=was_met)
    leaving: dict[DestinationKey, DestinationRecord] = {}
    if able.is_below and counts.unproven:
        dropped = before.dropped if before.dropped is not None else present.keys() - service.configured
        leaving = {key: present[key] for key in dropped if key in present and present[key].weight > 0}
    rule, serving_spares = Rule.DAMPED_TOO if able.uses_damped else Rule.UP, _NO_SPARES
    if able.is_below and (not leaving or before.rule is Rule.FAIL_OPEN):
        rule, serving_spares = _below(service, before, able, members.spares, may_open=counts.open_weight > 0)
    decided: Iterable[tuple[PlannedServer, Standing]] = [(change.server, change.now) for change in changes]
    if rule is not before.rule and before.counts is not NO_PLAN.counts:
        decided = _between(before.rule, rule, members.everybody(), {change.server.key for change in changes})
    changed = {server.key: _line(service, server, standing, rule, present) for server, standing in decided}
    if before.leaving or leaving:
        changed |= dict.fromkeys(before.leaving) | leaving
    spares = members.spares
    for spare in service.fallback if serving_spares or before.spares or spares else ():
        standing = spares.get(spare.key, UNCHECKED)
        is_present = spare.key in present
        if spare in serving_spares:
            changed[spare.key] = spare.at(standing.weight) if standing is not UNCHECKED else spare.record
        else:
            keeps = is_present and _keeps_connections(standing, is_needed=bool(serving_spares) or not able.enough)
            changed[spare.key] = spare.quiesced if keeps else None
    return ServicePlan(
        changed=changed,
        counts=counts,
        leaving=leaving,
        dropped=frozenset(leaving) if leaving else _NOBODY,
        rule=rule,
        is_below=able.is_below,
        is_settled=before.is_settled or not able.is_waiting,
        is_begun=True,
        was_met=was_met,
        spares=serving_spares,
        able=able.enough,
        is_waiting=able.is_waiting,
        is_usual=not (able.is_below or able.uses_damped or leaving or before.leaving or before.spares or spares),
    )


class _Able(msgspec.Struct, frozen=True, gc=False):
    """How much of a service may serve, in the unit of `min_up`."""

    enough: int
    uses_damped: bool = False
    """Whether damped servers are counted too, because there are not enough otherwise."""
    is_below: bool = False
    is_waiting: bool = False
    """Whether it is below, but servers that are not proven yet may suffice."""


def _able(service: PlannedService, before: ServicePlan, counts: Counts, *, was_met: bool | None) -> _Able:
    floor = service.floor
    servers, damped, unproven = (
        (counts.weight, counts.damped_weight, counts.unproven_weight)
        if floor.counts_weight
        else (counts.servers, counts.damped, counts.unproven_servers)
    )
    uses_damped = damped > 0 and servers < floor.needed
    enough = servers + (damped if uses_damped else 0)
    if before.is_settled:
        was_met = not before.is_below
    is_below = not floor.is_met(enough, was_met=was_met)
    # Once it is below, it must come back all the way, also if it was not a moment ago.
    comes_back_from = False if before.is_settled else was_met
    return _Able(enough, uses_damped, is_below, is_below and floor.is_met(enough + unproven, was_met=comes_back_from))


def _below(
    service: PlannedService, before: ServicePlan, able: _Able, spares: Spares, *, may_open: bool
) -> tuple[Rule, tuple[PlannedServer, ...]]:
    """Return which real servers serve while too few may, and which fallback servers do.

    may_open: whether any would serve if the service failed open.
    """
    rule = Rule.DAMPED_TOO if able.uses_damped else Rule.UP
    fails_open = service.below is Below.FAIL_OPEN and may_open
    if fails_open and (before.rule is Rule.FAIL_OPEN or not able.is_waiting):
        return Rule.FAIL_OPEN, ()
    is_asked = service.below is Below.FALLBACK and (before.uses_fallback or not able.is_waiting)
    if able.enough and not is_asked:
        return rule, ()
    serving = _fit(service.tiers, spares, takes_unproven=not able.enough or before.uses_fallback)
    if fails_open and not able.enough and not serving and before.is_settled and not before.is_below:
        return Rule.FAIL_OPEN, ()  # to wait for servers that are not proven yet would leave the service without any
    return (Rule.HELD_OUT if able.enough and serving else rule), serving


def _fit(
    tiers: Iterable[tuple[PlannedServer, ...]], spares: Spares, *, takes_unproven: bool
) -> tuple[PlannedServer, ...]:
    """Return the fallback servers that serve if any has to."""
    standings = [[(spare, spares.get(spare.key, UNCHECKED)) for spare in tier] for tier in tiers]
    for verdict in (UP, UNKNOWN) if takes_unproven else (UP,):
        for tier in standings:
            found = tuple(
                spare for spare, it in tier if it.verdict is verdict and it.state in NOT_ORDERED and it.weight
            )
            if found:
                return found
    return ()


def _keeps_connections(standing: Standing, *, is_needed: bool) -> bool:
    """Return whether a fallback server that is in the table and must not serve stays at weight 0.

    is_needed: whether the service needs a fallback. One to which an operator has given weight 0 goes with the others.
    """
    if standing.state is State.DRAINED:
        return not standing.is_empty
    return is_needed and standing.state is None and standing.verdict is not Verdict.DOWN and standing.weight == 0


def _was_met(service: PlannedService, present: Present) -> bool | None:
    """Return whether enough could serve before the first plan; None if that is not known.

    Only the kernel's table can tell, and only before we write to it: if real servers serve in it, enough could.
    """
    if not service.floor.hysteresis:
        return None
    serving = {key for key, record in present.items() if record.weight > 0}
    return True if any(server.key in serving for server in service.servers) else None


def _line(
    service: PlannedService, server: PlannedServer, standing: Standing, rule: Rule, present: Present
) -> DestinationRecord | None:
    """Return the line of one server; None if it should not be in the table.

    rule: which servers of its service serve.
    present: the service's servers that are in the kernel's table.
    """
    if standing.state is None and standing.verdict is UP:
        return server.quiesced if rule is Rule.HELD_OUT else server.at(standing.weight)
    if rule is not Rule.UP:
        if rule is Rule.HELD_OUT and standing.is_spared:
            return server.quiesced
        if is_let_in(standing, rule):
            return server.at(standing.weight)
    if standing.state is not None:
        if standing.state is State.DISABLED:
            return None
        if standing.state is State.DRAINED:
            return server.quiesced if server.key in present and not standing.is_empty else None
    stays = service.quiesce or (standing.verdict is UNKNOWN and server.key in present)
    return server.quiesced if stays else None


def _between(
    before: Rule,
    after: Rule,
    everybody: Iterable[tuple[PlannedServer, Standing]],
    changed: AbstractSet[DestinationKey],
) -> Iterator[tuple[PlannedServer, Standing]]:
    """Yield the servers whose line may be another one after the change from one rule to another, in their order.

    There may be ten thousand, for most of which nothing changes. So each is asked for as little as possible.

    everybody: all real servers of the service.
    changed: those whose lines have to be decided again in any case.
    """
    rules = {before, after}
    holds, opens = Rule.HELD_OUT in rules, Rule.FAIL_OPEN in rules
    for server, standing in everybody:
        state = standing.state
        if state is None:
            verdict = standing.verdict
            # Whether one that is not proven is in the table depends on the kernel's table too, as for a drained one.
            is_moved = holds if verdict is UP else (opens or verdict is UNKNOWN)
        else:
            is_moved = state is not State.DISABLED
        if is_moved or server.key in changed:
            yield server, standing


def is_let_in(standing: Standing, rule: Rule) -> bool:
    """Return whether a server serves only because there are not enough others."""
    if rule is Rule.DAMPED_TOO:
        return standing.is_spared
    return rule is Rule.FAIL_OPEN and not standing.serves and standing.state in NOT_ORDERED
