"""Says whether a probe has shown that the way to its target works, or has met nothing but silence."""

import enum

from lvs_healthd.config.check_model import AnyCheck, ExecCheck
from lvs_healthd.decide.blame import AT_ONCE_S, has_answered
from lvs_healthd.decide.held import ProbeState
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason


class Found(enum.Enum):
    """What the last outcome of a probe says about the way to its target."""

    ANSWER = enum.auto()
    SILENCE = enum.auto()
    NOTHING = enum.auto()


_SILENT = frozenset({Reason.TIMEOUT, Reason.UNREACHABLE})
"""The reasons of failures in which nothing came back."""

_OWN = frozenset({Reason.LOCAL_NETWORK, Reason.LOCAL_LIMIT, Reason.NO_ROUTE})
"""The reasons of unsure outcomes in which nothing came back through a fault of the director."""


def found(check: AnyCheck, outcome: Outcome, course: Course | None) -> Found:
    """Return what an outcome says about the way to the check's target.

    course: how the probe went; None if that is not known.
    """
    if isinstance(check, ExecCheck):  # who knows what a program has asked
        return Found.NOTHING
    is_heard = course is not None and (course.connected_s is not None or course.answered_s is not None)
    if has_answered(check, outcome) or (is_heard and outcome.kind is not OutcomeKind.UP):
        return Found.ANSWER
    return Found.SILENCE if may_be_silence(outcome) else Found.NOTHING


def may_be_silence(outcome: Outcome) -> bool:
    """Whether an outcome is SILENCE unless something else shows that the target has answered."""
    reason = outcome.reason
    return reason in _SILENT or (reason in _OWN and outcome.kind is OutcomeKind.UNSURE)


def answered_since(probe: ProbeState, since: float) -> bool:
    """Whether the last outcome of a probe shows an answer, and the probe began after `since`.

    since: seconds on the monotonic clock.
    """
    last, at = probe.last, probe.last_at
    if last is None or at is None or at - (probe.latency_s or 0.0) <= since + AT_ONCE_S or not probe.watches:
        return False
    return found(probe.check, last, probe.course) is Found.ANSWER


def is_up(probe: ProbeState) -> bool:
    """Whether the last probe passed."""
    return probe.last is not None and probe.last.kind is OutcomeKind.UP


def passes(probe: ProbeState, now: float) -> bool:
    """Whether a probe has passed lately.

    now: seconds on the monotonic clock.
    """
    since = now - probe.check.interval - probe.check.timeout
    return is_up(probe) and answered_since(probe, since)
