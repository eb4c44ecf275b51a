"""One worker's place in the pool: holds its share of the probes, and the process that currently runs them.

When the process fails, the place starts another one, after a pause that grows with each failure.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.events.kinds import Event, WorkerFailed
from lvs_healthd.probes.outcome import NO_COURSE, Course, Outcome, Reason, unsure
from lvs_healthd.probing.probe import Probe
from lvs_healthd.probing.workers import link
from lvs_healthd.probing.workers.framing import GarbledFrameError
from lvs_healthd.probing.workers.link import Link
from lvs_healthd.probing.workers.protocol import MOST_RECORDS, MOST_TEXTS, Assigned, Change, Paces, Report, recorded
from lvs_healthd.runtime.pace import paced

SILENT_S = 5.0
"""How many seconds a worker may be silent before it is replaced. It should send a message twice a second."""

START_S = 15.0
"""How long a worker may take to send its first message, seconds. Python may have to be loaded from a slow disk."""

LATE_S = 5.0
"""An outcome that reaches the daemon more than this many seconds late is unsure, because it may no longer be true."""

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 30.0
"""The first and the longest pause before a failed worker is replaced, seconds. The pause doubles with each failure."""

PROVEN_S = 60.0
"""If a worker has lived for more seconds than this, its failure counts as the first one again."""

PROBES_PER_MESSAGE = 200
"""The maximum number of probes in one message. A worker makes this many ready in 10 ms, and serves the probes under way
before it takes the next message."""

_MOST_OUTCOMES = MOST_TEXTS + MOST_RECORDS
"""How many outcomes of a worker may have a number. It forgets them after the report in which they became too many."""

_LATE = unsure(Reason.STALLED, f"this daemon learned of the outcome more than {LATE_S:g}s late and could not judge")


class Place:
    """One worker's place in the pool: its probes, and the process that currently runs them.

    number: identifies the place in events.
    noted: gets every report, so that its measurements reach the metrics.
    clock: monotonic time, seconds.
    emit: receives the events.
    command: starts a worker process.
    """

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
        self.kept = 0
        self._noted = noted
        self._clock = clock
        self._emit = emit
        self._command = command
        self._checks: dict[int, AnyCheck] = {}
        self._sinks: dict[int, Callable[[Outcome, Course], None]] = {}
        self._paces: dict[int, float] = {}
        """How often each probe is to run, seconds, if that is not its interval."""
        self._new_paces: dict[int, float] = {}
        """The paces that the process is about to be told. It is told all those of a moment in one message."""
        self._outcomes: dict[int, Outcome] = {}
        """The outcomes that the current process refers to by number. One number always gives the same object."""
        self._link: Link | None = None
        self._failed: Outcome | None = None
        """The outcome of every probe between the failure of one process and the start of the next; otherwise None."""

    @property
    def alive(self) -> bool:
        """Whether there is a process that has sent a message."""
        return self._link is not None and self._link.greeted

    def add(self, number: int, probe: Probe[AnyCheck]) -> None:
        """Pass the outcomes of the probe with this number to its sink from now on."""
        self._checks[number] = probe.key
        self._sinks[number] = probe.sink.outcome
        self.pace(number, probe.pace_s or probe.interval_s)
        if self._failed is not None:
            probe.sink.outcome(self._failed, NO_COURSE)

    def drop(self, number: int) -> None:
        """Ignore the outcomes of the probe with this number from now on."""
        del self._checks[number], self._sinks[number]
        self._paces.pop(number, None)
        self._new_paces.pop(number, None)

    def pace(self, number: int, pace_s: float) -> None:
        """Let the process run the probe with this number every `pace_s` seconds, very soon."""
        interval_s = self._checks[number].interval
        if self._paces.get(number, interval_s) == pace_s:
            return
        if pace_s == interval_s:
            del self._paces[number]
        else:
            self._paces[number] = pace_s
        if self._link is not None:
            if not self._new_paces:
                asyncio.get_running_loop().call_soon(self._send_paces)
            self._new_paces[number] = pace_s

    def _send_paces(self) -> None:
        if self._link is not None and self._new_paces:
            self._link.send(Paces(tuple(self._new_paces.items())))
        self._new_paces.clear()

    def send(self, added: list[Assigned], dropped: Iterable[int]) -> None:
        """Tell the process what has changed. A process that starts later will be told everything."""
        if self._link is not None:
            for change in _changes(self.max_in_flight, added, dropped):
                self._link.send(change)

    def close(self) -> None:
        """Let the process end."""
        if self._link is not None:
            self._link.close()

    def watch(self, *, excused: bool) -> None:
        """Give up a process that has been silent for too long.

        excused: whether the silence so far does not count, because the daemon itself stood still.
        """
        if self._link is None:
            return
        now = self._clock()
        if excused:
            self._link.heard = now
        patience_s = SILENT_S if self._link.greeted else START_S
        if now - self._link.heard > patience_s:
            self._link.lose(f"said nothing for {patience_s:g}s")

    async def keep(self) -> None:
        """Keep a process running until cancelled, then end it."""
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
        """Let a process work until it is lost, and return why, in words."""
        self._outcomes.clear()
        self._new_paces.clear()
        self._failed = None
        try:
            self.send([Assigned(number, check) for number, check in self._checks.items()], ())
            process.send(Paces(tuple(self._paces.items())))
            return await process.lost()
        finally:
            self._link, self.in_flight, self.waiting, self.kept = None, 0, 0, 0
            await process.end()

    async def _all_unsure(self, outcome: Outcome) -> None:
        async for number in paced(tuple(self._sinks)):
            sink = self._sinks.get(number)
            if sink is not None:
                sink(outcome, NO_COURSE)

    def _take(self, report: Report) -> None:
        """Pass reported outcomes to their sinks.

        Raises `GarbledFrameError` when the report names an unknown outcome, or too many are known.
        """
        outcomes, sinks = self._outcomes, self._sinks
        for text in report.texts:
            outcomes[text.number] = text.outcome
        if len(outcomes) > _MOST_OUTCOMES:
            raise GarbledFrameError(f"more than {_MOST_OUTCOMES} outcomes that it did not forget")
        judged_from = self._clock() - LATE_S
        for probe, number, course, ended in recorded(report):
            outcome = outcomes.get(number)
            if outcome is None:
                raise GarbledFrameError(f"an outcome numbered {number} that it never described")
            sink = sinks.get(probe)
            if sink is not None:  # None: the probe was dropped meanwhile
                sink(outcome if ended >= judged_from else _LATE, course)
        if report.forget:
            for number in [number for number in outcomes if number < report.forget]:
                del outcomes[number]
        self.in_flight, self.waiting, self.kept = report.in_flight, report.waiting, report.kept
        self._noted(report)


def _changes(max_in_flight: int, added: list[Assigned], dropped: Iterable[int]) -> Iterator[Change]:
    """Cut a change into messages.

    Even an empty change is a message, because every change makes the worker read the certificate files again.
    """
    starts = range(0, max(1, len(added)), PROBES_PER_MESSAGE)
    for start in starts:
        yield Change(
            max_in_flight=max_in_flight,
            dropped=tuple(dropped) if start == 0 else (),
            added=tuple(added[start : start + PROBES_PER_MESSAGE]),
            more=start != starts[-1],
        )
