"""Decides whose fault it is that a certificate is not valid at this time: the server's, or that of our own clock.

A server whose certificate has expired, or is not valid yet, is down. But a director whose clock is wrong would take out
every https server in this way. So such a failure is unsure in these cases:

- The certificate is "not yet valid", and the clock is certainly behind. It shows a time before this program was
  released, or before the state file was last written. ("Expired" needs no such rule: a certificate that has expired by
  a clock that is behind has really expired.)
- At least half of the targets whose certificates are verified, and at least two, begin to fail by date within
  `WINDOW_S`. Targets that already failed by date are not counted, because they tell nothing about the clock. The
  suspicion ends when at least half of the suspected targets have shown a valid certificate again. Then the clock is
  probably right, and the targets that still fail are down. There is no time limit: taking out every server that shares
  an expired certificate helps no client, and the operator is told.
- A target has just begun to fail by date, and the other targets may not have been probed since. Its failures are unsure
  until all of them have had time for a probe, but for at most `WINDOW_S`. Otherwise the first targets would be down
  before it is known whether the others fail too.

To fail by date means: the certificate has expired, is not valid yet, or ends within the check's `expires_fail`, by the
director's clock.

Pure: all times are passed in. `now` is monotonic time and `wall` is Unix time, in seconds.
"""

import datetime as dt
import enum
import math
from collections import Counter
from collections.abc import Hashable

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.events.kinds import ClockSuspected, ClockTrusted
from lvs_healthd.probes.outcome import Outcome, Reason, unsure
from lvs_healthd.runtime.utc import utc

WINDOW_S = 60.0
"""Targets that begin to fail by date within this many seconds of each other are taken to have a common cause."""

TOLERANCE_S = 60.0
"""A clock that was set back by fewer seconds than this is not suspected, because time servers do so."""

LONGEST_PROBE = 2
"""How long a probe may take if the director lags, as a multiple of its timeout."""

REPEAT_S = 3600.0
"""How often a suspicion is reported while it lasts, seconds."""

_YEAR_9999 = dt.datetime(9999, 1, 1, tzinfo=dt.UTC).timestamp()
"""Unix time. A state file that claims to have been written at this time or later is not believed."""

ADVICE = "`timedatectl` shows the clock, and `timedatectl set-ntp true` sets it"

DATES = (Reason.NOT_YET_VALID, Reason.EXPIRED, Reason.EXPIRES_SOON)
_VERIFIED = (Reason.PASSED, Reason.BAD_STATUS, Reason.BAD_ANSWER, Reason.TOO_LARGE)
"""Reasons of outcomes that come after a certificate was found to be valid."""


class _Ground(enum.Enum):
    """Why the clock is suspected."""

    BEHIND = enum.auto()
    TOGETHER = enum.auto()
    OPEN = enum.auto()
    """It is not known yet whether the other targets fail too."""


