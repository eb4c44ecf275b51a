"""Decides whose fault it is that a certificate is not valid at this time: the server's, or that of our own clock.

A server whose certificate has expired, or is not valid yet, is down. But a director whose clock is wrong would take out
every https server in this way. So such a failure is unsure in these cases:

- "Not yet valid", while the clock says less than it must: less than the release of this program, or than the last
  time at which the state file was written. ("Expired" needs no such rule: what has expired by a clock that is behind
  has really expired.)
- At least half of the targets whose certificates are verified, and at least two, begin to fail so within `WINDOW_S`.
  Targets that failed so before are not counted: they tell nothing about the clock. The suspicion ends when half of
  those that it concerns have passed again, because then the clock can be right; what still fails is down. Until then
  it has no end: taking out every server that shares an expired certificate helps no client, and the operator is told.
- Until the others have been probed too, for `WINDOW_S` at most. Otherwise the first ones would be down before it shows.

Pure: all times are passed in. `now` is monotonic time and `wall` is Unix time, in seconds.
"""

import datetime as dt
import enum
import math
from collections import Counter
from collections.abc import Hashable

from lvs_healthd.config.model import AnyCheck
from lvs_healthd.events.kinds import ClockSuspected, ClockTrusted
from lvs_healthd.probes.outcome import Outcome, Reason, unsure

WINDOW_S = 60.0
"""Targets that begin to fail within so many seconds of each other have a common cause."""

TOLERANCE_S = 60.0
"""A clock that was set back by fewer seconds than this is not suspected: time servers do it."""

LONGEST_PROBE = 2
"""How many times its timeout a probe may take, if the director lags."""

REPEAT_S = 3600.0
"""How often a suspicion is reported while it lasts, seconds."""

_YEAR_9999 = dt.datetime(9999, 1, 1, tzinfo=dt.UTC).timestamp()
"""A state file that says more than this says nothing."""

ADVICE = "`timedatectl` shows the clock, and `timedatectl set-ntp true` sets it"

DATES = (Reason.NOT_YET_VALID, Reason.EXPIRED)
_VERIFIED = (Reason.PASSED, Reason.BAD_STATUS, Reason.BAD_ANSWER, Reason.TOO_LARGE)
"""Reasons of outcomes that come after a certificate was found to be valid."""


class _Ground(enum.Enum):
    """Why the clock is suspected."""

    BEHIND = enum.auto()
    TOGETHER = enum.auto()
    OPEN = enum.auto()
    """It is not known yet whether the other targets fail too."""


class WrongClock:
    """What the dates of certificates tell about the director's clock.

    released: when this program was released, Unix time.
    """

    def __init__(self, released: float) -> None:
        self._released = released
        self._saved, self._saved_at = -math.inf, 0.0
        """The latest time at which the state file was written, as Unix time, and when that was or was read."""
        self._waits: Counter[float] = Counter()
        """How long each target may take until its next outcome, seconds."""
        self._began: dict[Hashable, float] = {}
        """When each target began to fail by date, until its certificate is valid again. The oldest is the first."""
        self._recent: dict[Hashable, float] = {}
        """Those of `_began` that are younger than `WINDOW_S`."""
        self._together: set[Hashable] = set()
        """The targets that began to fail together, and those that followed. Empty while there is no such suspicion."""
        self._most_together = 0
        self._excused: dict[Hashable, _Ground] = {}
        """The targets whose failures are unsure because the clock is suspected."""
        self._texts: dict[_Ground, str] = {}
        self._outcomes: dict[tuple[str, _Ground], Outcome] = {}
        """The outcomes given so far. The same outcome must be the same object, by which `ProbeState` knows it."""
        self._told_since: float | None = None
        self._told = -math.inf

    @property
    def why(self) -> str:
        """Why the clock is suspected, and what to do; empty while it is not."""
        for ground in self._excused.values():
            return f"{self._texts[ground]}: {ADVICE}"
        return ""

    def remember(self, written: float, now: float) -> None:
        """Take over from the state file when it was written, Unix time."""
        if self._saved < written < _YEAR_9999:
            self._saved, self._saved_at = written, now

    def saved(self, now: float, wall: float) -> float:
        """Note that the state is written now. Return the time to write into it: the latest that has been, Unix time."""
        latest = self._latest(now)
        self._saved, self._saved_at = (wall if wall > latest - TOLERANCE_S else latest), now
        return self._saved

    def _latest(self, now: float) -> float:
        """Return the time that it must be at least, by the state file and the time since."""
        return self._saved + (now - self._saved_at)

    def add(self, target: Hashable, wait_s: float) -> None:  # noqa: ARG002  # as `forget`
        """Count a target whose certificate is verified. Between two outcomes of it are `wait_s` seconds at most."""
        self._waits[wait_s] += 1

    def forget(self, target: Hashable, wait_s: float) -> None:
        """Count a target no longer."""
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
        """Return what an outcome of a verified target is worth: itself, or unsure while the clock is suspected."""
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
        """Return what has to be reported now, if anything: a suspicion that is new, goes on for an hour, or is over."""
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
        """Note that a target fails by date, and whether enough others have begun to at the same time."""
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
        """Return how many targets did not fail by date before those that have just begun to."""
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
        """Note that a target no longer fails by date."""
        for each in (self._began, self._recent, self._excused):
            each.pop(target, None)
        if target in self._together:
            self._together.discard(target)
        if self._together and 2 * len(self._together) <= self._most_together:
            # What still fails now is older than any new suspicion.
            for left in self._together:
                self._recent.pop(left, None)
                if self._excused.get(left) is _Ground.TOGETHER:
                    del self._excused[left]
            self._together = set()
        self._forget_texts()

    def _forget_texts(self) -> None:
        """Forget what the last suspicion said, because the next one may be another."""
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
                what = "this program was released then" if released else "the state file was written by then"
                return f"the director's clock is wrong: it said {utc(wall)}, which is before {than}, and {what}"


def longest_wait_s(check: AnyCheck) -> float:
    """Return how long after its last outcome a check has the next one at the latest, seconds."""
    return check.interval + LONGEST_PROBE * check.timeout


def utc(wall: float) -> str:
    """Write a Unix time for an operator: "2026-11-28 05:40 UTC"."""
    return f"{dt.datetime.fromtimestamp(wall, dt.UTC):%Y-%m-%d %H:%M} UTC"
