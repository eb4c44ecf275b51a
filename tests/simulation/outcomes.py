"""What probes may find in a simulation."""

from lvs_healthd.probes.outcome import AskedWeight, Course, Outcome, OutcomeKind, Reason, down, unsure, up
from tests.simulation.documents import AGENT, TIMEOUT_S

PASS = "pass"
REFUSED = "refused"
BAD = "bad"
TIMEOUT = "timeout"
UNREACHABLE = "unreachable"
NO_ROUTE = "no_route"
LIMIT = "limit"
STALLED = "stalled"
HALF = "half"
NONE = "none"
SAID_DOWN = "said_down"

_SURE: dict[str, Outcome] = {
    PASS: up("ok"),
    REFUSED: down(Reason.REFUSED, "connection refused"),
    BAD: down(Reason.BAD_STATUS, "status 503, expected 200-299"),
    TIMEOUT: down(Reason.TIMEOUT, "no answer within 1s"),
    UNREACHABLE: down(Reason.UNREACHABLE, "host unreachable"),
    NO_ROUTE: down(Reason.NO_ROUTE, "no route to host"),
}
_SAID: dict[str, Outcome] = {
    PASS: up("up"),
    HALF: Outcome(OutcomeKind.UP, Reason.PASSED, "50%", asks=AskedWeight(50, is_share=True)),
    NONE: Outcome(OutcomeKind.UP, Reason.PASSED, "drain", asks=AskedWeight(0, is_share=True)),
    SAID_DOWN: down(Reason.SAID_DOWN, "down"),
}
"""What an agent says. If its probe finds anything else, it says nothing."""

UNSURE = {
    LIMIT: (Reason.LOCAL_LIMIT, "too many open files"),
    STALLED: (Reason.STALLED, "a process of ours has hung"),
}
ANSWERS = (PASS, REFUSED, BAD, HALF, NONE, SAID_DOWN)
PASSES = (PASS, HALF, NONE)
SILENT = (TIMEOUT, UNREACHABLE)
LATE = (TIMEOUT, UNREACHABLE, NO_ROUTE)
"""What a probe finds only at its deadline, and what may be the director's fault."""


def outcome(result: str, kind: str) -> Outcome:
    """Return what the engine hands over. A result that is sure is the same object each time.

    kind: the type of the check.
    """
    if kind == AGENT and result in _SAID:
        return _SAID[result]
    return unsure(*UNSURE[result]) if result in UNSURE else _SURE.get(result, _SURE[BAD])


def is_word(result: str) -> bool:
    """Return whether an agent that is found like this says anything."""
    return result in _SAID


def course(result: str, most_s: float) -> Course:
    """Return how a probe went.

    most_s: how long ago the probe before had ended, seconds. No probe begins before that.
    """
    total_s = max(0.0, min(TIMEOUT_S if result in LATE else 0.01, most_s))
    if result not in (*LATE, REFUSED, *UNSURE):
        return Course(total_s, connected_s=total_s / 2, answered_s=total_s)
    return Course(total_s)
