"""Explains what lies between a server's verdict and its line in the kernel: orders, damping, guards, the plan."""

import shlex
from collections.abc import Iterator
from typing import NamedTuple

from lvs_healthd.config.model import Below, Mode
from lvs_healthd.decide.agreeing import LONGEST_S
from lvs_healthd.decide.flapping import signs
from lvs_healthd.decide.held import ServerState, ServiceState
from lvs_healthd.decide.overrides import Overrides, in_words
from lvs_healthd.decide.roles import Roles
from lvs_healthd.decide.vetoing import Vetoing
from lvs_healthd.decide.way import Held, Ways
from lvs_healthd.health.machine import Verdict
from lvs_healthd.ipvs.describe import describe
from lvs_healthd.ipvs.records import Verb
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.state.holds import Hold
from lvs_healthd.view.agreement_values import Agreeing
from lvs_healthd.view.announce_values import Announcing, dated
from lvs_healthd.view.source_values import Sources
from lvs_healthd.view.status import role_values, uses_fallback, weight_in
from lvs_healthd.view.store_values import KeyWhy, Store
from lvs_healthd.view.why_values import DampingWhy, KeptBack, KernelWhy, Layers, OrderWhy, PlanWhy, RoleWhy

MOST_ERROR = 200
"""How much is shown of the errors of a rejected reload, characters."""


class Around(NamedTuple):
    """What the layers of all servers are made from."""

    reconciler: Reconciler
    overrides: Overrides
    holds: tuple[Hold, ...]
    vetoing: Vetoing
    brakes: tuple[Held, ...]
    """The ways on which the brake is on."""
    ways: Ways
    roles: Roles
    """The role of each service."""
    announcing: Announcing
    sources: Sources
    store: Store
    agreeing: Agreeing
    mode: Mode
    config_error: str
    """Why the last reload was rejected; empty if it was not."""
    config_loaded: float
    """When the configuration in force was loaded, Unix time."""
    now: float
    """Monotonic time, seconds."""
    shift_s: float
    """What to add to the monotonic clock to get Unix time, seconds."""


def layers(server: ServerState, around: Around) -> Layers:
    """Explain one real server or fallback server."""
    kept_back = tuple(_kept_back(server, around))
    found = around.announcing.of(server.service.key)
    return Layers(
        orders=tuple(_orders(server, around.overrides)),
        damping=_damping(server, around),
        kept_back=kept_back,
        plan=_plan(server, around.reconciler),
        kernel=_kernel(server, kept_back, around),
        role=_role(server, around),
        announced=None if found is None else dated(found, around.shift_s),
        directors=() if server.is_spare else around.agreeing.opinions(server.service.key, server.key),
        source=None if server.is_spare else around.sources.of(server.service.config, server.config.endpoint),
        key=_key(server, around.store),
    )


def _key(server: ServerState, store: Store) -> KeyWhy | None:
    key, status = store.key_of(server.service.config.name), store.status
    return KeyWhy(key=key, store=status) if key and status is not None else None


def _role(server: ServerState, around: Around) -> RoleWhy | None:
    role = role_values(server.service, around.roles, around.shift_s)
    if role.since is None:
        return None
    return RoleWhy(role=role.role, vip=role.vip, since=role.since, suspended=role.suspended)


def ways_to(server: ServerState, ways: Ways) -> Iterator[str]:
    """Yield the names of the ways to the targets of those checks of a server that can put the brake on."""
    for watch in server.watches:
        if not (watch.probe.is_path or watch.probe.is_agent):
            yield from ways.of(watch.check)


def _orders(server: ServerState, overrides: Overrides) -> Iterator[OrderWhy]:
    for each in overrides.of(server.service.key, server.key):
        if each is not None:
            yield OrderWhy(kind=each.kind, text=in_words(each), since=each.since, until=each.until)
    for file in overrides.maintenance.folder.of(server.key):
        yield OrderWhy(kind="maintenance", text=f"drained by the file {file.path}", since=file.since)


def _damping(server: ServerState, around: Around) -> DampingWhy:
    flaps, is_damped = server.flaps, server.service.config.damping is not None
    if flaps is None or flaps.since is None:
        return DampingWhy(is_damped=is_damped)
    return DampingWhy(
        flaps_since=flaps.since + around.shift_s,
        held_until=None if flaps.until is None else flaps.until + around.shift_s,
        reason=signs(server, around.now),
        is_damped=is_damped,
    )


def _kept_back(server: ServerState, around: Around) -> Iterator[KeptBack]:
    service, key = server.service, server.key
    gate, name = around.reconciler.gate, service.config.name
    if around.mode is Mode.SHADOW:
        todo = 'mode = "enforce" in [daemon] and `lvs-healthd reload`; or, if it runs with --shadow, a start without it'
        yield KeptBack(by="shadow", reason="the daemon is in shadow mode and writes nothing", todo=todo)
    elif service.key in gate.shadowed:
        todo = 'mode = "enforce" in the service, and `lvs-healthd reload`'
        yield KeptBack(by="shadow", reason="the service is in shadow mode: nothing is written to it", todo=todo)
    for hold in around.holds:
        if hold.service in {None, service.key}:
            which, what = ((), "the whole table") if hold.service is None else ((name,), "the service")
            why = f": {hold.reason}" if hold.reason else ""
            reason = f"{what} is held by uid {hold.uid}{why}"
            yield KeptBack(by="hold", reason=reason, since=hold.since, todo=_command("release", *which))
    if gate.keeps(service.key, key):
        yield _braked(server, around)
    if gate.vetoes(service.key, key):
        yield _vetoed(server, around)
    fights = around.reconciler.fights
    until = fights.held_until((service.key, key), around.now) or fights.held_until((service.key, None), around.now)
    if until is not None:
        reason = (
            f"somebody else undoes what is written, so the line is left alone for {round(until - around.now)}s more"
        )
        yield KeptBack(by="fight", reason=reason, todo="stop the other program: table.fight in the log names suspects")
    if error := around.reconciler.errors.of(service.key):
        todo = "it is tried again and again; the cause is on the kernel's side"
        yield KeptBack(by="error", reason=error, todo=todo)
    if around.config_error:
        yield KeptBack(
            by="reload",
            reason=f"the last reload was rejected: {_cut(around.config_error)}",
            since=around.config_loaded,
            todo="correct what `lvs-healthd validate` finds, then `lvs-healthd reload`",
        )


