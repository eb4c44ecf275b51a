"""Says whether services may serve on this director now: for `lvs-healthd ok`, and for the track file."""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from lvs_healthd.decide.held import ServiceState
from lvs_healthd.health.machine import Verdict
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceKey
from lvs_healthd.plan.policy import Rule
from lvs_healthd.reconcile.reconciler import Reconciler


class Serving(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Whether one service may serve."""

    service: str
    """Its name."""
    ok: bool
    """Whether the kernel's table has a server of it, with a weight above 0, that should be there."""
    why: str


class ServingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of /api/v1/ok."""

    ok: bool
    """Whether all of them may serve."""
    services: tuple[Serving, ...]


def takers(service: ServiceState, reconciler: Reconciler) -> Iterator[DestinationKey]:
    """Yield the servers that get a service's clients in the kernel's table, as they should. Fallback servers count."""
    wanted, have = reconciler.wanted, reconciler.actual.get(service.key)
    want = wanted.table.get(service.key) if wanted is not None else None
    if want is None or have is None:
        return
    for key, record in want.destinations.items():
        if record.weight and _weight(have.destinations.get(key)):
            yield key


def serving_answer(
    services: Mapping[str, ServiceState | None],
    reconciler: Reconciler,
    held_by: Callable[[ServiceKey], str],
    unread: str,
) -> ServingAnswer:
    """Say of each of these services whether it may serve.

    services: the state of each, by its name; None if a reload has just removed it.
    held_by: returns what keeps the daemon from writing what is wanted for a service; "" if nothing does.
    unread: why nothing is known of the kernel's table; "" if it is known.
    """
    found = []
    for name, service in services.items():
        if unread or service is None:
            found.append(
                Serving(service=name, ok=False, why=f"the kernel's table is {unread}" if unread else "removed")
            )
        else:
            found.append(serving(service, reconciler, held_by(service.key)))
    return ServingAnswer(ok=all(each.ok for each in found), services=tuple(found))


def serving(service: ServiceState, reconciler: Reconciler, held_by: str) -> Serving:
    """Say whether a service may serve.

    held_by: what keeps the daemon from writing what is wanted for it; "" if nothing does.
    """
    taking = set(takers(service, reconciler))
    why = _how(service, taking) if taking else _why_not(service, reconciler, held_by)
    return Serving(service=service.config.name, ok=bool(taking), why=why)


def is_unproven(service: ServiceState) -> bool:
    """Whether it is not known yet if a service may serve, because its servers are still being proven."""
    return any(server.health.verdict is Verdict.UNKNOWN and server.config.weight for server in service.servers)


def _how(service: ServiceState, taking: set[DestinationKey]) -> str:
    spares = [str(spare.key) for spare in service.planned.fallback if spare.key in taking]
    real = sum(server.key in taking for server in service.servers)
    if spares and not real:
        return f"the fallback serves: {', '.join(spares)}"
    if service.plan.rule is Rule.FAIL_OPEN:
        return f"it fails open: {real} of {len(service.servers)} real servers serve, whatever their checks find"
    if not real:
        return "servers serve that are not configured any more, until the new ones are proven"
    return f"{real} of {len(service.servers)} real servers serve"


def _why_not(service: ServiceState, reconciler: Reconciler, held_by: str) -> str:
    wanted = reconciler.wanted
    want = wanted.table.get(service.key) if wanted is not None else None
    if want is not None and any(record.weight for record in want.destinations.values()):
        why = f", and nothing is written: {held_by}" if held_by else ""
        error = reconciler.errors.of(service.key)
        return f"the servers that may serve are not in the kernel's table{why}{f': {error}' if error else ''}"
    if is_unproven(service):
        return "no real server is proven healthy yet"
    return "no real server may serve" + (", and no fallback server" if service.config.fallback else "")


def _weight(record: DestinationRecord | None) -> int:
    return 0 if record is None else record.weight
