"""Holds what is known of every check and server, and turns outcomes into verdicts, events and the wanted table.

The rules are elsewhere and pure (`health`, `plan`). This file keeps the state between two outcomes and passes one
probe's outcome to every service that uses the same target. Over a reload, whatever keeps its key keeps its state.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.model import Config, Daemon
from lvs_healthd.decide.beginnings import (
    carried_over,
    first_health,
    from_saved,
    is_serving,
    presumed,
    rate_before,
    remarked,
    silent_agent,
    to_saved,
)
from lvs_healthd.decide.blame import Blame, NoFaults, OwnFaults
from lvs_healthd.decide.braking import Braking
from lvs_healthd.decide.endings import Endings
from lvs_healthd.decide.flapping import Flapping
from lvs_healthd.decide.held import (
    LONGEST_STREAK,
    Judging,
    ProbeState,
    ServerState,
    ServiceState,
    Tally,
    Watch,
)
from lvs_healthd.decide.overrides import Overrides
from lvs_healthd.decide.paths import NoTable, Paths, PathTable
from lvs_healthd.decide.stale import Stale
from lvs_healthd.decide.telling import failing, is_news, not_sure, verdict_changed, weight_changed
from lvs_healthd.decide.wrong_clock import WrongClock, longest_wait_s
from lvs_healthd.events.kinds import Event, ServiceFallback, ServiceServing
from lvs_healthd.health import machine
from lvs_healthd.health.damping import Flaps
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import ServiceKey, Table, TableLine, Wanted
from lvs_healthd.plan.planner import Planner
from lvs_healthd.plan.records import service_key
from lvs_healthd.probes.outcome import AskedWeight, Course, Outcome, OutcomeKind, Reason
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.runtime.pace import paced
from lvs_healthd.runtime.release import RELEASED
from lvs_healthd.state.file import SavedFlaps, SavedVerdict

AT_ONCE = 64
"""The maximum number of checks to which an outcome is applied in one go. If all of them change, that takes 2 ms."""

MOST_UNFINISHED = 4
"""The maximum number of outcomes of one probe that wait to be applied. The machine is then overloaded, and a further
outcome is dropped, as if the probe had not run."""


class ProbeChanges(NamedTuple):
    """Which probes a new configuration adds, and which it drops."""

    added: list[ProbeState]
    dropped: list[AnyCheck]


class _Origins(NamedTuple):
    """The sources of a newly configured server's first health, and a list for its new probes."""

    actual: Table
    saved: Mapping[tuple[str, str, str], SavedVerdict]
    touched: "_Touched"
    """Collects the watches of the new server."""


_Touched = dict[ProbeState, list[Watch]]
"""The probes whose watches a new configuration changes, each with the watches that are new.

The watches of a probe are changed all at once, at the end, because thousands of servers may share the probe.
"""


