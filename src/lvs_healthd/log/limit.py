"""Keeps a mass failure from flooding the log: limits the lines of each event name, and sums up those held back."""

from collections import Counter, deque

LINES_PER_SECOND = 20
"""The maximum number of lines per second with the same event name: enough to see what is going on, and few enough to
read. The metrics count every event."""

_WINDOW_S = 1.0

REPEAT_S = 60.0
"""The minimum time between two log lines with the same message from a library, seconds."""

TOLD = 20
"""The maximum number of texts that a summary of held-back lines lists. The most frequent come first."""


class RateLimit:
    """Admits at most `LINES_PER_SECOND` lines with the same event name in any second.

    In the methods, `now` is monotonic time, seconds.
    """

    def __init__(self) -> None:
        self._admitted: dict[str, deque[float]] = {}
        self._repeated: dict[str, float] = {}
        self._suppressed: Counter[tuple[str, str]] = Counter()
        self._since = 0.0

    def admit(self, name: str, now: float, *, kind: str = "", about: str = "") -> bool:
        """Return whether a line may be written now. If not, it is counted for the summary.

        name: the event name.
        kind: separates lines with the same name; each kind has a limit of its own.
        about: what the summary says about the line.
        """
        times = self._admitted.setdefault(name + kind, deque(maxlen=LINES_PER_SECOND))
        if len(times) == LINES_PER_SECOND and now - times[0] < _WINDOW_S:
            self._count(name, now, about)
            return False
        times.append(now)
        return True

    def admit_message(self, name: str, now: float, message: str) -> bool:
        """Return whether a library's message may be written now. If not, it is counted for the summary.

        The same message is admitted at most once in `REPEAT_S`.
        """
        if now - self._repeated.get(message, -REPEAT_S) < REPEAT_S:
            self._count(name, now, message)
            return False
        # Old messages are forgotten, because messages contain numbers and addresses, so there may be ever more of them.
        self._repeated = {each: at for each, at in self._repeated.items() if now - at < REPEAT_S}
        self._repeated[message] = now
        return self.admit(name, now, about=message)

    def _count(self, name: str, now: float, about: str) -> None:
        if not self._suppressed:
            self._since = now
        self._suppressed[name, about] += 1

    def due(self, now: float) -> bool:
        """Return whether the summary is due: a second has passed since the first line that was held back."""
        return bool(self._suppressed) and now - self._since >= _WINDOW_S

    def take(self) -> tuple[dict[str, int], dict[str, int]]:
        """Return how many lines were held back since the last call.

        The first dictionary has the counts by event name, and the second has the most frequent lines by their text.
        """
        counts: Counter[str] = Counter()
        for (name, _), count in self._suppressed.items():
            counts[name] += count
        told = {f"{name} {about}": count for (name, about), count in self._suppressed.most_common(TOLD) if about}
        self._suppressed.clear()
        return dict(counts.most_common()), told
