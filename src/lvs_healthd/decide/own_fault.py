"""Says whether this director itself is why a service's clients reach nobody: it has a fault, and reaches no server.

Nothing of that changes a verdict, because the servers may be well. But where another director could serve, this one
should not keep the clients: the track file and the announced addresses ask here. It is pure.
"""

from collections.abc import Iterable, Sequence

from lvs_healthd.decide.held import ServiceState, Watch
from lvs_healthd.decide.silence import is_up
from lvs_healthd.decide.way import Held
from lvs_healthd.probes.outcome import OutcomeKind

NOT_REACHED = "none of its servers is reached"


def symptoms(ongoing: Iterable[str], brakes: Iterable[Held]) -> tuple[str, ...]:
    """Return what is wrong with this director's own network, in words.

    A brake counts by what it has found wrong with the director. Without such a cause, all directors may see the same
    silence.

    ongoing: the faults of its network that are there now.
    brakes: the ways on which the brake is on.
    """
    return tuple(dict.fromkeys([*ongoing, *(cause for each in brakes for cause in each.causes)]))


def own_fault(service: ServiceState, local: str) -> str:
    """Say what is wrong with this director, as far as a service is concerned; empty if nothing is.

    local: what is wrong with it as a whole, in words; empty if nothing is.
    """
    return local or _blind(service)


def cut_off(service: ServiceState, local: str) -> str:
    """Say what is wrong with this director, if it reaches none of a service's servers; otherwise return "".

    local: as for `own_fault`.
    """
    why = own_fault(service, local)
    return why if why and not _is_reached(service) else ""


def _is_reached(service: ServiceState) -> bool:
    """Whether a probe of any server of a service passed last, or a server serves that is not checked."""
    spares = service.plan.spares
    unchecked = any(not spare.watches and any(spare.key == each.key for each in spares) for spare in service.spares)
    return unchecked or any(_probed_up(server.watches) for server in service.members)


def _blind(service: ServiceState) -> str:
    """Say why no probe of a service can tell anything; empty if one can. That is this director's fault by definition.

    Each must have been unsure as often in succession as takes a server down.
    """
    first = ""
    for server in service.members:
        for watch in server.watches:
            probe = watch.probe
            if probe.is_agent:
                continue
            last = probe.last
            if last is None or last.kind is not OutcomeKind.UNSURE or probe.streak < watch.check.fall:
                return ""
            first = first or last.detail
    return first


def _probed_up(watches: Sequence[Watch]) -> bool:
    return bool(watches) and all(is_up(watch.probe) for watch in watches)
