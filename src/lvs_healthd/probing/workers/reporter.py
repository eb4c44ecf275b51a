"""Gathers what a worker's probes found until the daemon can take it. Uses no sockets.

When the daemon is slow or stands still, outcomes pile up, and then only the newest outcome of each probe is kept. So at
most about twice as many outcomes wait as there are probes, or `LEAST_KEPT` if that is more. The daemon continues with
the current state. The dropped outcomes may be failures or passes, so a verdict may come late. But every verdict still
rests on outcomes that probes really had.
"""

from array import array
from collections.abc import Callable

from lvs_healthd.probes.outcome import Course, Outcome
from lvs_healthd.probing.workers.protocol import MOST_RECORDS, MOST_TEXTS, Report, Text, record

LEAST_KEPT = 8192
"""So many outcomes may always wait before older ones are dropped. Normally only one tick's outcomes wait."""

MOST_LAGS = 65536
"""How many of the newest lags are kept when outcomes are dropped. The metrics do not get the older lags."""


class Reporter:
    """Turns outcomes and measurements into reports. It is the scheduler's observer.

    clock: monotonic time, seconds.
    wake: called when an outcome waits and none did before.
    """

    def __init__(self, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self._clock = clock
        self._wake = wake
        self._found: list[tuple[int, Outcome, Course, float]] = []
        self._most_found = LEAST_KEPT
        self._numbers: dict[Outcome, int] = {}
        self._next_number = 0
        self._skipped = 0
        self._warned = 0
        self._lags = array("f")
        self._loop_lags = array("f")
        self.lag = self._lags.append
        """Note how many seconds after its due time a probe started."""
        self.loop_lag = self._loop_lags.append
        """Note how many seconds late a tick came."""

    def skipped(self) -> None:
        """Note a turn that was skipped because the probe was still under way from the turn before."""
        self._skipped += 1

    def warned(self) -> None:
        """Note an early warning."""
        self._warned += 1

    def found(self, probe: int, outcome: Outcome, course: Course) -> None:
        """Take a probe's outcome, and how it went."""
        found = self._found
        if not found:
            self._wake()
        elif len(found) >= self._most_found:
            self._drop_older()
        found.append((probe, outcome, course, self._clock()))

    @property
    def pending(self) -> bool:
        """Whether outcomes wait."""
        return bool(self._found)

    def report(self, *, in_flight: int, waiting: int, kept: int) -> Report:
        """Return a report of up to `MOST_RECORDS` waiting outcomes, and forget what it contains.

        in_flight: how many probes have an open socket.
        waiting: how many probes wait for a free socket.
        kept: how many connections stay open from one probe to the next.
        """
        texts: list[Text] = []
        records = bytearray()
        numbers = self._numbers
        heard: list[tuple[int, str]] = []
        last, number = None, 0
        for place, (probe, outcome, course, ended) in enumerate(self._found[:MOST_RECORDS]):
            if outcome is not last:  # most are one and the same object, whose hash takes longer than all else here
                last, number = outcome, numbers.get(outcome, -1)
                if number < 0:
                    number = numbers[outcome] = self._next_number
                    self._next_number += 1
                    texts.append(Text(number, outcome))
            records += record(probe, number, course, ended)
            if course.heard:
                heard.append((place, course.heard))
        del self._found[:MOST_RECORDS]
        if len(numbers) > MOST_TEXTS:
            numbers.clear()
        made = Report(
            texts=tuple(texts),
            records=bytes(records),
            heard=tuple(heard),
            forget=0 if numbers else self._next_number,
            lags=_taken(self._lags),
            loop_lags=_taken(self._loop_lags),
            skipped=self._skipped,
            warned=self._warned,
            in_flight=in_flight,
            waiting=waiting,
            kept=kept,
        )
        self._skipped = self._warned = 0
        return made

    def _drop_older(self) -> None:
        """Keep only each probe's newest outcome."""
        newest = {each[0]: each for each in self._found}
        self._found[:] = newest.values()
        for lags in (self._lags, self._loop_lags):
            del lags[:-MOST_LAGS]
        # Double what is left, so that the next drop comes only after as many new outcomes as were kept now.
        self._most_found = max(LEAST_KEPT, 2 * len(newest))


def _taken(lags: "array[float]") -> bytes:
    """Return what an array holds, and empty it. The object must stay the same, because its `append` is in use."""
    taken = lags.tobytes()
    del lags[:]
    return taken
