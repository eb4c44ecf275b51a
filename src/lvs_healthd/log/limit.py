"""Keeps a mass failure from flooding the log: a limit per event name, and one summary of what it held back."""

from collections import Counter, deque

LINES_PER_SECOND = 20
"""Per event name. Enough to see what is going on, little enough to read; the metrics count every one."""

_WINDOW_S = 1.0

REPEAT_S = 60.0
"""The same message of a library is written at most this often."""

TOLD = 20
"""The summary names so many of what it held back, the most frequent first."""


class RateLimit:
    """Admits at most `LINES_PER_SECOND` lines of one name in any second. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._admitted: dict[str, deque[float]] = {}
        self._repeated: dict[str, float] = {}
        self._suppressed: Counter[tuple[str, str]] = Counter()
        self._since = 0.0

    def admit(self, name: str, now: float, *, kind: str = "", about: str = "") -> bool:
        """Whether a line of this name may be written now; if not, it is counted for the summary.

        Lines of one name but different `kind` have a limit each. `about` is what the summary says of it.
        """
        times = self._admitted.setdefault(name + kind, deque(maxlen=LINES_PER_SECOND))
        if len(times) == LINES_PER_SECOND and now - times[0] < _WINDOW_S:
            self._count(name, now, about)
            return False
        times.append(now)
        return True

    def admit_message(self, name: str, now: float, message: str) -> bool:
        """Whether a message that may repeat for ever may be written now; if not, it is counted for the summary."""
        if now - self._repeated.get(message, -REPEAT_S) < REPEAT_S:
            self._count(name, now, message)
            return False
        # Messages hold numbers and addresses, so there may be any number of different ones.
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
        """Return how many lines were held back since the last call: by event name, and the most frequent in words."""
        counts: Counter[str] = Counter()
        for (name, _), count in self._suppressed.items():
            counts[name] += count
        told = {f"{name} {about}": count for (name, about), count in self._suppressed.most_common(TOLD) if about}
        self._suppressed.clear()
        return dict(counts.most_common()), told
