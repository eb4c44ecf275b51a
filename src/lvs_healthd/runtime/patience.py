"""How long to leave alone what somebody else undoes again and again: a line of the table, a setting.

Undone once is an accident, which is mended at once. Undone `TIMES` times in succession is another program that manages
the same thing and does not give in: writing as fast as it does would only make the thing flap.
"""

TIMES = 3
MAX_HOLD_S = 60.0
"""The longest that a thing stays as somebody else wants it."""

_MOST_DOUBLINGS = 10


def hold_s(times: int, resync_s: float) -> float:
    """Return how long to leave alone what was undone `times` times in succession, `TIMES` or more; seconds.

    resync_s: how often the thing is looked at, seconds. The hold begins with twice that and doubles each time.
    """
    # Bounded before it is a power: a fight may last for years.
    return min(resync_s * 2.0 ** min(times - TIMES + 1, _MOST_DOUBLINGS), MAX_HOLD_S)
