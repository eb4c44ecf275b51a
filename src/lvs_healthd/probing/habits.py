"""Learns when a target ends idle connections, so that it is no surprise.

Some servers say how long they keep one (`KeptExchange.limit_s`). Of the others it is learnt: two connections, one after
the other, end at the same age, and the target still listens after each. Reloads must not be taken for that, so a
connection that lives as long as the one before did counts against it.
"""

LATE_S = 1.0
"""How much earlier or later than its limit a target may end an idle connection, seconds. Node and lighttpd are a second
late. Timers are read late too, so a tenth of a second is added."""

FORGET_S = 600.0
"""After how many seconds a limit is forgotten that lets no connection be kept until the next probe. Then keeping is
tried again, because somebody may have configured the server."""

_LEAST_S = 0.9
"""Servers keep idle connections for a second at least, so earlier ends have another cause."""

_MOST_SURVIVED = 2
"""So many probes over connections that were idle for as long as the last one that ended refute that this was a limit.
One alone may be early by chance, if the limit is nearly the interval."""

_SLACK_S = 0.1
_NEARLY = 1.05
"""By this factor a probe may come later than its interval."""


class Habit:
    """What is known of one target. All ages are seconds."""

    __slots__ = ("_age_s", "_ended_s", "_forget_at", "_limit_s", "_survived")

    def __init__(self) -> None:
        self._ended_s: float | None = None
        """The age of the connection that ended last, until it is known whether the target still listens."""
        self._age_s: float | None = None
        """The age of the connection before, after whose end the target still listened."""
        self._survived = 0
        """How many probes since then have refuted that this is a limit."""
        self._limit_s: float | None = None
        """How long the target keeps an idle connection; None as long as nobody knows."""
        self._forget_at = 0.0
        """When that is forgotten; 0 for never."""

    def is_usual(self, age_s: float) -> bool:
        """Return whether idle connections usually end at this age."""
        return self._limit_s is not None and is_about(age_s, self._limit_s)

    def ended(self, age_s: float) -> None:
        """Note that an idle connection has ended. It is not known yet whether the target still listens."""
        self._ended_s = age_s

    def failed(self) -> None:
        """Note that a probe has failed, so that the last end may have been that of the target itself."""
        self._ended_s = None

    def outlived(self, idle_s: float) -> None:
        """Note that a connection has served a probe after having been idle for so long."""
        if self._age_s is not None and idle_s > self._age_s - _SLACK_S:
            self._survived += 1
            if idle_s > self._age_s + _SLACK_S or self._survived >= _MOST_SURVIVED:
                self._age_s = None
        if self._limit_s is not None and idle_s > self._limit_s + LATE_S + _SLACK_S:
            self._limit_s = None

    def limit_s(self, now: float) -> float | None:
        """Return how long the target keeps idle connections, now that it has accepted a new one; None if unknown.

        now: seconds on the clock.
        """
        ended_s, self._ended_s = self._ended_s, None
        if ended_s is not None:
            if self._age_s is not None and abs(self._age_s - ended_s) <= LATE_S and ended_s >= _LEAST_S:
                self._limit_s = round(min(self._age_s, ended_s), 1)
            self._age_s, self._survived = ended_s if ended_s >= _LEAST_S else None, 0
        if self._forget_at and now >= self._forget_at:
            self._limit_s, self._age_s, self._forget_at = None, None, 0.0
        return self._limit_s

    def found_short(self, now: float) -> None:
        """Note that no connection can be kept until the next probe."""
        if not self._forget_at:
            self._forget_at = now + FORGET_S


def is_about(age_s: float, limit_s: float) -> bool:
    """Return whether a connection that ended at this age may have reached this limit, seconds."""
    return abs(age_s - limit_s) <= LATE_S + _SLACK_S


def is_short(limit_s: float, interval_s: float) -> bool:
    """Return whether a connection with this limit does not last until the next probe, seconds."""
    return limit_s <= interval_s * _NEARLY
