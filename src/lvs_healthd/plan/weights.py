"""The rule for a server's weight, where its checks ask for one. Pure."""

import math
from collections.abc import Iterable
from typing import NamedTuple

from lvs_healthd.probes.outcome import AskedWeight

MOST = 65535
"""The greatest weight that a configuration can give, which is ipvsadm's."""


class Weight(NamedTuple):
    """The weight of a server that may serve, if it is not the configured one."""

    value: int
    reason: str
    """Which check asks for it."""


class Asking(NamedTuple):
    """A check that asks for a weight."""

    check: str
    """The check's name."""
    asked: AskedWeight


def weight_of(configured: int, asking: Iterable[Asking]) -> Weight | None:
    """Return the weight of a server whose checks ask for these weights; None for the configured one.

    If several checks ask, the least weight counts. A share is taken of the configured weight and rounded up, so that a
    server that may serve does. A configured weight of 0 stays 0, because an operator has drained the server.
    """
    weights = [(_asked(configured, each.asked), each) for each in asking]
    if not weights or not configured:
        return None
    value, least = min(weights, key=lambda weight: weight[0])
    return None if value == configured else Weight(value, f"{least.check} asks for {least.asked}")


def _asked(configured: int, asked: AskedWeight) -> int:
    if not asked.is_share:
        return min(asked.value, MOST)
    return min(math.ceil(configured * asked.value / 100), MOST)
