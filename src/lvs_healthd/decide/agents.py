"""Says what an agent's word means for its server, and what its silence means. Pure."""

import functools
from collections.abc import Iterable

from lvs_healthd.config.check_model import AgentCheck, AnyCheck
from lvs_healthd.health.machine import UNKNOWN, UP, Health
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, unsure


@functools.lru_cache(maxsize=1024)
def word_of(outcome: Outcome) -> Outcome:
    """Return what an agent's probe found, where only its own word counts: that it cannot be reached proves nothing.

    The same outcome always gives the same object, because a repeated outcome costs nothing further on.
    """
    if outcome.kind is not OutcomeKind.DOWN or outcome.reason is Reason.SAID_DOWN:
        return outcome
    return unsure(Reason.NO_WORD, f"{outcome.detail}; what the agent said last stands")


def silent_agent(health: Health, check: AnyCheck, checks: Iterable[AnyCheck]) -> Health:
    """Return the health with which a check begins, given the health of any other check in its place.

    An agent that has said nothing yet says nothing against its server, as long as another check proves the server.

    checks: all checks of the server.
    """
    if health.verdict is not UNKNOWN or not isinstance(check, AgentCheck):
        return health
    is_proven_otherwise = any(not isinstance(each, AgentCheck) for each in checks)
    return Health(UP, health.since) if is_proven_otherwise else health
