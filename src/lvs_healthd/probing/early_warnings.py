"""Decides what follows from the end of a connection that was kept: a probe at once, a probe soon, or nothing.

No sign is a verdict. It only brings probes forward, and those that fail because the target is gone follow each other
closely, until there are enough of them for a verdict.
"""

from collections.abc import Callable

from lvs_healthd.probes.exchange import Sign
from lvs_healthd.probes.outcome import Outcome, OutcomeKind
from lvs_healthd.probing.hurry import Budget
from lvs_healthd.probing.job import CONFIRMING, Job

LEAST_DEAF_S = 1.0
"""After a sign, further ones of the same target count for nothing for so many seconds, or for its interval if that is
longer."""

MOST_SIGNS = 2000
SIGNS_PER_S = 500.0
"""How many signs start a probe, of all targets together: so many at once, and in the long run so many a second. Servers
may end all idle connections together, when they are reloaded or when they are busiest. As many more probes may follow
soon after those that have confirmed a sign."""


class EarlyWarnings:
    """Gives jobs extra turns.

    clock: monotonic time, seconds.
    random: returns floats in [0, 1).
    warned: counts an early warning.
    owe: gives a job an extra turn at a time, which comes in any case.
    begin: starts a job's probe. Gets the time for which that was due, and for how many seconds no turn may follow.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        random: Callable[[], float],
        *,
        warned: Callable[[], None],
        owe: Callable[[Job, float], None],
        begin: Callable[[Job, float, float], None],
    ) -> None:
        self._clock = clock
        self._random = random
        self._warned = warned
        self._owe = owe
        self._begin = begin
        self._signs = Budget(MOST_SIGNS, SIGNS_PER_S)
        self._confirmations = Budget(MOST_SIGNS, SIGNS_PER_S)

    def signalled(self, job: Job, sign: Sign) -> None:
        """Give a job an extra turn because a kept connection of its target has ended: at once if that was urgent.

        If its probe is under way, that finds out what the end means. Only those after it may have to be soon.
        """
        keeping, now = job.target.keeping, self._clock()
        if keeping is None or sign is Sign.SPENT or job.sink is None:
            return
        if job.running:
            if sign is Sign.URGENT:
                job.confirms, job.warned = keeping.confirms, True
            return
        if now < job.deaf_until or not self._signs.take(now):
            return
        job.deaf_until = now + max(job.interval_s, LEAST_DEAF_S)
        if sign is not Sign.URGENT:
            self._owe(job, now + self._random() * min(job.interval_s, LEAST_DEAF_S))
            return
        self._warned()
        job.confirms, job.warned = keeping.confirms, True
        if now < job.turn + keeping.confirm_s:
            self._owe(job, job.turn + keeping.confirm_s)
        else:
            self._begin(job, now, keeping.confirm_s)

    def confirm(self, job: Job, outcome: Outcome) -> None:
        """Give a job an extra turn very soon, if `outcome` confirms the early warning of its target."""
        keeping, now = job.target.keeping, self._clock()
        is_confirmed = outcome.kind is OutcomeKind.DOWN and outcome.reason in CONFIRMING
        if keeping is None or not is_confirmed or not self._confirmations.take(now):
            job.confirms = 0
            return
        job.confirms -= 1
        self._owe(job, max(now, job.turn + keeping.confirm_s))
