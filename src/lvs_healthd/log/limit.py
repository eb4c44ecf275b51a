"""Keeps a mass failure from flooding the log: a limit per event name, and one summary of the lines held back."""

from collections import Counter, deque

LINES_PER_SECOND = 20
"""Lines per event name. Enough to see what is going on, few enough to read. The metrics count every event."""

_WINDOW_S = 1.0

REPEAT_S = 60.0
"""The shortest time between two writes of the same message from a library."""

TOLD = 20
"""How many kinds of held-back lines the summary names, the most frequent first."""


class RateLimit:
    """Admits at most `LINES_PER_SECOND` lines of one name in any second. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._admitted: dict[str, deque[float]] = {}
        self._repeated: dict[str, float] = {}
        self._suppressed: Counter[tuple[str, str]] = Counter()
        self._since = 0.0

    def admit(self, name: str, now: float, *, kind: str = "", about: str = "") -> bool:
        """Whether a line of this name may be written now. If not, it is counted for the summary.

        kind: lines of one name but different kinds have separate limits.
        about: what the summary says about the line.
        """
        times = self._admitted.setdefault(name + kind, deque(maxlen=LINES_PER_SECOND))
        if len(times) == LINES_PER_SECOND and now - times[0] < _WINDOW_S:
            self._count(name, now, about)
            return False
        times.append(now)
        return True

    def admit_message(self, name: str, now: float, message: str) -> bool:
        """Whether a message that may repeat forever may be written now. If not, it is counted for the summary."""
        if now - self._repeated.get(message, -REPEAT_S) < REPEAT_S:
            self._count(name, now, message)
            return False
        # Old messages are forgotten: they contain numbers and addresses, so there is no end of different ones.
        self._repeated = {each: at for each, at in self._repeated.items() if now - at < REPEAT_S}
        self._repeated[message] = now
        return self.admit(name, now, about=message)

    def _count(self, name: str, now: float, about: str) -> None:
        if not self._suppressed:
            self._since = now
        self._suppressed[name, about] += 1

    def due(self, now: float) -> bool:
        """Whether a second has passed since the first line that was held back."""
        return bool(self._suppressed) and now - self._since >= _WINDOW_S

    def take(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many lines were held back since the last call: by event name, and the most frequent by text."""
        counts: Counter[str] = Counter()
        for (name, _), count in self._suppressed.items():
            counts[name] += count
        told = {f"{name} {about}": count for (name, about), count in self._suppressed.most_common(TOLD) if about}
        self._suppressed.clear()
        return dict(counts.most_common()), told
