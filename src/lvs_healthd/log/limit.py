"""Keeps a mass failure from flooding the log: a limit per event name, and one summary of what it held back."""

from collections import Counter, deque

LINES_PER_SECOND = 20
"""Per event name. Enough to see what is going on, little enough to read; the metrics count every one."""

_WINDOW_S = 1.0


class RateLimit:
    """Admits at most `LINES_PER_SECOND` lines of one name in any second. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._admitted: dict[str, deque[float]] = {}
        self._suppressed: Counter[str] = Counter()
        self._since = 0.0

    def admit(self, name: str, now: float) -> bool:
        """Whether a line of this name may be written now; if not, it is counted for the summary."""
        times = self._admitted.setdefault(name, deque(maxlen=LINES_PER_SECOND))
        if len(times) == LINES_PER_SECOND and now - times[0] < _WINDOW_S:
            if not self._suppressed:
                self._since = now
            self._suppressed[name] += 1
            return False
        times.append(now)
        return True

    def due(self, now: float) -> bool:
        """Whether a second has passed since the first line that was held back."""
        return bool(self._suppressed) and now - self._since >= _WINDOW_S

    def take(self) -> dict[str, int]:
        """Return how many lines were held back since the last call, by event name, most first."""
        counts = dict(self._suppressed.most_common())
        self._suppressed.clear()
        return counts