def _command(*words: str) -> str:
    return shlex.join(("lvs-healthd", *words))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_ERROR else f"{text[: MOST_ERROR - 1]}…"


def _braked(server: ServerState, around: Around) -> KeptBack:
    if server.is_spare:
        reason = "the brake keeps its real servers in, so it does not come in beside them"
        return KeptBack(by="brake", reason=reason, todo="lvs-healthd status names the cause")
    ways = set(ways_to(server, around.ways))
    held = next((each for each in around.brakes if each.way in ways), None)
    disable = _command("disable", server.service.config.name, str(server.key))
    todo = f"see to the cause; if the server is dead all the same: {disable}"
    if held is None:
        reason = "it has fallen silent together with others, so it stays until the cause is clear"
        return KeptBack(by="brake", reason=reason, todo=todo)
    causes = f"; {'; '.join(held.causes)}" if held.causes else ""
    reason = f"the brake is on for {held.way}: {held.silent} of {held.targets} targets are silent{causes}"
    return KeptBack(by="brake", reason=reason, since=held.since + around.shift_s, todo=todo)


def _vetoed(server: ServerState, around: Around) -> KeptBack:
    veto = around.vetoing.of(server)
    if veto is None or not veto.holds:
        what = "its real servers" if server.is_spare else "others of its service"
        reason = f"other directors hold {what}, so nothing changes for it"
        return KeptBack(by="veto", reason=reason, todo="lvs-healthd status names them")
    disable = _command("disable", server.service.config.name, str(server.key))
    left_s = max(0, round(veto.since + LONGEST_S - around.now))
    reason = f"{veto.vote}; it goes in {left_s}s at the latest"
    todo = f"see to the way from here to it; if it is dead all the same: {disable}"
    return KeptBack(by="veto", reason=reason, since=veto.since + around.shift_s, todo=todo)


def _plan(server: ServerState, reconciler: Reconciler) -> PlanWhy:
    service, wanted = server.service, reconciler.wanted
    if wanted is None:
        return PlanWhy(weight=None, reason="nothing is planned yet")
    want = wanted.table.get(service.key)
    weight, why = weight_in(want, server.key), wanted.why.get((service.key, server.key))
    reason = why.reason if why is not None else ""
    is_up = server.health.verdict is Verdict.UP
    if server.is_spare and weight is None:
        reason = _out_of_use(server)
    elif not server.is_spare and is_up and reason == server.health.detail:
        # A probe that has failed is no reason to serve, though it is the last that is known of a server that is up.
        reason = "it is up" if server.config.weight else "it is up, but its configured weight is 0"
    return PlanWhy(
        weight=weight,
        reason=reason,
        uses_fallback=uses_fallback(service, want),
        service="" if server.is_spare else _special(service),
    )


def _out_of_use(server: ServerState) -> str:
    """Say why a fallback server is not in the wanted table."""
    service, special = server.service, server.special
    if special is not None and special.state is not None:
        return special.reason
    if service.plan.spares:
        used = ", ".join(str(spare.key) for spare in service.plan.spares)
        better = "another serves" if server.health.verdict is Verdict.UP else f"it is {server.health.verdict}"
        return f"standing by: {better}; in use: {used}"
    if server.health.verdict is not Verdict.UP:
        return f"standing by, and it is {server.health.verdict}: {server.health.detail or 'not probed yet'}"
    return "standing by" + (": a real server may serve" if service.serving else "")


def _special(service: ServiceState) -> str:
    """Say that too few real servers may serve, and what is done about it; "" if enough may."""
    plan, floor = service.plan, service.planned.floor
    if plan.action is None and service.serving is not False:
        return ""
    few = "no real server may serve"
    if plan.may_serve:
        unit = "of the weight" if floor.counts_weight else "of the real servers"
        few = f"only {plan.able} {unit} may serve, and min_up is {floor.needed}"
    if plan.action is Below.FAIL_OPEN:
        return f"{few}, so all serve that no order takes out"
    if plan.uses_fallback:
        return f"{few}, so the fallback is in use: {', '.join(str(spare.key) for spare in plan.spares)}"
    if plan.may_serve:
        return few
    return f"{few}, " + ("and no fallback server may either" if service.spares else "so clients are refused")


def _kernel(server: ServerState, kept_back: tuple[KeptBack, ...], around: Around) -> KernelWhy:
    service, key, reconciler = server.service, server.key, around.reconciler
    weight = weight_in(reconciler.actual.get(service.key), key)
    read = None if reconciler.last_resync is None else reconciler.last_resync + around.shift_s
    operation = reconciler.due((service.key, key))
    if operation is None:
        return KernelWhy(weight=weight, read=read)
    holding = next((each for each in kept_back if each.by != "reload"), None)
    return KernelWhy(
        weight=weight,
        read=read,
        is_as_planned=False,
        difference={Verb.ADD_SERVER: "add", Verb.DELETE_SERVER: "remove"}.get(operation.verb) or describe(operation),
        todo=holding.todo if holding is not None else "it is written in a moment",
    )
