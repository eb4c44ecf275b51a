"""Virtual time for the simulation: what happens when, and processors that several pieces of work share."""

import heapq
import itertools
import random
from collections.abc import Callable


class Agenda:
    """What is to happen, in the order of time. Things at the same time happen in the order in which they were added.

    seed: decides every chance of the run, so that a run can be repeated.
    """

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        """Seconds since the beginning."""
        self.random = random.Random(seed)  # noqa: S311  # a run is to be repeatable
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do something at a time, or now if that has passed."""
        heapq.heappush(self._waiting, (max(when, self.now), next(self._numbers), do))

    def after(self, delay_s: float, do: Callable[[], None]) -> None:
        """Do something later."""
        self.at(self.now + delay_s, do)

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._waiting and self._waiting[0][0] <= until:
            self.now, _, do = heapq.heappop(self._waiting)
            do()
        self.now = until


class Processors:
    """Cores that share work fairly, as the threads of one process do: each piece gets the same part of them.

    agenda: what is to happen.
    cores: how many there are. One piece of work uses one core at most.
    """

    def __init__(self, agenda: Agenda, cores: float) -> None:
        self._agenda = agenda
        self._cores = cores
        self._work: list[tuple[float, int, Callable[[], None]]] = []
        """What is under way, by how much work each piece had got when it is done (see `_each`)."""
        self._each = 0.0
        """How much work a piece has got that is there since the beginning, seconds of one core."""
        self._counted = 0.0
        """Until when that is counted."""
        self._numbers = itertools.count()
        self._turn = 0
        self.used = 0.0
        """Work that was asked for, seconds of one core."""

    def __len__(self) -> int:
        return len(self._work)

    def ask(self, work_s: float, done: Callable[[], None]) -> None:
        """Begin a piece of work.

        work_s: how much it is, seconds of one core.
        done: called at its end.
        """
        self._count()
        self.used += work_s
        heapq.heappush(self._work, (self._each + work_s, next(self._numbers), done))
        self._plan()

    def drop(self) -> None:
        """Forget all that is under way, because the process is dead."""
        self._count()
        self._work.clear()
        self._plan()

    @property
    def _rate(self) -> float:
        return min(1.0, self._cores / len(self._work)) if self._work else 0.0

    def _count(self) -> None:
        self._each += (self._agenda.now - self._counted) * self._rate
        self._counted = self._agenda.now

    def _plan(self) -> None:
        self._turn += 1
        if self._work:
            turn = self._turn
            self._agenda.after(max(0.0, self._work[0][0] - self._each) / self._rate, lambda: self._end(turn))

    def _end(self, turn: int) -> None:
        if turn != self._turn:
            return  # something was added since
        self._count()
        ended = []
        while self._work and self._work[0][0] <= self._each + 1e-12:
            ended.append(heapq.heappop(self._work)[2])
        self._plan()
        for done in ended:
            done()
