"""Says what one service has to say about its address: whether it may serve here, for `decide.announcing`."""

from lvs_healthd.decide.announcing import Say
from lvs_healthd.decide.held import ServiceState
from lvs_healthd.decide.own_fault import NOT_REACHED, cut_off
from lvs_healthd.health.machine import Verdict
from lvs_healthd.plan.policy import Rule
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.view.serving import takers

HELD = "an operator holds its table, in which servers serve"


def said(service: ServiceState, reconciler: Reconciler, local: str, *, shadow: bool) -> Say:
    """Say whether a service may serve here.

    local: what is wrong with this director's own network, in words; empty if nothing is.
    shadow: whether nothing is written for it, so that the kernel's table tells nothing.

    - It may not if this director has a fault and reaches none of the servers, whatever the table says. Others may.
    - It may if so many of its servers may as `min_up` says; below it if the fallback serves, or it fails open.
    - And one of them must get clients in the kernel's table, as it should.
    - While servers are not proven yet, while they are about to be written, and while an operator, the brake or other
      directors hold a table in which servers are, nothing changes. The same if the kernel refuses what is written for
      this service, and servers that were to leave are still in.
    """
    name, plan, key = service.config.name, service.plan, service.key
    if why := cut_off(service, local):
        return _said_cut_off(service, reconciler, why)
    gets = shadow or next(takers(service, reconciler), None) is not None
    instead = "it fails open" if plan.rule is Rule.FAIL_OPEN else "the fallback serves" if plan.uses_fallback else ""
    if gets and not plan.is_below:
        return Say(True, name, "enough real servers may serve")
    if gets and instead:
        return Say(True, name, instead)
    has_servers = _has_servers(service, reconciler)
    gate = reconciler.gate
    if has_servers and gate.is_held(key):
        return Say(None, name, HELD)
    if has_servers and gate.is_braked(key):
        return Say(None, name, "the brake holds its table, in which servers serve")
    if has_servers and gate.is_vetoed(key):
        return Say(None, name, "other directors hold servers that are down here, which get its clients")
    if plan.is_below and not instead:
        if plan.is_waiting or not plan.is_settled:
            return Say(None, name, "its servers are not proven yet")
        if not plan.may_serve:
            return Say(False, name, "no real server may serve")
        return Say(False, name, f"only {plan.able} may serve, and min_up is {service.planned.floor.needed}")
    error = reconciler.errors.of(key)
    after = f": {error}" if error else ""
    if has_servers and not (error and _are_dead(service, reconciler)):
        return Say(None, name, f"its table is being written{after}")
    return Say(False, name, f"its servers are not in the kernel's table{after}")


def _said_cut_off(service: ServiceState, reconciler: Reconciler, why: str) -> Say:
    """Say what follows when this director reaches no server of a service.

    why: what is wrong with the director.
    """
    name = service.config.name
    if reconciler.gate.is_held(service.key) and _has_servers(service, reconciler):
        return Say(None, name, HELD)
    if not _is_tried(service, reconciler):
        return Say(None, name, "its servers are not probed yet")
    return Say(False, name, f"{why}: {NOT_REACHED}")


def _is_tried(service: ServiceState, reconciler: Reconciler) -> bool:
    """Whether the servers that get a service's clients have been probed since the start; all, if none gets any."""
    taking = set(takers(service, reconciler))
    return all(
        watch.probe.last is not None
        for server in service.members
        if not taking or server.key in taking
        for watch in server.watches
        if watch.probe.is_run and not watch.probe.is_agent
    )


def _has_servers(service: ServiceState, reconciler: Reconciler) -> bool:
    """Whether any server of a service gets clients in the kernel's table, whether it should or not."""
    entry = reconciler.actual.get(service.key)
    return entry is not None and any(record.weight for record in entry.destinations.values())


def _are_dead(service: ServiceState, reconciler: Reconciler) -> bool:
    """Whether all servers that get a service's clients are known to be down. Those configured no more may serve yet."""
    entry = reconciler.actual.get(service.key)
    getting = {key for key, record in entry.destinations.items() if record.weight} if entry is not None else set()
    return getting <= {server.key for server in service.members if server.health.verdict is Verdict.DOWN}