class Decisions:
    """The state of every configured check, server and service.

    emit: receives the events.
    changed: called when the wanted table may have changed.
    tally: takes a service's name and a check type, and returns the counter for their probes.
    clock: monotonic time, seconds.
    wall: Unix time, seconds.
    own: knows the faults of the director's own network; None when nobody watches for them.
    table: what is known of the kernel's table; None when there are no path probes.
    """

    def __init__(
        self,
        *,
        emit: Callable[[Event], None],
        changed: Callable[[], None],
        tally: Callable[[str, str], Tally],
        clock: Callable[[], float],
        wall: Callable[[], float],
        own: OwnFaults | None = None,
        table: PathTable | None = None,
    ) -> None:
        self._emit = emit
        self._changed = changed
        self.paced: Callable[[ProbeState], None] = lambda _: None
        """Called when a probe is to run more often or less often from now on."""
        self._tally = tally
        self.clock = clock
        self._wall = wall
        self.history = Daemon().history
        self.overrides = Overrides()
        """What operators have ordered."""
        self.began = clock()
        self.flapping = Flapping(emit, self.reconsider, clock)
        self._planner = Planner()
        self._backlog: deque[Judging] = deque()
        """Outcomes for `run` to apply."""
        self._has_backlog = asyncio.Event()
        self._unfinished: Counter[ProbeState] = Counter()
        """How many outcomes of each probe are not applied to all its checks yet."""
        self._wrong_clock = WrongClock(RELEASED.timestamp())
        self.endings = Endings()
        self._unsure: dict[ProbeState, str] = {}
        """Each probe whose last outcome was unsure, with the reason in words."""
        self.services: list[ServiceState] = []
        """In the order of the configuration. A reload replaces the list, and clears the services in the old one. A task
        that pauses between two services must therefore ask the method `service` for each of them again."""
        self._by_key: dict[ServiceKey, ServiceState] = {}
        self.probes: dict[AnyCheck, ProbeState] = {}
        self.stale = Stale(self.probes.values, clock)
        self._blame = Blame(self.probes.values, own or NoFaults())
        self.braking = Braking(self.probes.values, own or NoFaults(), clock)
        self.paths = Paths(table or NoTable(), own or NoFaults(), clock)
        self.server_count = 0
        """How many real servers are configured, not counting fallbacks."""

    def unsure_probes(self) -> tuple[int, str]:
        """Count the probes whose last outcome was unsure, and return the reason of one of them."""
        return len(self._unsure), next(iter(self._unsure.values()), "")

    @property
    def blindness(self) -> str:
        """Why more than half of the plain probes cannot tell anything; "" if that is not so.

        Path probes do not count, because a director that cannot probe the ways of clients' packets still sees servers.
        """
        plain = len(self.probes) - len(self.paths.probes)
        if 2 * len(self._unsure) <= plain:
            return ""
        reasons = [reason for probe, reason in self._unsure.items() if not probe.is_path]
        return f"{len(reasons)} of {plain} cannot tell: {reasons[0]}" if 2 * len(reasons) > plain else ""

    @property
    def clock_suspected(self) -> str:
        """Why the director's clock is suspected, and what to do; empty while it is not."""
        return self._wrong_clock.why

    def remember(self, written: float) -> None:
        """Note the time of writing that the state file contains, Unix time."""
        self._wrong_clock.remember(written, self.clock())

    def state_written(self) -> float:
        """Note that the state is saved now. Return the time to write into the file, Unix time."""
        return self._wrong_clock.saved(self.clock(), self._wall())

    @property
    def up(self) -> int:
        """How many real servers were up when the table was last decided."""
        return self._planner.up

    def service(self, key: ServiceKey) -> ServiceState | None:
        """Return the state of a service; None when it is not configured."""
        return self._by_key.get(key)

    @property
    def servers(self) -> Iterator[ServerState]:
        """Every configured real server, not including fallbacks."""
        for service in self.services:
            yield from service.servers

    def configure(
        self,
        config: Config,
        actual: Table,
        saved: Mapping[tuple[str, str, str], SavedVerdict],
        mark_services: Table | None = None,
    ) -> ProbeChanges:
        """Take over a configuration, at start or on reload, and return the probes that it adds and drops.

        State that is already known is kept. A service that is the same object as before is not touched.

        actual: the kernel's table. A new server that is in the table with weight > 0 begins as up. A new server that is
            not in the table must pass `rise` probes first.
        saved: verdicts from before a restart, by service, server and check name. They say why a server that is not in
            the table was taken out.
        mark_services: the services of path probes; None for none.
        """
        self.history, self.began = config.daemon.history, self.clock()
        before = self._by_key
        after: list[ServiceState] = []
        changed: list[ServiceState] = []
        touched: _Touched = {}
        for service in config.services:
            key = service_key(service)
            state = before.get(key)
            if state is None or state.config is not service:
                state = ServiceState(service)
                changed.append(state)
                self._fill(state, before.get(key), _Origins(actual, saved, touched))
            after.append(state)
        self.services = after
        self._by_key = {state.key: state for state in after}
        for state in {*before.values()} - {*after}:
            for server in state.servers:
                if server.service is state:
                    _forget(server, touched)
            # The service and its servers refer to each other, and the garbage collector ignores them
            # (`runtime.garbage`). So the cycle is broken here.
            state.servers.clear()
        probes = self._rewatch(touched)
        self.server_count = sum(len(state.servers) for state in self.services)
        self._planner.configure(
            [state.planned for state in self.services],
            {(state.key, server.key): server.health for state in changed for server in state.servers},
            {
                (state.key, server.key): server.special
                for state in changed
                for server in state.servers
                if server.special is not None
            },
            mark_services,
        )
        self._switch_paths()
        return probes

    def _switch_paths(self) -> None:
        """Let the checks of path probes count from now on, or not, if such probes begin or cease to be run."""
        now = self.clock()
        for probe in self.paths.switched():
            self._unsure.pop(probe, None)
            probe.sure_at = now
            for watch in probe.watches:
                before, is_up = watch.health, watch.server.health.verdict is Verdict.UP
                if self.paths.runs:
                    watch.health = Health(Verdict.UP if is_up else Verdict.UNKNOWN, now)
                self._health_changed(watch, before, watch.health)
            self._repace(probe)

    def _fill(self, service: ServiceState, old: ServiceState | None, origins: _Origins) -> None:
        """Give a new or changed service its servers. Unchanged servers move over from the old service as they are."""
        known = {server.key: server for server in old.servers} if old is not None else {}
        for config, line in zip(service.config.real_servers, service.planned.servers, strict=True):
            key = line.key
            server = known.get(key)
            if server is not None and server.config == config and server.service.config.name == service.config.name:
                server.service = service
                service.servers.append(server)
            else:
                self._add_server(ServerState(service, config, key), server, origins)
        if old is not None and old.serving is not None:
            service.serving = old.serving
        elif service.may_serve():
            service.serving = True

    def _rewatch(self, touched: _Touched) -> ProbeChanges:
        """Give the probes their new watches, and remove the watches of forgotten servers."""
        changes = ProbeChanges([], [])
        tallies: dict[tuple[str, str], Tally] = {}
        same: dict[tuple[Tally, ...], tuple[Tally, ...]] = {}
        """Each tuple of tallies. Nearly all probes of a service have the same single tally, so they share its tuple."""
        for probe, new in touched.items():
            is_new = not probe.watches
            watches = (*(watch for watch in probe.watches if watch.server.watches), *new)
            counts: dict[Tally, int] = {}
            for watch in watches:
                labels = (watch.server.service.config.name, watch.type)
                tally = tallies.get(labels)
                if tally is None:
                    tally = tallies[labels] = self._tally(*labels)
                counts[tally] = counts.get(tally, 0) + 1
            distinct = tuple(counts)
            times = tuple(counts.values()) if len(counts) < len(watches) else None
            probe.use(watches, same.setdefault(distinct, distinct), times)
            self._repace(probe)
            self.endings.presented(probe)
            if is_new:
                changes.added.append(probe)
                if probe.is_verified:
                    self._wrong_clock.add(longest_wait_s(probe.check))
            elif not watches:
                del self.probes[probe.check]
                self.paths.forget(probe)
                self._unsure.pop(probe, None)
                self.endings.forget(probe)
                if probe.is_verified:
                    self._wrong_clock.forget(probe, longest_wait_s(probe.check))
                changes.dropped.append(probe.check)
        self._tell_of_clock()
        return changes

    def blamed(self, probe: ProbeState, outcome: Outcome, course: Course) -> Outcome | None:
        """Return a doubtful outcome as down or unsure; None if that takes a moment (see `Judge`)."""
        return self._blame.settled(probe, outcome, course, self.clock())

    def presented(self, probe: ProbeState) -> None:
        """Note that a probe was presented a certificate with another end than before."""
        self.endings.presented(probe)

    def dated(self, probe: ProbeState, outcome: Outcome) -> Outcome:
        """Return an outcome of a probe that verifies a certificate; unsure if our own clock may be the cause."""
        if not (probe.watches and self._wrong_clock.concerns(probe, outcome)):
            return outcome
        worth = self._wrong_clock.weigh(probe, outcome, self.clock(), self._wall())
        self._tell_of_clock()
        return worth

    def _tell_of_clock(self) -> None:
        if (news := self._wrong_clock.news(self.clock(), self._wall())) is not None:
            self._emit(news)

    def judge(self, probe: ProbeState, outcome: Outcome, latency_s: float) -> bool:
        """Apply an outcome to every check that uses this probe. Return True when no check's health has changed.

        When there are too many checks to do this at once, `run` does it soon, and the result is False.
        """
        if not probe.watches:
            return True  # a reload has dropped it
        previous, probe.last = probe.last, outcome
        goes_on = previous is not None and previous.kind is outcome.kind
        if not goes_on and previous is not None and previous.kind is OutcomeKind.UP:
            probe.passed = min(probe.passed + probe.streak, LONGEST_STREAK)
        probe.streak = min(probe.streak + 1, LONGEST_STREAK) if goes_on else 1
        if outcome.kind is OutcomeKind.UNSURE and outcome.reason is not Reason.NO_WORD:
            self._unsure[probe] = outcome.detail
        else:
            self._unsure.pop(probe, None)
        if outcome.kind is not OutcomeKind.UP or probe.silent_since is not None:
            self.braking.judged(probe, outcome)
        is_other = previous is None or previous.reason is not outcome.reason
        passes = 0
        if outcome.kind is OutcomeKind.DOWN and probe.passed >= 0:
            probe.passed = ~probe.passed
        elif outcome.kind is OutcomeKind.UP and probe.passed < 0:
            passes, probe.passed = ~probe.passed, 0
        judging = Judging(probe, outcome, passes, is_other, latency_s, self.clock(), probe.watches)
        if len(probe.watches) > AT_ONCE or probe in self._unfinished:
            self._put_off(judging)
            return False
        settled = True
        for watch in probe.watches:
            settled &= self._apply(watch, judging)
        if not (settled and goes_on):
            self._repace(probe)
        return settled

    def _repace(self, probe: ProbeState) -> None:
        if probe.repace():
            self.paced(probe)

    def _put_off(self, judging: Judging) -> None:
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

    async def _work_off(self, judging: Judging) -> None:
        settled = True
        async for watch in paced(judging.watches):
            if watch.server.watches:
                settled &= self._apply(watch, judging)
        probe = judging.probe
        self._unfinished[probe] -= 1
        if not self._unfinished[probe]:
            del self._unfinished[probe]
        self._repace(probe)
        if settled:
            probe.settle(judging.watches, judging.outcome)

    def _apply(self, watch: Watch, judging: Judging) -> bool:
        """Apply an outcome to one check. Return True when the check's health has not changed."""
        _, outcome, passes, is_other, latency_s, now, _ = judging
        if is_other and outcome.kind is OutcomeKind.UNSURE:
            self._emit(not_sure(watch, outcome))
        if outcome.asks is not None and outcome.asks != watch.asks:
            self._reweigh(watch, outcome)
        before, check = watch.health, watch.check
        after = machine.step(before, outcome, rise=check.rise, fall=check.fall, now=now, latency_s=latency_s)
        if after is before:
            if not (watch.probe.is_path and outcome.kind is OutcomeKind.UNSURE and before.verdict is Verdict.UNKNOWN):
                return True
            after = presumed(watch, outcome, now)
        watch.health = after
        self._health_changed(watch, before, after)
        if before.failures and before.verdict is Verdict.UP and not (after.failures or watch.server.is_ordered_out):
            self.flapping.recovered(watch, before.failures, passes, now)
        return False

    def wanted(self, actual: Table, moved: Iterable[TableLine] | None = None) -> Wanted:
        """Return the wanted table, and report services that lost their last server or got one back.

        actual: the kernel's table.
        moved: the lines of `actual` that have changed since the last call; None when any line may have changed.
        """
        for key in self._planner.plan(actual, moved):
            self._announce_service(self._by_key[key])
        return self._planner.wanted

    def take_touched(self) -> set[TableLine] | None:
        """Return the lines of the wanted table that changed since the last call; None when any may have changed."""
        return self._planner.take_touched()

    def saved_verdicts(self) -> Iterator[SavedVerdict]:
        """Yield the verdicts for the state file. A reload may happen between two of them."""
        shift = self._wall() - self.clock()
        for watch in self._watches():
            health = watch.health
            yield SavedVerdict(
                service=str(watch.server.service.key),
                server=str(watch.server.key),
                check=watch.check.name,
                verdict=health.verdict,
                detail=health.detail,
                since=health.since + shift,
                asks=None if watch.asks is None else (watch.asks.value, watch.asks.is_share),
                flaps=_saved_flaps(watch, shift),
            )

    def _watches(self) -> Iterator[Watch]:
        for server in list(self.servers):  # a copy, because a reload may happen meanwhile
            yield from server.watches

    def _add_server(self, server: ServerState, old: ServerState | None, origins: _Origins) -> None:
        service, config = server.service, server.config
        now = self.clock()
        shift_s = self._wall() - now
        present = old is None and is_serving(config, service.key, server.key, origins.actual)
        for check in config.checks:
            key = probe_key(check)
            probe = self.probes.get(key)
            if probe is None:
                self.probes[key] = probe = self.paths.probe(key, self) or ProbeState(key, self)
            known = probe.known(check.rise, check.fall)
            if old is not None:
                before = next((watch for watch in old.watches if watch.check.name == check.name), None)
                health, asks = carried_over(check, old, known, now), before.asks if before is not None else None
                if before is not None and before.probe is not probe:
                    probe.inherit(before.probe)
            else:
                memory = origins.saved.get((str(service.key), str(server.key), check.name)) if origins.saved else None
                health = first_health(memory, known, present=present, now=now, shift_s=shift_s)
                asks = AskedWeight(*memory.asks) if memory is not None and memory.asks is not None else None
            watch = Watch(check, server, probe, silent_agent(health, check, config.checks))
            watch.asks = asks
            watch.remarked = () if old is None else remarked(check, old)
            watch.rate = None if old is None else rate_before(check, old)
            origins.touched.setdefault(probe, []).append(watch)
            server.watches += (watch,)
        server.health = server.combined()
        self.flapping.keep(server, old.flaps if old is not None else _remembered(server, origins, shift_s))
        server.hand = self.overrides.hand_of(service.key, server.key)
        server.special = server.reconsidered(server.hand)
        service.servers.append(server)
        if old is not None and old.health.verdict is not server.health.verdict:
            self._emit_verdict(server, old.health, server.health, None)

    def reconsider(self, servers: Iterable[ServerState]) -> None:
        """Let what operators have ordered take effect on these servers."""
        for server in servers:
            server.hand = self.overrides.hand_of(server.service.key, server.key)
            was, server.special = server.special, server.reconsidered(server.hand)
            if server.special != was:
                self._planner.changed(server.service.key, server.key, server.health, server.special)
                self._changed()

    def _reweigh(self, watch: Watch, outcome: Outcome) -> None:
        """Take the weight for which a check asks."""
        watch.asks = outcome.asks
        server = watch.server
        was, server.special = server.special, server.reconsidered(server.hand)
        if server.special == was:
            return
        self._emit(weight_changed(watch, was, outcome))
        self._planner.changed(server.service.key, server.key, server.health, server.special)
        self._changed()

    def _health_changed(self, watch: Watch, before: Health, after: Health) -> None:
        server = watch.server
        if is_news(before, after) and not server.is_ordered_out:
            self._emit(failing(watch, after))
        was, server.health = server.health, server.combined()
        if was is not server.health:
            self._planner.changed(server.service.key, server.key, server.health, server.special)
        if was.verdict is not server.health.verdict:
            self.braking.health_changed(server)
            self._emit_verdict(server, was, after, watch.check)
            self._changed()
            if was.verdict is Verdict.UP and server.health.verdict is Verdict.DOWN and not server.is_ordered_out:
                self.flapping.fell(server, self.clock())

    def _emit_verdict(self, server: ServerState, was: Health, by: Health, check: AnyCheck | None) -> None:
        if (event := verdict_changed(server, was, by, check, self.clock())) is not None:
            self._emit(event)

    def _announce_service(self, service: ServiceState) -> None:
        standing = self._planner.standing(service.key)
        if standing.may_serve == service.serving or standing.leaving:
            # While servers that a reload has dropped keep serving, nothing has changed for clients.
            return
        if standing.may_serve:
            service.serving = True
            self._emit(ServiceServing(service=service.config.name, servers=standing.up))
        elif service.serving or not standing.may_come:
            service.serving = False
            fallback = tuple(str(server.endpoint) for server in service.config.fallback)
            self._emit(ServiceFallback(service=service.config.name, fallback=fallback))


def _saved_flaps(watch: Watch, shift_s: float) -> SavedFlaps | None:
    """Return what is to be saved of the falls of a check's server, with the first of its checks."""
    server = watch.server
    if server.flaps is None or not server.watches or watch is not server.watches[0]:
        return None
    return to_saved(server.flaps, shift_s)


def _remembered(server: ServerState, origins: _Origins, shift_s: float) -> Flaps | None:
    """Return what the state file says of a server's falls; None for nothing.

    shift_s: Unix time minus monotonic time, seconds.
    """
    if not origins.saved or not server.watches:
        return None
    line = str(server.service.key), str(server.key), server.watches[0].check.name
    memory = origins.saved.get(line)
    return from_saved(memory.flaps, shift_s) if memory is not None and memory.flaps is not None else None


def _forget(server: ServerState, touched: _Touched) -> None:
    """Drop a server's watches. Without them, it counts as forgotten."""
    for watch in server.watches:
        touched.setdefault(watch.probe, [])
    server.watches = ()
