"""Turns the outcomes of probes into verdicts, and passes on what each changes: events, the plan, the pace of probes.

The rules are elsewhere and pure (`health`). One probe's outcome counts for every service that uses the same target.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import NamedTuple

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.model import Daemon
from lvs_healthd.decide.beginnings import presumed
from lvs_healthd.decide.blame import Blame, OwnFaults
from lvs_healthd.decide.braking import Braking
from lvs_healthd.decide.endings import Endings
from lvs_healthd.decide.flapping import Flapping
from lvs_healthd.decide.held import LONGEST_STREAK, ProbeState, ServerState, Watch
from lvs_healthd.decide.overrides import Overrides
from lvs_healthd.decide.paths import PathProbeState
from lvs_healthd.decide.silence import may_be_silence
from lvs_healthd.decide.slow_start import SlowStarts, is_needed
from lvs_healthd.decide.telling import failing, is_news, not_sure, verdict_changed, weight_changed
from lvs_healthd.decide.vetoing import Vetoing
from lvs_healthd.decide.wrong_clock import WrongClock
from lvs_healthd.events.kinds import Event
from lvs_healthd.health import machine
from lvs_healthd.health.machine import DOWN, UNKNOWN, UP, Health
from lvs_healthd.plan.planner import Planner
from lvs_healthd.plan.precedence import Special
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason
from lvs_healthd.runtime.pace import paced
from lvs_healthd.runtime.release import RELEASED

AT_ONCE = 64
"""The maximum number of checks to which an outcome is applied in one go. If all of them change, that takes 2 ms."""

MOST_UNFINISHED = 4
"""The maximum number of outcomes of one probe that wait to be applied. The machine is then overloaded, and a further
outcome is dropped, as if the probe had not run."""


class _Judging(NamedTuple):
    """One outcome that is being applied to the checks of a probe."""

    probe: ProbeState
    outcome: Outcome
    passes: int
    """How many probes had passed between the failures that this outcome ends, if it is a pass, and those before."""
    is_other: bool
    """Whether the outcome before had another reason."""
    latency_s: float
    now: float
    """When the probe ended."""
    watches: tuple[Watch, ...]
    """The checks that used the probe then. One that a reload has dropped meanwhile is left out."""


class Verdicts:
    """Judges every probe (`Judge`), and knows the probes that cannot tell anything.

    emit: receives the events.
    changed: called when the wanted table may have changed.
    planner: plans for the servers whose health or orders change.
    probes: returns all the probes there are.
    own: knows the faults of the director's own network.
    clock: monotonic time, seconds.
    wall: Unix time, seconds.
    """

    def __init__(
        self,
        *,
        emit: Callable[[Event], None],
        changed: Callable[[], None],
        planner: Planner,
        probes: Callable[[], Iterable[ProbeState]],
        own: OwnFaults,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._emit = emit
        self._changed = changed
        self.paced: Callable[[ProbeState], None] = lambda _: None
        """Called when a probe is to run more often or less often from now on."""
        self._planner = planner
        self.clock = clock
        self._wall = wall
        self.history = Daemon().history
        self.began = clock()
        self.overrides = Overrides()
        """What operators have ordered."""
        self.flapping = Flapping(emit, self.reconsider, clock)
        self.slow_starts = SlowStarts(self.reconsider, clock)
        self.endings = Endings()
        self.wrong_clock = WrongClock(RELEASED.timestamp())
        self.braking = Braking(probes, own, clock)
        self.vetoing = Vetoing(self.braking.keeps, clock)
        self.braking.let_go = self.vetoing.consider
        self._blame = Blame(probes, own)
        self.unsure: dict[ProbeState, str] = {}
        """Each probe whose last outcome was unsure, with the reason in words."""
        self._backlog: deque[_Judging] = deque()
        """Outcomes for `run` to apply."""
        self._has_backlog = asyncio.Event()
        self._unfinished: Counter[ProbeState] = Counter()
        """How many outcomes of each probe are not applied to all its checks yet."""

    def blamed(self, probe: ProbeState, outcome: Outcome, course: Course) -> Outcome | None:
        """Return a doubtful outcome as down or unsure; None if that takes a moment (see `Judge`)."""
        return self._blame.settled(probe, outcome, course, self.clock())

    def presented(self, probe: ProbeState) -> None:
        """Note that a probe was presented a certificate with another end than before."""
        self.endings.presented(probe)

    def dated(self, probe: ProbeState, outcome: Outcome) -> Outcome:
        """Return an outcome of a probe that verifies a certificate; unsure if our own clock may be the cause."""
        if not (probe.watches and self.wrong_clock.concerns(probe, outcome)):
            return outcome
        worth = self.wrong_clock.weigh(probe, outcome, self.clock(), self._wall())
        self.tell_of_clock()
        return worth

    def tell_of_clock(self) -> None:
        """Tell if the director's clock is suspected from now on, or not any more."""
        if (news := self.wrong_clock.news(self.clock(), self._wall())) is not None:
            self._emit(news)

    def judge(self, probe: ProbeState, outcome: Outcome, latency_s: float) -> bool:
        """Apply an outcome to every check that uses this probe. Return True when no check's health has changed.

        When there are too many checks to do this at once, `run` does it soon, and the result is False.
        """
        if not probe.watches:
            return True  # a reload has dropped it
        previous, probe.last = probe.last, outcome
        kind = outcome.kind
        goes_on = previous is not None and previous.kind is kind
        if not goes_on:
            if previous is not None and previous.kind is OutcomeKind.UP:
                probe.passed = min(probe.passed + probe.streak, LONGEST_STREAK)
            probe.streak = 1
        elif probe.streak < LONGEST_STREAK:
            probe.streak += 1
        if kind is OutcomeKind.UNSURE and outcome.reason is not Reason.NO_WORD:
            self.unsure[probe] = outcome.detail
        elif self.unsure:
            self.unsure.pop(probe, None)
        if probe.silent_since is not None or may_be_silence(outcome):
            self.braking.judged(probe, outcome)
        is_other = previous is None or previous.reason is not outcome.reason
        passes = 0
        if probe.passed < 0:
            if kind is OutcomeKind.UP:
                passes, probe.passed = ~probe.passed, 0
        elif kind is OutcomeKind.DOWN:
            probe.passed = ~probe.passed
        now = self.clock()
        if len(probe.watches) > AT_ONCE or (self._unfinished and probe in self._unfinished):
            self._put_off(_Judging(probe, outcome, passes, is_other, latency_s, now, probe.watches))
            return False
        settled = True
        for watch in probe.watches:
            settled &= self._apply(watch, outcome, passes, is_other=is_other, latency_s=latency_s, now=now)
        if not (settled and goes_on) and probe.repace():
            self.paced(probe)
        return settled

    def repace(self, probe: ProbeState) -> None:
        """Find out how often a probe is to run from now on, and pass it on if that has changed."""
        if probe.repace():
            self.paced(probe)

    def _put_off(self, judging: _Judging) -> None:
        if self._unfinished[judging.probe] < MOST_UNFINISHED:
            self._unfinished[judging.probe] += 1
            self._backlog.append(judging)
            self._has_backlog.set()

    async def run(self) -> None:
        """Apply the outcomes that concern too many checks for one go, until cancelled."""
        while True:
            await self._has_backlog.wait()
            self._has_backlog.clear()
            while self._backlog:
                await self._work_off(self._backlog.popleft())

    async def _work_off(self, judging: _Judging) -> None:
        settled = True
        probe, outcome, passes, is_other, latency_s, now, watches = judging
        async for watch in paced(watches):
            if watch.server.watches:
                settled &= self._apply(watch, outcome, passes, is_other=is_other, latency_s=latency_s, now=now)
        self._unfinished[probe] -= 1
        if not self._unfinished[probe]:
            del self._unfinished[probe]
        self.repace(probe)
        if settled:
            probe.settle(watches, outcome)

    def _apply(
        self, watch: Watch, outcome: Outcome, passes: int, *, is_other: bool, latency_s: float, now: float
    ) -> bool:
        """Apply an outcome to one check. Return True when the check's health has not changed.

        The arguments are those of `_Judging`, which few outcomes need.
        """
        if is_other and outcome.kind is OutcomeKind.UNSURE:
            self._emit(not_sure(watch, outcome))
        if outcome.asks is not None and outcome.asks != watch.asks:
            self._reweigh(watch, outcome)
        before, check = watch.health, watch.check
        after = machine.step(before, outcome, rise=check.rise, fall=check.fall, now=now, latency_s=latency_s)
        if after is before:
            if not (watch.probe.is_path and outcome.kind is OutcomeKind.UNSURE and before.verdict is UNKNOWN):
                return True
            after = presumed(watch, outcome, now)
        watch.health = after
        self._health_changed(watch, before, after, now)
        if before.failures and before.verdict is UP and not (after.failures or watch.server.is_ordered_out):
            self.flapping.recovered(watch, before.failures, passes, now)
        return False

    def switched(self, probes: Iterable[PathProbeState], *, runs: bool) -> None:
        """Let the checks of these path probes count from now on, or not, because they begin or cease to be run."""
        now = self.clock()
        for probe in probes:
            self.unsure.pop(probe, None)
            probe.sure_at = now
            for watch in probe.watches:
                before, is_up = watch.health, watch.server.health.verdict is UP
                if runs:
                    watch.health = Health(UP if is_up else UNKNOWN, now)
                self._health_changed(watch, before, watch.health, now)
            self.repace(probe)

    def reconsider(self, servers: Iterable[ServerState]) -> None:
        """Let what operators have ordered take effect on these servers."""
        for server in servers:
            server.hand = self.overrides.hand_of(server.service.key, server.key)
            was = self._set_apart(server)
            if server.special != was:
                self._plan_anew(server)
                self._changed()

    def _set_apart(self, server: ServerState) -> Special | None:
        """Find out what sets a server apart now. Return what did before."""
        was, server.special = server.special, server.reconsidered(server.hand)
        if server.service.config.slow_start and not server.is_spare:
            has_served = is_needed(server, was) or self.braking.keeps(server) or self.vetoing.keeps(server)
            if self.slow_starts.follow(server, has_served=has_served):
                server.special = server.reconsidered(server.hand)
        return was

    def _plan_anew(self, server: ServerState) -> None:
        changed = self._planner.spare_changed if server.is_spare else self._planner.changed
        changed(server.service.key, server.key, server.health, server.special)

    def _reweigh(self, watch: Watch, outcome: Outcome) -> None:
        """Take the weight for which a check asks."""
        watch.asks = outcome.asks
        server = watch.server
        was = self._set_apart(server)
        if server.special == was:
            return
        self._emit(weight_changed(watch, was, outcome))
        self._plan_anew(server)
        self._changed()

    def _health_changed(self, watch: Watch, before: Health, after: Health, now: float) -> None:
        server = watch.server
        if after.failures and is_news(before, after) and not server.is_ordered_out:
            self._emit(failing(watch, after))
        was, health = server.health, server.combined()
        if was is health:
            return
        server.health = health
        if was.verdict is health.verdict:
            self._plan_anew(server)
            return
        if server.service.config.slow_start:
            self._set_apart(server)
        self._plan_anew(server)
        self.braking.health_changed(server)
        self.vetoing.health_changed(server, was.verdict)
        self.tell(server, was, after, watch.check, now)
        self._changed()
        if was.verdict is UP and health.verdict is DOWN and not server.is_ordered_out:
            self.flapping.fell(server, now)

    def tell(self, server: ServerState, was: Health, by: Health, check: AnyCheck | None, now: float) -> None:
        """Tell of a server's new verdict. The arguments are those of `verdict_changed`."""
        if (event := verdict_changed(server, was, by, check, now)) is not None:
            self._emit(event)
