"""Holds what is known of every check, server and service: outcomes go in, the wanted table and events come out.

`arrivals` brings in what a new configuration has, and `verdicts` turns outcomes into verdicts. Over a reload, whatever
keeps its key keeps its state.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from lvs_healthd.config.model import Config
from lvs_healthd.decide.arrivals import Arrivals, Origins, ProbeChanges, Touched
from lvs_healthd.decide.blame import NoFaults, OwnFaults
from lvs_healthd.decide.held import ProbeState, ServerState, ServiceState
from lvs_healthd.decide.paths import NoTable, Paths, PathTable
from lvs_healthd.decide.saved import saved_verdict
from lvs_healthd.decide.service_news import news_of
from lvs_healthd.decide.stale import Stale
from lvs_healthd.decide.tally import Tally
from lvs_healthd.decide.verdicts import Verdicts
from lvs_healthd.decide.wrong_clock import longest_wait_s
from lvs_healthd.events.kinds import Event
from lvs_healthd.ipvs.records import ServiceKey, Table, TableLine, Wanted
from lvs_healthd.plan.planner import Planner
from lvs_healthd.plan.records import service_key
from lvs_healthd.probes.targets import ProbeKey
from lvs_healthd.reconcile.gate import Braked
from lvs_healthd.runtime.pace import paced
from lvs_healthd.state.file import SavedVerdict


class Foreseen(NamedTuple):
    """What a configuration would bring if it were taken over now."""

    wanted: Wanted
    changed: Mapping[ServiceKey, ServiceState]
    """The services that would be new or different, with their plan."""
    kept: Mapping[ServiceKey, Braked]
    """What the brake would hold."""


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
        self.clock = clock
        self._wall = wall
        self.services: list[ServiceState] = []
        """In the order of the configuration. A reload replaces the list, and clears the services in the old one. A task
        that pauses between two services must therefore ask the method `service` for each of them again."""
        self._by_key: dict[ServiceKey, ServiceState] = {}
        self.probes: dict[ProbeKey, ProbeState] = {}
        self._planner = Planner()
        faults = own or NoFaults()
        self.verdicts = Verdicts(
            emit=emit,
            changed=changed,
            planner=self._planner,
            probes=self.probes.values,
            own=faults,
            clock=clock,
            wall=wall,
        )
        self.overrides = self.verdicts.overrides
        """What operators have ordered."""
        self.flapping = self.verdicts.flapping
        self.slow_starts = self.verdicts.slow_starts
        self.endings = self.verdicts.endings
        self.braking = self.verdicts.braking
        self.vetoing = self.verdicts.vetoing
        self.stale = Stale(self.probes.values, clock)
        self.paths = Paths(table or NoTable(), faults, clock)
        self._arrivals = Arrivals(self.probes, self.verdicts, self.paths, tally, wall)
        self.server_count = 0
        """How many real servers are configured, not counting fallbacks."""
        self._suspended: set[ProbeState] = set()

    async def run(self) -> None:
        """Apply the outcomes that concern too many checks for one go, until cancelled."""
        await self.verdicts.run()

    def reconsider(self, servers: Iterable[ServerState]) -> None:
        """Let what operators have ordered take effect on these servers."""
        self.verdicts.reconsider(servers)

    def unsure_probes(self) -> tuple[int, str]:
        """Count the probes whose last outcome was unsure, and return the reason of one of them."""
        return len(self.verdicts.unsure), next(iter(self.verdicts.unsure.values()), "")

    @property
    def blindness(self) -> str:
        """Why more than half of the plain probes cannot tell anything; "" if that is not so.

        Path probes do not count, because a director that cannot probe the ways of clients' packets still sees servers.
        """
        plain = len(self.probes) - len(self.paths.probes) - sum(not each.is_path for each in self._suspended)
        if 2 * len(self.verdicts.unsure) <= plain:
            return ""
        reasons = [reason for probe, reason in self.verdicts.unsure.items() if not probe.is_path]
        return f"{len(reasons)} of {plain} cannot tell: {reasons[0]}" if 2 * len(reasons) > plain else ""

    def suspend(self, probe: ProbeState) -> None:
        """Note that a probe is not run any more. Its verdicts stay, and what it found last tells nothing about now."""
        probe.is_suspended, probe.is_stale = True, False
        self._suspended.add(probe)
        self.verdicts.unsure.pop(probe, None)
        if probe.is_verified:
            self.verdicts.wrong_clock.forget(probe, longest_wait_s(probe.check))

    def resume(self, probe: ProbeState) -> None:
        """Note that a probe is run again."""
        probe.resumed(self.clock())
        self._suspended.discard(probe)
        if probe.is_verified:
            self.verdicts.wrong_clock.add(longest_wait_s(probe.check))

    @property
    def clock_suspected(self) -> str:
        """Why the director's clock is suspected, and what to do; empty while it is not."""
        return self.verdicts.wrong_clock.why

    def remember(self, written: float) -> None:
        """Note the time of writing that the state file contains, Unix time."""
        self.verdicts.wrong_clock.remember(written, self.clock())

    def state_written(self) -> float:
        """Note that the state is saved now. Return the time to write into the file, Unix time."""
        return self.verdicts.wrong_clock.saved(self.clock(), self._wall())

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
        self.verdicts.history, self.verdicts.began = config.daemon.history, self.clock()
        before = self._by_key
        after: list[ServiceState] = []
        changed: list[ServiceState] = []
        touched: Touched = {}
        for service in config.services:
            key = service_key(service)
            state = before.get(key)
            if state is None or state.config is not service:
                state = ServiceState(service)
                changed.append(state)
                self._arrivals.fill(state, before.get(key), Origins(actual, saved, touched, is_reload=bool(before)))
            after.append(state)
        self.services = after
        self._by_key = {state.key: state for state in after}
        for state in [each for each in before.values() if self._by_key.get(each.key) is not each]:
            for server in state.members:
                if server.service is state:
                    self._arrivals.forget(server, touched)
            # The service and its servers refer to each other, and the garbage collector ignores them
            # (`runtime.garbage`). So the cycle is broken here.
            state.servers.clear()
            state.spares.clear()
        probes = self._arrivals.rewatched(touched)
        self._suspended = {probe for probe in self._suspended if probe.watches}
        self.server_count = sum(len(state.servers) for state in self.services)
        _plan_for(self._planner, self.services, changed, mark_services)
        self.verdicts.switched(self.paths.switched(), runs=self.paths.runs)
        return probes

    async def foreseen(
        self, config: Config, actual: Table, mark_services: Table | None = None, *, runs_paths: bool = False
    ) -> Foreseen:
        """Return what would be wanted if a configuration were taken over by a reload. Nothing is changed for that.

        The verdicts are those of now. `configure` explains the arguments.

        runs_paths: whether path probes would be run.
        """
        services: list[ServiceState] = []
        changed: dict[ServiceKey, ServiceState] = {}
        async for service in paced(config.services):
            key = service_key(service)
            state = self._by_key.get(key)
            if state is None or state.config is not service:
                state = changed[key] = await self._arrivals.foreseen(service, state, actual, runs_paths=runs_paths)
            services.append(state)
        planner = self._planner.copy()
        _plan_for(planner, services, changed.values(), mark_services)
        for key in planner.plan(actual, ()):
            changed[key].plan = planner.standing(key)
        kept = self.braking.kept(changed)
        return Foreseen(planner.wanted, changed, {key: kept[key] for key in kept if key in planner.wanted.table})

    def wanted(self, actual: Table, moved: Iterable[TableLine] | None = None) -> Wanted:
        """Return the wanted table, and report services that lost their last server or got one back.

        actual: the kernel's table.
        moved: the lines of `actual` that have changed since the last call; None when any line may have changed.
        """
        for key in self._planner.plan(actual, moved):
            service = self._by_key[key]
            service.plan = self._planner.standing(key)
            for event in news_of(service):
                self._emit(event)
        return self._planner.wanted

    def take_touched(self) -> AbstractSet[TableLine] | None:
        """Return the lines of the wanted table that changed since the last call; None when any may have changed."""
        return self._planner.take_touched()

    def saved_verdicts(self) -> Iterator[SavedVerdict]:
        """Yield the verdicts for the state file. A reload may happen between two of them."""
        shift_s = self._wall() - self.clock()
        for service in list(self.services):  # copies, because a reload may happen meanwhile
            for server in list(service.members):
                for watch in server.watches:
                    yield saved_verdict(watch, self.slow_starts.since(server), shift_s)


def _plan_for(
    planner: Planner,
    services: Iterable[ServiceState],
    changed: Collection[ServiceState],
    mark_services: Table | None,
) -> None:
    """Have a planner plan for these services from now on.

    changed: those of them that are new or different.
    """
    planner.configure(
        [state.planned for state in services],
        {(state.key, server.key): server.health for state in changed for server in state.servers},
        {
            (state.key, server.key): server.special
            for state in changed
            for server in state.servers
            if server.special is not None
        },
        mark_services,
    )
    for state in changed:
        for spare in state.spares:
            if spare.watches or spare.special is not None:
                planner.spare_changed(state.key, spare.key, spare.health, spare.special)
