"""How long to leave alone what somebody else undoes again and again: a line of the table or a setting.

A single undone write is an accident, and is repaired at once. `TIMES` undone writes in succession are a fight: another
program manages the same thing and does not give in. Writing as fast as it does would only make the thing flap.
"""

TIMES = 3
"""How many undone writes in succession make a fight."""

MAX_HOLD_S = 60.0
"""The longest time for which a thing stays as somebody else wants it."""

_MOST_DOUBLINGS = 10


def hold_s(times: int, resync_s: float) -> float:
    """Return how long to wait before the next write, seconds.

    times: how many writes in succession were undone, at least `TIMES`.
    resync_s: the time between two looks at the thing, seconds. The first hold is twice that, and each one doubles.
    """
    # The exponent is bounded before the power is taken: a fight may last for years.
    return min(resync_s * 2.0 ** min(times - TIMES + 1, _MOST_DOUBLINGS), MAX_HOLD_S)
