"""The place of one worker among the others: its share of the probes, and the process that runs them at present.

The place stays when its process fails: another one takes it, after a while that grows with each failure.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from lvs_healthd.config.model import AnyCheck
from lvs_healthd.events.kinds import Event, WorkerFailed
from lvs_healthd.probes.outcome import Outcome, Reason, unsure
from lvs_healthd.probing.scheduler import Probe
from lvs_healthd.probing.workers import link
from lvs_healthd.probing.workers.framing import GarbledFrameError
from lvs_healthd.probing.workers.link import Link
from lvs_healthd.probing.workers.protocol import RECORD, Assigned, Change, Report
from lvs_healthd.runtime.pace import paced

SILENT_S = 5.0
"""A worker that said nothing for so long, where it should twice a second, is replaced."""

START_S = 15.0
"""The same for its first word: Python may have to come from a slow disk."""

LATE_S = 5.0
"""An outcome that ended longer ago is not judged any more: the daemon was held up, and knows nothing of now."""

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 30.0
"""A worker that failed is started again after this long, doubled each time it fails again."""

PROVEN_S = 60.0
"""One that lived so long has not failed again, but anew."""

PROBES_PER_MESSAGE = 200
"""A worker makes so many probes ready in 10 ms, and then looks after those under way."""

_LATE = unsure(Reason.STALLED, f"this daemon learned of the outcome more than {LATE_S:g}s late and could not judge")


class Place:
    """The place of one worker among the others: its probes, and the process that runs them at present."""

    def __init__(
        self,
        number: int,
        noted: Callable[[Report], None],
        clock: Callable[[], float],
        emit: Callable[[Event], None],
        command: tuple[str, ...],
    ) -> None:
        self.number = number
        self.max_in_flight = 1
        self.in_flight = 0
        self.waiting = 0
        self._noted = noted
        self._clock = clock
        self._emit = emit
        self._command = command
        self._checks: dict[int, AnyCheck] = {}
        self._sinks: dict[int, Callable[[Outcome, float], None]] = {}
        self._outcomes: dict[int, Outcome] = {}
        """The outcomes that the present process names by number: always the same object for one number."""
        self._link: Link | None = None
        self._failed: Outcome | None = None
        """What is known of the probes while no process is there after one has failed."""

    @property
    def alive(self) -> bool:
        """Whether a process is there that has shown a sign of life."""
        return self._link is not None and self._link.greeted

    def add(self, number: int, probe: Probe[AnyCheck]) -> None:
        """Hand the outcomes of the probe with this number to its sink."""
        self._checks[number] = probe.key
        self._sinks[number] = probe.sink.outcome
        if self._failed is not None:
            probe.sink.outcome(self._failed, 0.0)

    def drop(self, number: int) -> None:
        """Hand on no more outcomes of this probe."""
        del self._checks[number], self._sinks[number]

    def send(self, added: list[Assigned], dropped: Iterable[int]) -> None:
        """Tell the process what has changed; one that is yet to start will be told everything."""
        if self._link is not None:
            for change in _changes(self.max_in_flight, added, dropped):
                self._link.send(change)

    def close(self) -> None:
        """Let the process end."""
        if self._link is not None:
            self._link.close()

    def watch(self, *, excused: bool) -> None:
        """Give up a process that has been silent for too long, unless it is excused this time."""
        if self._link is None:
            return
        now = self._clock()
        if excused:
            self._link.heard = now
        patience_s = SILENT_S if self._link.greeted else START_S
        if now - self._link.heard > patience_s:
            self._link.lose(f"said nothing for {patience_s:g}s")

    async def keep(self) -> None:
        """Keep a process running, until cancelled; then end it."""
        retry_s = FIRST_RETRY_S
        while True:
            begun, pid = self._clock(), 0
            try:
                self._link = await link.start(self._take, self._command)
            except OSError as error:
                why = f"could not be started: {error.strerror or error}"
            else:
                pid = self._link.pid
                why = await self._run(self._link)
            if self._clock() - begun > PROVEN_S:
                retry_s = FIRST_RETRY_S
            self._emit(WorkerFailed(worker=self.number, pid=pid, reason=why, probes=len(self._checks), retry_s=retry_s))
            self._failed = unsure(Reason.STALLED, f"its probe worker {why}")
            await self._all_unsure(self._failed)
            await asyncio.sleep(retry_s)
            retry_s = min(2 * retry_s, LAST_RETRY_S)

    async def _run(self, process: Link) -> str:
        """Let a process work, and return why it does not any more."""
        self._outcomes.clear()
        self._failed = None
        try:
            self.send([Assigned(number, check) for number, check in self._checks.items()], ())
            return await process.lost()
        finally:
            self._link, self.in_flight, self.waiting = None, 0, 0
            await process.end()

    async def _all_unsure(self, outcome: Outcome) -> None:
        async for number in paced(tuple(self._sinks)):
            sink = self._sinks.get(number)
            if sink is not None:
                sink(outcome, 0.0)

    def _take(self, report: Report) -> None:
        """Hand on what a process found. Raises `GarbledFrameError`."""
        outcomes, sinks = self._outcomes, self._sinks
        for text in report.texts:
            outcomes[text.number] = text.outcome
        judged_from = self._clock() - LATE_S
        for probe, number, latency_s, ended in RECORD.iter_unpack(report.records):
            outcome = outcomes.get(number)
            if outcome is None:
                raise GarbledFrameError(f"an outcome numbered {number} of which it never told")
            sink = sinks.get(probe)
            if sink is not None:  # None: dropped while this was on its way
                sink(outcome if ended >= judged_from else _LATE, latency_s)
        if report.forget:
            for number in [number for number in outcomes if number < report.forget]:
                del outcomes[number]
        self.in_flight, self.waiting = report.in_flight, report.waiting
        self._noted(report)


def _changes(max_in_flight: int, added: list[Assigned], dropped: Iterable[int]) -> Iterator[Change]:
    """Cut a change into messages; with nothing to change there is one all the same, by which files are read again."""
    starts = range(0, max(1, len(added)), PROBES_PER_MESSAGE)
    for start in starts:
        yield Change(
            max_in_flight=max_in_flight,
            dropped=tuple(dropped) if start == 0 else (),
            added=tuple(added[start : start + PROBES_PER_MESSAGE]),
            more=start != starts[-1],
        )
