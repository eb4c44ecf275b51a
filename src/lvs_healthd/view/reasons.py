"""Says why a real server has its verdict."""

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.decide.held import ServerState, Watch
from lvs_healthd.health.machine import Verdict
from lvs_healthd.plan.precedence import State
from lvs_healthd.probes.outcome import OutcomeKind


def reason_of(server: ServerState) -> str:
    """Return the reason for a real server's verdict; "" if no reason is known.

    For a server that is down, or unproven and failing, the reason begins with the check that decides. It also tells the
    address or port that the check probes, if that is not the server's own, and how many more checks are as bad:
    "ssh :2222: connection refused (+1 more)".
    """
    health, hand = server.health, server.hand
    if hand is not None and hand.state is not None:
        found = f"; its checks find: {health.detail}" if health.verdict is Verdict.DOWN and health.detail else ""
        return f"{hand.state_reason}{'; no connections left' if hand.is_empty else ''}{found}"
    special = server.special
    if special is not None and special.state is State.DAMPED and health.verdict is Verdict.UP:
        return special.reason
    if not health.detail:
        return _unsure(server) if health.passes + health.failures == 0 else ""
    deciding = next((watch for watch in server.watches if watch.health is health), None)
    if deciding is None or health.verdict is Verdict.UP or not (health.verdict is Verdict.DOWN or health.failures):
        return health.detail
    alike = sum(watch.health.verdict is health.verdict for watch in server.watches) - 1
    more = f" (+{alike} more)" if alike else ""
    return f"{deciding.check.name}{_target(deciding, server)}: {health.detail}{more}"


def _unsure(server: ServerState) -> str:
    """Say why there is no verdict yet: what the first check that has ended without one has found."""
    found = ((watch, watch.probe.last) for watch in server.watches)
    for watch, outcome in found:
        if outcome is not None and outcome.kind is OutcomeKind.UNSURE:
            return f"{watch.check.name}{_target(watch, server)}: {outcome.detail}"
    return "not probed yet"


def _target(watch: Watch, server: ServerState) -> str:
    check, own = watch.check, server.config.endpoint
    if check.address != own.address:
        return f" {Endpoint(check.address, check.port).shown}"
    return f" :{check.port}" if check.port not in {0, own.port} else ""
