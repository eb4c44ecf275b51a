"""Says in words why a line of the wanted table is as it is. Pure."""

import functools
from typing import Final

import msgspec

from lvs_healthd.health.machine import UNKNOWN, UP, Health
from lvs_healthd.ipvs.records import Why
from lvs_healthd.plan.policy import Rule, is_let_in
from lvs_healthd.plan.precedence import Special
from lvs_healthd.plan.standings import Standing, plain_standing

FALLBACK_REASON = "fallback: no real server may serve"
SERVING_REASON = "real servers serve again"
LEAVING_REASON = "not configured any more; serves until a new server is proven"
UNPROVEN_REASON = "not proven healthy yet"
CONFIGURED_REASON = "configured"
"""The reason when a reload changes a server's weight to 0 or from 0, while the server is up."""
NOBODY_ELSE_REASON = "serves all the same, because not enough others may"
"""What the reason of a damped server begins with that serves."""
FAIL_OPEN_REASON = "serves all the same, because fewer than min_up may, and below is fail_open"
"""What the reason of a server begins with that serves although it is not up."""
HELD_OUT_REASON = "waits for others, because fewer than min_up may serve, and the fallback does"
"""What the reason of a server begins with that is up and does not serve."""
BELOW_REASON = "fallback: fewer real servers may serve than min_up"
ADOPTED_REASON = "as found in the kernel's table"


def reason_for(health: Health, special: Special | None = None, rule: Rule = Rule.UP) -> Why:
    """Return the reason for a configured server's line in the wanted table.

    special: what sets it apart; None for nothing.
    rule: which servers of its service serve.
    """
    if special is not None:
        why = _special_reason(health, special)
    elif health.verdict is UNKNOWN:
        why = Why(UNPROVEN_REASON, health.first_failure)
    else:
        why = _found(health)
    return why if rule is _USUAL else _under(rule, why, health, special)


def _under(rule: Rule, why: Why, health: Health, special: Special | None) -> Why:
    """Return a server's reason under another rule than the usual one, given the reason that it has by itself."""
    standing = plain_standing(health.verdict, 1) if special is None else Standing(health.verdict, 1, special.state)
    is_kept_out = rule is Rule.HELD_OUT and (standing.serves or standing.is_spared)
    if not (is_kept_out or is_let_in(standing, rule)):
        return why
    return msgspec.structs.replace(why, reason=f"{_BECAUSE[rule]}; {why.reason}")


def _special_reason(health: Health, special: Special) -> Why:
    if special.state is not None:
        return Why(special.reason)
    if health.verdict is UNKNOWN:
        return Why(UNPROVEN_REASON, health.first_failure)
    if health.verdict is UP:
        reason = f"{special.reason}; {health.detail or ADOPTED_REASON}"
        return Why(reason, health.first_failure, is_asked=True)
    return _found(health)


def _found(health: Health) -> Why:
    """Return what the checks have found as a reason."""
    reason = health.detail or ADOPTED_REASON
    return _plain(reason) if health.first_failure is None else Why(reason, health.first_failure)


@functools.lru_cache(maxsize=1024)
def _plain(reason: str) -> Why:
    """Return the same object for the same reason, because thousands of servers may have it."""
    return Why(reason)


_USUAL: Final = Rule.UP

_BECAUSE = {
    Rule.DAMPED_TOO: NOBODY_ELSE_REASON,
    Rule.FAIL_OPEN: FAIL_OPEN_REASON,
    Rule.HELD_OUT: HELD_OUT_REASON,
}
"""Why a server serves all the same, or does not, by the rule."""
