"""Whose wish about a server counts: the operator's, the server's own, or its health's. Pure.

State: disabled > drained > damped > the verdict of the checks. A disabled server is out of the table. A drained one
has weight 0, so that its connections live on, and is out when they are gone. A damped one is treated as if it were
down.

Weight: the operator's or else the configured one, times the share for which the server's checks ask, times the share
that a slow start allows. It is rounded up, so that a server that may serve does. A check may also ask for a weight of
its own, which replaces the configured one, but not the operator's. If several checks ask, the least weight counts.
"""

import enum
from collections.abc import Iterable
from typing import NamedTuple

from lvs_healthd.probes.outcome import AskedWeight

MOST_WEIGHT = 65535
"""The greatest weight that a configuration can give, which is ipvsadm's."""


FULL = 100
"""The share of its weight that a server has without a slow start, percent."""


class State(enum.StrEnum):
    """What keeps a server from serving, whatever its checks find."""

    DISABLED = "disabled"
    DRAINED = "drained"
    DAMPED = "damped"
    """It flaps, and is held out until it is steady."""


class Hand(NamedTuple):
    """What operators want of a server."""

    state: State | None = None
    state_reason: str = ""
    """Who wants that, and why, such as "drained by uid 0: kernel update"."""
    weight: int | None = None
    """The weight that they have given it; None for the configured one."""
    weight_reason: str = ""
    is_empty: bool = False
    """Whether a drained server has no connections left, or its time for them is up."""


class Asking(NamedTuple):
    """A check that asks for a weight."""

    check: str
    """The check's name."""
    asked: AskedWeight


class Special(NamedTuple):
    """What sets a server apart from one that serves by its verdict, with its configured weight."""

    state: State | None
    weight: int
    """Its weight when it serves."""
    reason: str
    """Who wants it to be special, and why."""
    is_empty: bool = False
    """Whether a drained server is out of the table."""


def special(
    configured: int, hand: Hand | None, asking: Iterable[Asking], damped: str = "", ramp: int = FULL
) -> Special | None:
    """Return what sets a server apart; None if nothing does.

    configured: its configured weight. 0 stays 0 unless an operator says otherwise.
    hand: what operators want of it; None for nothing.
    asking: its checks that ask for a weight.
    damped: why it is held out because it flaps; empty if it is not.
    ramp: the share of its weight that a slow start allows now, percent.
    """
    hundredfold, reason = _hundredfold(configured, hand, asking)
    weight = _rounded_up(hundredfold * ramp, 100 * 100)
    if weight != _rounded_up(hundredfold, 100):
        own = f"slow start at {ramp}%"
        reason = f"{own}; {reason}" if reason else own
    if hand is not None and hand.state is not None:
        return Special(hand.state, weight, hand.state_reason, hand.is_empty)
    if damped:
        return Special(State.DAMPED, weight, damped)
    return None if weight == configured else Special(None, weight, reason)


def _hundredfold(configured: int, hand: Hand | None, asking: Iterable[Asking]) -> tuple[int, str]:
    """Return a hundred times the weight before any slow start, and why it is not the configured one."""
    base, reason, is_given = configured, "", False
    if hand is not None and hand.weight is not None:
        base, reason, is_given = hand.weight, hand.weight_reason, True
    asked = [(_asked(base, each.asked), each) for each in asking if each.asked.is_share or not is_given]
    if not asked or not base:
        return 100 * base, reason
    value, least = min(asked, key=lambda weight: weight[0])
    if _rounded_up(value, 100) == base:
        return value, reason
    own = f"{least.check} asks for {least.asked}"
    return value, f"{own}; {reason}" if reason else own


def _asked(base: int, asked: AskedWeight) -> int:
    """Return a hundred times the weight for which a check asks."""
    return min(asked.value * (base if asked.is_share else 100), 100 * MOST_WEIGHT)


def _rounded_up(value: int, divisor: int) -> int:
    return -(-value // divisor)
