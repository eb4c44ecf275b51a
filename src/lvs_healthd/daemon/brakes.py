"""Runs the brake: lets the silent ways be looked at, has the director diagnosed, and tells what comes of it."""

import asyncio
import time
from collections.abc import Callable, Mapping

from lvs_healthd.config.model import Brake as Configured
from lvs_healthd.decide.brake import Rule, Stage
from lvs_healthd.decide.braking import Braking
from lvs_healthd.decide.way import Change, Finding
from lvs_healthd.director.diagnosis import Answer, Diagnosis, Question
from lvs_healthd.director.ways import Ways
from lvs_healthd.events.kinds import BrakeOff, BrakeOn, Event
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.reconcile.gate import Braked
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.runtime.moments import until_next_moment
from lvs_healthd.runtime.threads import HungError, in_thread

LOOK_S = 0.1
"""The minimum time between two looks at all targets while some are held, seconds."""

LOOK_RELEASED_S = 2.0
"""The same while nothing is held any more, but targets are still silent."""

LOOK_SHARE = 0.1
"""The largest share of the time that may be spent on looking, 0 to 1."""

DIAGNOSE_S = 1.0
"""The time between two diagnoses of the director, seconds."""

DIAGNOSE_MOST_S = 30.0
"""How long a diagnosis may take, seconds."""

UNKNOWN_CAUSE = "not known yet: see `ip -s link`, `ip neigh`, and the switch or router behind it"


class BrakeRuns:
    """Keeps the brake running.

    braking: the brakes of all ways.
    ways: knows the ways.
    reconciler: its gate keeps back what the brake holds.
    emit: receives the events.
    faults: returns other faults of the director that stand now, in words.
    vetoed: returns what other directors hold.
    """

    def __init__(
        self,
        braking: Braking,
        ways: Ways,
        reconciler: Reconciler,
        emit: Callable[[Event], None],
        *,
        faults: Callable[[], tuple[str, ...]],
        vetoed: Callable[[], Mapping[ServiceKey, Braked]],
    ) -> None:
        self._braking = braking
        self._ways = ways
        self._reconciler = reconciler
        self._emit = emit
        self._faults = faults
        self._vetoed = vetoed
        self._diagnosis = Diagnosis()
        self._answers: dict[str, Answer] = {}
        braking.ways = ways

    def configured(self, rule: Configured) -> None:
        """Use these settings from now on, and note that there may be new targets."""
        self._braking.rule = Rule(rule.share / 100, rule.within, rule.min_targets, rule.longest)
        self._ways.configured()

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ways.run(), name="ways")
            group.create_task(self._look(), name="looks")
            group.create_task(self._diagnose(), name="diagnoses")

    async def _look(self) -> None:
        while True:
            await self._braking.doubted.wait()
            self._braking.doubted.clear()
            took_s = await self._turn()
            while self._braking.is_busy:
                pause_s = LOOK_S if self._braking.is_holding else LOOK_RELEASED_S
                try:
                    async with asyncio.timeout(max(pause_s, took_s / LOOK_SHARE)):
                        await self._braking.doubted.wait()
                        self._braking.doubted.clear()
                except TimeoutError:
                    pass
                took_s = await self._turn()

    async def _turn(self) -> float:
        """Look once. Return how long that took, seconds."""
        started = time.perf_counter()
        for change in await self._braking.turn(self._findings()):
            self._emit(_event(change))
        self._ways.is_frozen = self._braking.is_holding
        # Whom the brake lets go, others may still hold.
        vetoes = self._reconciler.gate.veto(self._vetoed())
        if self._reconciler.gate.brake(self._braking.kept()) or vetoes:
            self._reconciler.look_again()
        return time.perf_counter() - started

    def _findings(self) -> Mapping[str, Finding]:
        faults = self._faults()
        return {
            name: Finding(
                symptoms=(*faults, *(answer.drops if answer is not None else ())),
                proof=answer.proof if answer is not None else "",
                watched_from=answer.watched_from if answer is not None else 0.0,
                watched_to=answer.watched_to if answer is not None else 0.0,
            )
            for name in self._braking.active
            for answer in (self._answers.get(name),)
        }

    async def _diagnose(self) -> None:
        while True:
            held = {name: brake for name, brake in self._braking.active.items() if brake.holds}
            questions = {
                name: Question(hop, brake.entered if brake.stage is Stage.DOUBT else brake.since)
                for name, brake in held.items()
                if (hop := self._ways.hop(name)) is not None
            }
            if questions:
                try:
                    self._answers = await in_thread(
                        self._diagnosis.turn,
                        questions,
                        time.monotonic(),
                        timeout_s=DIAGNOSE_MOST_S,
                        what="diagnosing the director",
                    )
                except HungError:
                    self._diagnosis = Diagnosis()  # the thread that hangs has the old one
            elif self._answers:
                self._answers = {}
                self._diagnosis.forget()
            await until_next_moment(DIAGNOSE_S)


def _event(change: Change) -> BrakeOn | BrakeOff:
    way, _, silent, targets, causes = change.held
    if change.stage is Stage.BRAKED:
        cause = "; ".join(causes) or UNKNOWN_CAUSE
        return BrakeOn(way=way, silent=silent, targets=targets, cause=cause)
    return BrakeOff(way=way, reason=change.why, after_s=round(change.after_s, 3))
