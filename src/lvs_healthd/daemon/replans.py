"""Computes the wanted table again as soon as a verdict has changed, but never so often that probes suffer."""

import asyncio
import time

from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.reconcile.reconciler import Reconciler

SHARE = 0.1
"""The largest share of the time that may be spent on planning, 0 to 1. Each plan covers all changes since the plan
before. So when thousands of servers fail within a second, there are fewer and larger plans."""


class Replans:
    """Brings the wanted table up to date and hands it to the reconciler."""

    def __init__(self, decisions: Decisions, reconciler: Reconciler) -> None:
        self._decisions = decisions
        self._reconciler = reconciler
        self._due = asyncio.Event()

    def ask(self) -> None:
        """Ask for a new plan soon, because a verdict has changed."""
        self._due.set()

    def now(self) -> None:
        """Compute the wanted table at once, and hand it to the reconciler."""
        self._due.clear()
        wanted = self._decisions.wanted(self._reconciler.actual, self._reconciler.take_moved())
        self._decisions.braking.planned()
        self._decisions.vetoing.planned()
        self._reconciler.gate.brake(self._decisions.braking.kept())
        self._reconciler.gate.veto(self._decisions.vetoing.kept())
        self._reconciler.want(wanted, self._decisions.take_touched())

    async def run(self) -> None:
        """Make a new plan whenever somebody has asked for one, until cancelled."""
        while True:
            await self._due.wait()
            started = time.perf_counter()
            self.now()
            took_s = time.perf_counter() - started
            await asyncio.sleep(took_s / SHARE - took_s)