class WrongClock:
    """Judges the director's clock by the dates of certificates.

    released: when this program was released, Unix time.
    """

    def __init__(self, released: float) -> None:
        self._released = released
        self._saved, self._saved_at = -math.inf, 0.0
        """The latest known time of writing of the state file, Unix time, and when it was noted, monotonic time."""
        self._waits: Counter[float] = Counter()
        """How many verified targets have each longest time between two outcomes, seconds (see `longest_wait_s`)."""
        self._began: dict[Hashable, float] = {}
        """When each target began to fail by date, the oldest first; until its certificate is valid again."""
        self._recent: dict[Hashable, float] = {}
        """Those of `_began` that are younger than `WINDOW_S`."""
        self._together: set[Hashable] = set()
        """The targets that began to fail together, and those that followed. Empty while there is no such suspicion."""
        self._most_together = 0
        self._excused: dict[Hashable, _Ground] = {}
        """The targets whose failures are unsure because the clock is suspected."""
        self._texts: dict[_Ground, str] = {}
        self._outcomes: dict[tuple[str, _Ground], Outcome] = {}
        """The unsure outcomes made so far. Equal outcomes must be one object: `ProbeState` compares by identity."""
        self._told_since: float | None = None
        self._told = -math.inf

    @property
    def why(self) -> str:
        """Why the clock is suspected, and what to do; empty while it is not."""
        for ground in self._excused.values():
            return f"{self._texts[ground]}: {ADVICE}"
        return ""

    def remember(self, written: float, now: float) -> None:
        """Note the time of writing that the state file contains.

        A time that is earlier than one already known, or absurdly far in the future, is ignored.

        written: Unix time, seconds.
        """
        if self._saved < written < _YEAR_9999:
            self._saved, self._saved_at = written, now

    def saved(self, now: float, wall: float) -> float:
        """Note that the state is written now, and return the time to write into it, Unix time.

        This is `wall`, unless the clock is `TOLERANCE_S` or more behind the earliest time that it can be now. Then it
        is that earliest time.
        """
        latest = self._latest(now)
        self._saved, self._saved_at = (wall if wall > latest - TOLERANCE_S else latest), now
        return self._saved

    def _latest(self, now: float) -> float:
        """Return the earliest Unix time that it can be now: the saved time, plus the monotonic time since then."""
        return self._saved + (now - self._saved_at)

    def add(self, wait_s: float) -> None:
        """Count a target whose certificate is verified. Its outcomes are at most `wait_s` seconds apart."""
        self._waits[wait_s] += 1

    def forget(self, target: Hashable, wait_s: float) -> None:
        """Count a target no longer. `wait_s` must be what `add` was given."""
        self._waits[wait_s] -= 1
        if not self._waits[wait_s]:
            del self._waits[wait_s]
        if target in self._together:
            self._most_together -= 1
        self._valid(target)

    def concerns(self, target: Hashable, outcome: Outcome) -> bool:
        """Whether `weigh` has anything to do. This is asked for each outcome, so it is cheap."""
        return outcome.reason in DATES or target in self._began

    def weigh(self, target: Hashable, outcome: Outcome, now: float, wall: float) -> Outcome:
        """Return the outcome of a verified target as it is, or unsure if it fails by date and the clock is suspected.

        now: monotonic time, seconds.
        wall: Unix time, seconds.
        """
        if outcome.reason not in DATES:
            if outcome.reason in _VERIFIED:
                self._valid(target)
            return outcome
        self._note(target, now)
        ground = self._ground(target, outcome.reason, now, wall)
        if ground is None:
            self._excused.pop(target, None)
            self._forget_texts()
            return outcome
        if ground is not _Ground.OPEN:
            self._excused[target] = ground
        return self._unsure(outcome.detail, ground, now, wall)

    def news(self, now: float, wall: float) -> ClockSuspected | ClockTrusted | None:
        """Return the event to report now, if any: a suspicion is new, has lasted another hour, or is over."""
        if self._excused:
            if now - self._told < REPEAT_S:
                return None
            self._told = now
            self._told_since = now if self._told_since is None else self._told_since
            return ClockSuspected(
                clock=utc(wall), reason=self.why, targets=len(self._excused), verified=self._waits.total()
            )
        if self._told_since is None:
            return None
        after_s, self._told_since, self._told = now - self._told_since, None, -math.inf
        return ClockTrusted(clock=utc(wall), after_s=round(after_s, 3))

    def _note(self, target: Hashable, now: float) -> None:
        """Note that a target fails by date. Suspect the clock if enough others began to within `WINDOW_S`."""
        while self._recent and (oldest := next(iter(self._recent.items())))[1] < now - WINDOW_S:
            del self._recent[oldest[0]]
        if target in self._began:
            return
        self._began[target] = self._recent[target] = now
        if self._together:
            self._together.add(target)
            self._most_together += 1
        elif len(self._recent) > 1 and 2 * len(self._recent) >= self._candidates():
            self._together = set(self._recent)
            self._most_together = len(self._together)
            self._excused.update(dict.fromkeys(self._together, _Ground.TOGETHER))

    def _candidates(self) -> int:
        """Return how many verified targets were not already failing by date before the last `WINDOW_S`."""
        return self._waits.total() - (len(self._began) - len(self._recent))

    def _ground(self, target: Hashable, reason: Reason, now: float, wall: float) -> _Ground | None:
        if reason is Reason.NOT_YET_VALID and wall < max(self._released, self._latest(now) - TOLERANCE_S):
            return _Ground.BEHIND
        if target in self._together:
            return _Ground.TOGETHER
        if target in self._recent and self._candidates() > 1:
            wait_s = min(WINDOW_S, max(self._waits))
            if now < self._began[target] + wait_s:
                return _Ground.OPEN
        return None

    def _valid(self, target: Hashable) -> None:
        """Note that a target no longer fails by date. This may end the suspicion."""
        for each in (self._began, self._recent, self._excused):
            each.pop(target, None)
        self._together.discard(target)
        if self._together and 2 * len(self._together) <= self._most_together:
            # From now on the failures of the targets that are left count. They leave `_recent`, so that they do not
            # count towards a new suspicion.
            for left in self._together:
                self._recent.pop(left, None)
                if self._excused.get(left) is _Ground.TOGETHER:
                    del self._excused[left]
            self._together = set()
        self._forget_texts()

    def _forget_texts(self) -> None:
        """Forget the texts of a suspicion that is over, because the next one may have other causes."""
        if not self._excused and not self._together:
            self._texts.clear()
            self._outcomes.clear()

    def _unsure(self, detail: str, ground: _Ground, now: float, wall: float) -> Outcome:
        text = self._texts.get(ground)
        if text is None:
            text = self._texts[ground] = self._text(ground, now, wall)
        found = self._outcomes.get((detail, ground))
        if found is None:
            found = self._outcomes[detail, ground] = unsure(Reason.CLOCK, f"{detail}, but {text}")
        return found

    def _text(self, ground: _Ground, now: float, wall: float) -> str:
        match ground:
            case _Ground.OPEN:
                return "perhaps the director's clock is wrong: the other targets are probed first"
            case _Ground.TOGETHER:
                count = f"at least {len(self._together)} of {self._candidates()}"
                return (
                    f"{count} verified targets began to fail so within a minute: the director's clock, which "
                    f"said {utc(wall)}, may be wrong. If it is right, renew the certificates"
                )
            case _Ground.BEHIND:
                released = self._released >= self._latest(now)
                than = utc(self._released if released else self._latest(now))
                what = "when this program was released" if released else "reckoned from the state file"
                return (
                    f"the director's clock is wrong: it said {utc(wall)}, while the time was at least {than} ({what})"
                )


def longest_wait_s(check: AnyCheck) -> float:
    """Return the longest time between two outcomes of a check, seconds."""
    return check.interval + LONGEST_PROBE * check.timeout
