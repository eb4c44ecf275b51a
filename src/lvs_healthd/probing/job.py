"""One probe's place in the schedule, and what it asks of its scheduler."""

import math
from typing import Any, Protocol

import msgspec

from lvs_healthd.probes.exchange import Sign
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason
from lvs_healthd.probing.probe import Probe, Sink

_WHOLE_TURNS = 0.01
"""By so large a share of an interval, a pace may miss a whole number of intervals, because seconds are floats."""

WARNED = " (an early warning came before: its kept connection had ended)"
"""What the details of outcomes that confirm an early warning end with."""

CONFIRMING = frozenset((Reason.REFUSED, Reason.RESET, Reason.CLOSED_EARLY))
"""The outcomes of a target whose process has ended. One that is about to may still accept a connection."""


class Job:
    """One probe's place in the schedule."""

    __slots__ = (
        *("confirms", "deaf_until", "due", "extra", "gap_s", "interval_s", "is_first", "missed", "owed"),
        *("pace_s", "regular", "running", "scheduler", "sink", "target", "turn", "warned"),
    )

    def __init__(self, scheduler: "Schedule", probe: Probe[Any], phase: float, due: float) -> None:
        self.scheduler = scheduler
        self.target = probe.target
        self.interval_s = probe.interval_s
        self.pace_s = probe.pace_s or probe.interval_s
        """How often the probe is to run now, seconds."""
        self.sink: Sink | None = probe.sink
        """Receives the outcomes; None once the probe has been dropped."""
        self.regular = phase
        """The time of the last regular turn, without jitter: the phase plus a whole number of intervals."""
        self.due = due
        """When the next regular turn is due, including jitter."""
        self.turn = due
        """When the turn that started the running probe was due; once it has started, when it did."""
        self.gap_s = 0.0
        """How long after `turn` the next turn may come at the earliest, seconds: the pace of a hurried turn; else 0."""
        self.is_first = True
        """Whether the next turn is the first, which comes early and does not depend on the phase."""
        self.running = False
        self.missed = False
        """Whether a turn was skipped because the probe was still running."""
        self.owed = False
        """Whether the extra turn is due in any case: it makes up for a skipped one, or follows a sign of the target. If
        not, it is a hurried one."""
        self.extra = math.inf
        """When a turn between the regular ones is due; infinity for never."""
        self.confirms = 0
        """How many more turns follow soon, as long as each probe confirms an early warning."""
        self.warned = False
        """Whether an early warning came, and all probes since then have confirmed it."""
        self.deaf_until = 0.0
        """Until when the target's signs count for nothing."""

    @property
    def repeats(self) -> bool:
        """Whether the probe has not been dropped."""
        return self.sink is not None

    def started(self, now: float) -> None:
        """Report how late the start is."""
        self.scheduler.note_lag(now - self.turn)
        self.turn = now

    def ended(self, outcome: Outcome, course: Course) -> None:
        """Pass what the probe found to its sink, unless a reload has dropped the probe meanwhile."""
        self.running = False
        if self.sink is None:
            return
        if self.missed:
            self.missed, self.owed = False, True
            self.scheduler.make_up(self)
        if self.warned:
            self.warned = outcome.kind is OutcomeKind.DOWN and outcome.reason in CONFIRMING
            if self.warned:
                outcome = msgspec.structs.replace(outcome, detail=outcome.detail + WARNED)
        self.sink.outcome(outcome, course)
        if self.confirms:
            self.scheduler.confirm(self, outcome)
        if self.pace_s < self.interval_s:
            self.scheduler.hurry(self)

    def signalled(self, sign: Sign) -> None:
        """Pass on what the end of the target's idle connection tells."""
        self.scheduler.signalled(self, sign)


class Schedule(Protocol):
    """What a job asks of its scheduler."""

    def note_lag(self, lag_s: float) -> None:
        """Measure a start that came `lag_s` seconds late."""

    def make_up(self, job: Job) -> None:
        """Give a job an extra turn now."""

    def hurry(self, job: Job) -> None:
        """Give a job an extra turn when its pace asks for it."""

    def signalled(self, job: Job, sign: Sign) -> None:
        """Give a job an extra turn if a sign of its target asks for it."""

    def confirm(self, job: Job, outcome: Outcome) -> None:
        """Give a job an extra turn very soon if `outcome` confirms an early warning."""


def turns_of(job: Job) -> int:
    """Return how many intervals there are from one regular turn of a job to the next."""
    return 1 if job.pace_s <= job.interval_s else math.ceil(job.pace_s / job.interval_s - _WHOLE_TURNS)
