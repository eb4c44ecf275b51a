"""The rise/fall machine, which turns one check's outcomes into its verdict.

It is pure: the caller passes the time with each outcome.

    UNKNOWN --rise passes--> UP --fall failures--> DOWN --rise passes--> UP
    UNKNOWN --fall failures--> DOWN

Only consecutive outcomes count: a pass cancels the failures before it, and a failure cancels the passes before it.
(In loxilb, sporadic misses once added up to a flap.) An unsure outcome neither counts nor breaks a streak, because it
is no evidence.
"""

import enum
from collections.abc import Iterable
from typing import Final

import msgspec

from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason


class Verdict(enum.StrEnum):
    """The health of a check or of a server, after rise and fall."""

    UNKNOWN = "unknown"
    """Neither up nor down has been proven yet. `rise` passes in a row are needed before the server serves."""
    UP = "up"
    DOWN = "down"


UP: Final = Verdict.UP
DOWN: Final = Verdict.DOWN
UNKNOWN: Final = Verdict.UNKNOWN
"""The verdicts again, for what is done ten thousand times when ten thousand servers fail. Python finds `Verdict.UP` in
30 ns and `UP` in 6, and a change of verdict compares some twenty times."""


class Health(msgspec.Struct, frozen=True, gc=False):
    """One check's verdict and the streak of outcomes behind it. Times are seconds on the monotonic clock."""

    verdict: Verdict
    since: float
    reason: Reason | None = None
    """The reason of the last outcome that counted; None before the first."""
    detail: str = ""
    """The detail of the last outcome that counted, which may be from before a restart; empty if there is none."""
    passes: int = 0
    """How many passes there were in a row, counted only while the verdict is not up."""
    failures: int = 0
    """How many failures there were in a row, counted up to `fall`."""
    first_failure: float | None = None
    """When the first failed probe of the current streak began. The time to detection is measured from this moment."""


def step(health: Health, outcome: Outcome, *, rise: int, fall: int, now: float, latency_s: float = 0.0) -> Health:
    """Return the health after one more outcome. When nothing changes, which is the usual case, return the same object.

    If an outcome changes nothing, the same outcome changes nothing the next time either.

    now: when the probe ended, seconds on the monotonic clock.
    latency_s: how long the probe took, seconds.
    """
    kind = outcome.kind
    if kind is _FAILED:
        return _failed(health, outcome, fall, now, now - latency_s)
    return _passed(health, outcome, rise, now) if kind is OutcomeKind.UP else health


def seen(outcome: Outcome, streak: int, *, rise: int, fall: int, now: float) -> Health:
    """Return the first health of a check whose probe already runs for other checks.

    The check takes over the probe's streak so far. It is up after `rise` passes, down after `fall` failures, and
    otherwise unknown.

    outcome: the last outcome of the streak. It must not be unsure.
    streak: the number of consecutive outcomes of this kind.
    now: seconds on the monotonic clock.
    """
    if outcome.kind is OutcomeKind.UP:
        verdict = UP if streak >= rise else UNKNOWN
        return Health(verdict, now, outcome.reason, outcome.detail, passes=min(streak, rise))
    verdict = DOWN if streak >= fall else UNKNOWN
    return Health(verdict, now, outcome.reason, outcome.detail, failures=min(streak, fall))


def _passed(health: Health, outcome: Outcome, rise: int, now: float) -> Health:
    if health.verdict is UP:
        if health.failures == 0 and health.reason is outcome.reason:
            return health
        return Health(UP, health.since, outcome.reason, outcome.detail)
    passes = health.passes + 1
    if passes >= rise:
        return Health(UP, now, outcome.reason, outcome.detail, passes=passes)
    return Health(
        health.verdict, health.since, outcome.reason, outcome.detail, passes=passes, first_failure=health.first_failure
    )


def _failed(health: Health, outcome: Outcome, fall: int, now: float, began: float) -> Health:
    if health.verdict is DOWN:
        if health.passes == 0 and health.failures >= fall and health.detail == outcome.detail:
            return health
        failures = min(health.failures + 1, fall)
        return Health(
            DOWN,
            health.since,
            outcome.reason,
            outcome.detail,
            failures=failures,
            first_failure=health.first_failure,
        )
    failures = health.failures + 1
    first_failure = began if health.failures == 0 else health.first_failure
    fallen = failures >= fall
    return Health(
        DOWN if fallen else health.verdict,
        now if fallen else health.since,
        outcome.reason,
        outcome.detail,
        failures=failures,
        first_failure=first_failure,
    )


def combined(checks: Iterable[Health]) -> Health:
    """Return the health of a server, which is the worst health among its checks.

    If several checks are equally bad, return the health whose verdict changed last.

    Raises `ValueError` when there are no checks.
    """
    return max(checks, key=lambda health: (_BADNESS[health.verdict], health.since))


_FAILED: Final = OutcomeKind.DOWN

_BADNESS = {UP: 0, UNKNOWN: 1, DOWN: 2}
