"""Says in words what is probably wrong when a server answers on its own address, but not through its service.

What each fault looks like was seen on the kernel: tests/kernel/test_paths.py.
"""

from lvs_healthd.config.check_ways import DataPath
from lvs_healthd.config.model import Forward
from lvs_healthd.probes.outcome import Outcome, Reason


def diagnosis(path: DataPath, service: str, outcome: Outcome) -> str:
    """Return what is probably wrong on the way to a server.

    path: the way, by which the probe failed.
    service: the virtual service's address.
    outcome: the failure, whose reason is TIMEOUT, UNREACHABLE or REFUSED.
    """
    match path.forward:
        case Forward.DR:
            why = _by_dr(service, outcome.reason)
        case Forward.TUN:
            why = _by_tunnel(service, outcome)
        case _:
            why = _by_nat(outcome.reason)
    return f"answers on its own address, not by {path.method}: {why} ({outcome.detail})"


def _by_dr(service: str, reason: Reason) -> str:
    match reason:
        case Reason.UNREACHABLE:
            return f"{service} missing on the server, which sends the packets back in a loop?"
        case Reason.REFUSED:
            return f"does the server's program listen on {service}?"
        case _:
            return f"{service} missing on the server?"


def _by_tunnel(service: str, outcome: Outcome) -> str:
    if outcome.reason is Reason.REFUSED:
        if "protocol" in outcome.detail:
            return "tunnel not unwrapped, because the server's kernel lacks its module?"
        return f"tunnel not unwrapped, because its device is missing or down? Or does nobody listen on {service}?"
    if outcome.reason is Reason.UNREACHABLE:
        return f"{service} missing on the server, or no route for its packets there?"
    return f"tunnel not unwrapped, or {service} missing on the server, or rp_filter drops what comes out of the tunnel?"


def _by_nat(reason: Reason) -> str:
    if reason is Reason.REFUSED:
        return "something on the way refuses it"
    return "its way back does not lead through the director: is this director its default route?"
