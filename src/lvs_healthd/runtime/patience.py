"""Computes how long to wait before a write is repeated that somebody else undoes again and again.

The write may be to a line of the table or to a setting. A single undone write is an accident, and is repaired at once.
`TIMES` undone writes in succession are a fight: another program manages the same line or setting, and does not give in.
If the daemon wrote as often as that program, the line or setting would only flap.
"""

TIMES = 3
"""How many undone writes in succession make a fight."""

MAX_HOLD_S = 60.0
"""The longest time for which a line or setting is left as somebody else wants it, seconds."""

_MOST_DOUBLINGS = 10


def hold_s(times: int, resync_s: float) -> float:
    """Return how long to wait before the next write, seconds.

    times: how many writes in succession were undone, at least `TIMES`.
    resync_s: the time between two readings of the line or setting, seconds. The first wait is twice as long, and each
    later wait is twice the one before.
    """
    # The exponent is limited before the power is computed, because a fight may last for years.
    return min(resync_s * 2.0 ** min(times - TIMES + 1, _MOST_DOUBLINGS), MAX_HOLD_S)
