"""Runs the path probes: gives each its mark service and its source, and lets it probe only while both are right.

A path probe without its mark service would reach any server of its service, and IPVS would remember that for its source
port. So it is started when the kernel's table has been seen to hold its mark service, and stopped when that is missing.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from lvs_healthd.config.basics import Protocol
from lvs_healthd.config.check_model import AnyCheck, data_path
from lvs_healthd.config.check_ways import DataPath, PathWay
from lvs_healthd.config.model import Config
from lvs_healthd.config.path_rules import SOURCE_PORTS
from lvs_healthd.daemon.path_marks import REST_S, assign, use_range
from lvs_healthd.decide.arrivals import ProbeChanges
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ProbeState
from lvs_healthd.decide.paths import PathProbeState, missing
from lvs_healthd.director.advice import Advice
from lvs_healthd.director.path_exits import Exit, Question, exits
from lvs_healthd.events.kinds import Event, PathMarkTaken
from lvs_healthd.ipvs.records import ServiceEntry, ServiceKey, Table
from lvs_healthd.plan.leases import Leases
from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.outcome import NO_COURSE, Outcome, Reason, unsure
from lvs_healthd.probes.targets import ProbeKey
from lvs_healthd.probing.probe import Probe
from lvs_healthd.probing.prober import Prober
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.runtime.pace import paced
from lvs_healthd.runtime.threads import HungError, in_thread
from lvs_healthd.state.file import Lease, Saved

FIRST_WRITE_S = 5.0
"""How long after a new configuration a missing mark service is not yet reported, seconds. It is about to be written."""

TURN_S = 1.0
"""How often probes that cannot run are looked at, seconds."""

PAUSE_S = 0.05
"""The pause between two looks at all probes, seconds, so that many changes of the table cost one look."""

EXITS_S = 20.0
"""How long it may take to find out from where to probe, seconds. A thousand servers take a tenth of a second."""


class PathRuns:
    """Runs the path probes.

    decisions: holds the probes, and takes their outcomes.
    prober: runs them.
    reconciler: writes and reads the mark services.
    emit: receives the events.
    clock: monotonic time, seconds.
    wall: Unix time, seconds.
    find_exits: finds out from where to probe. It may block, so it is called on a thread.
    """

    def __init__(
        self,
        decisions: Decisions,
        prober: Prober,
        reconciler: Reconciler,
        emit: Callable[[Event], None],
        *,
        clock: Callable[[], float],
        wall: Callable[[], float],
        find_exits: Callable[[Collection[Question], Collection[str]], dict[Question, Exit]] = exits,
    ) -> None:
        self._paths = decisions.paths
        self._prober = prober
        self._reconciler = reconciler
        self._emit = emit
        self._clock = clock
        self._wall = wall
        self._find_exits = find_exits
        self._marks = Leases(range(1), REST_S)
        self._ports = Leases(SOURCE_PORTS, REST_S)
        self._entries: dict[DataPath, ServiceEntry] = {}
        """The mark service of each way."""
        self._targets: dict[AnyCheck, Target] = {}
        """The target of each path probe, still without its mark and source."""
        self._questions: dict[PathProbeState, Question] = {}
        """All path probes, each with what it asks about its exit."""
        self._holders: dict[PathProbeState, str] = {}
        """The name under which each path probe over udp holds its source port."""
        self._running: dict[AnyCheck, AnyCheck] = {}
        """What is being probed for each path probe, by the check as configured."""
        self._started: dict[AnyCheck, float] = {}
        """When each probe that runs was started, seconds on the monotonic clock."""
        self._exits: dict[Question, Exit] = {}
        self._exits_error = ""
        self._services: frozenset[str] = frozenset()
        """The addresses of all virtual services."""
        self._told: set[ServiceKey] = set()
        """Somebody else's services on our marks that were reported."""
        self._configured = -math.inf
        self._resync_s = 10.0
        self._readings: deque[tuple[float, frozenset[ServiceKey] | None]] = deque()
        """The readings of the table for which outcomes may wait."""
        self._woken = asyncio.Event()
        self._exits_due = asyncio.Event()
        self._paths.port_taken = self._another_port
        decisions.verdicts.paced = self._paced
        reconciler.was_read = self._was_read
        reconciler.has_turned = self._wake

    def restore(self, saved: Saved) -> None:
        """Take over the marks and ports from before a restart."""
        self._marks.restore(saved.path_marks)
        self._ports.restore(saved.path_ports)

    def saved(self) -> tuple[tuple[Lease, ...], tuple[Lease, ...]]:
        """Return the marks and ports for the state file."""
        return self._marks.saved(), self._ports.saved()

    def is_mark_service(self, key: ServiceKey) -> bool:
        """Return whether a service is the mark service of a path probe."""
        return bool(key.fwmark) and key.fwmark in self._marks.numbers and key in self._reconciler.ownership.services

    @property
    def advice(self) -> tuple[Advice, ...]:
        """The advice on sysctls without which path probes cannot work."""
        found: dict[str, Advice] = {}
        for probe in self._paths.probes.values():
            way_out = self._exits.get(self._questions[probe])
            if way_out is not None and way_out.sysctl and way_out.sysctl not in found and probe.watches:
                service = probe.watches[0].server.service.config.name
                text = way_out.trouble.removeprefix(f"{way_out.sysctl} is 0, so ")
                found[way_out.sysctl] = Advice(way_out.sysctl, "0", service, text)
        return tuple(found.values())

    def plan(self, config: Config, actual: Table, *, runs: bool) -> Table:
        """Give every way in a new configuration its mark. Return the mark services, which are to be in the table.

        actual: the kernel's table.
        runs: whether path probes are to be run. If not, there are no mark services.
        """
        self._paths.runs = runs
        use_range(self._marks, config)
        self._ports.rest_s = self._marks.rest_s
        virtual = {service.endpoint.address for service in config.services if service.endpoint is not None}
        self._services = frozenset(virtual | {key.address for key in actual if key.address})
        self._resync_s = config.daemon.resync
        self._configured = self._clock()
        self._entries = {}
        if runs:
            owned = self._reconciler.ownership.services
            self._entries, others = assign(self._marks, config, actual, owned, self._wall())
            self._tell(others)
        return {entry.service.key: entry for entry in self._entries.values()}

    def foreseen(self, config: Config, actual: Table, *, runs: bool) -> Table:
        """Return the mark services that `plan` would return. Nothing is changed for that."""
        if not runs:
            return {}
        marks, owned = self._marks.copy(), self._reconciler.ownership.services
        use_range(marks, config)
        entries, _ = assign(marks, config, actual, owned, self._wall())
        return {entry.service.key: entry for entry in entries.values()}

    def _tell(self, foreign: Iterable[ServiceKey]) -> None:
        for key in foreign if self._entries else ():
            if key not in self._told:
                self._told.add(key)
                self._emit(PathMarkTaken(service=str(key)))

    def configured(
        self, changes: ProbeChanges, ready: Mapping[ProbeKey, Target]
    ) -> tuple[list[ProbeState], list[AnyCheck]]:
        """Take over the path probes that a new configuration adds and drops. Return the other probes.

        ready: the targets of the probes that are added.
        """
        plain = [probe for probe in changes.added if not isinstance(probe, PathProbeState)]
        for probe in changes.added:
            if isinstance(probe, PathProbeState):
                self._targets[probe.check] = ready[probe.key]
        gone = [check for check in changes.dropped if check in self._targets]
        for check in gone:
            del self._targets[check]
        self._stop(gone)
        probes = self._paths.probes.values()
        self._questions = {probe: _question(probe) for probe in probes}
        self._holders = _port_holders(probe for probe in probes if probe.path.protocol is Protocol.UDP)
        self._ports.hold(self._holders.values(), self._wall())
        for probe in probes:
            probe.entry = self._entries.get(probe.path)
        self._exits_due.set()
        self._woken.set()
        return plain, [check for check in changes.dropped if data_path(check) is None]

    def look_again(self) -> None:
        """Look soon which probes are to run, because some were suspended or resumed."""
        self._woken.set()

    def _stop(self, checks: Iterable[AnyCheck]) -> None:
        running = [self._running.pop(check) for check in checks if check in self._running]
        if running:
            self._prober.update((), running)

    def _wake(self) -> None:
        if self._paths.probes:
            self._woken.set()

    def _was_read(self, began: float, keys: Collection[ServiceKey] | None) -> None:
        if self._paths.probes:
            self._readings.append((began, None if keys is None else frozenset(keys)))
            self._woken.set()

    def _paced(self, probe: ProbeState) -> None:
        """Let a probe run as often as its checks want it now, whether it is a path probe or not."""
        key = self._running.get(probe.check) if probe.is_path else probe.check
        if key is not None:
            self._prober.pace(key, probe.pace_s)

    def _another_port(self, probe: PathProbeState) -> None:
        """Probe from another port, because another program has this one, or IPVS may remember another server for it."""
        self._ports.renew(self._holders[probe], self._wall())
        self._woken.set()

    async def run(self) -> None:
        """Run path probes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_running(), name="path probes")
            group.create_task(self._keep_exits(), name="exits of path probes")

    async def _keep_running(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TURN_S if self._paths.probes else None):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            await self.turn()
            await asyncio.sleep(PAUSE_S)

    async def turn(self) -> None:
        """Deliver what a reading of the table has confirmed, and start and stop probes. `run` repeats this."""
        while self._readings:
            began, keys = self._readings.popleft()
            async for _ in paced(self._paths.confirmed(began, keys)):
                pass
        added, dropped = list[Probe[AnyCheck]](), list[AnyCheck]()
        async for probe in paced([*self._questions]):
            if probe not in self._questions:
                continue  # a reload has dropped it meanwhile
            wanted = self._wanted(probe, self._holders.get(probe, ""))
            now_running = self._running.get(probe.check)
            if wanted is now_running:
                continue
            if now_running is not None:
                dropped.append(self._running.pop(probe.check))
            if wanted is not None:
                self._running[probe.check] = wanted
                self._started[probe.check] = self._clock()
                target = msgspec.structs.replace(self._targets[probe.check], way=wanted.way)
                added.append(Probe(wanted, target, wanted.interval, probe, probe.pace_s))
        if added or dropped:
            self._prober.update(added, dropped)

    def _wanted(self, probe: PathProbeState, holder: str) -> AnyCheck | None:
        """Return what to probe; None if the probe must not run now. Then its outcome is unsure."""
        if not self._paths.runs or probe.is_suspended:
            return None
        now = self._clock()
        way_out = self._exits.get(self._questions[probe])
        if way_out is None:
            if self._exits_error:
                self._cannot(probe, unsure(Reason.SETTING, self._exits_error))
            return None
        if way_out.trouble:
            self._cannot(probe, unsure(Reason.SETTING, way_out.trouble))
            return None
        if not self._paths.is_present(probe) or probe.entry is None:
            was_running = probe.check in self._running
            if was_running or probe.entry is None or now > self._configured + FIRST_WRITE_S:
                self._cannot(probe, missing(probe))
            if was_running and holder:
                self._ports.renew(holder, self._wall())
            return None
        key = probe.entry.service.key
        if probe.check in self._running and self._reconciler.changed_at(key) > self._started[probe.check]:
            self._started[probe.check] = now
            probe.outcome(
                unsure(Reason.MARK, f"somebody else changed its mark service ({key}) a moment ago"), NO_COURSE
            )
            if holder:
                self._ports.renew(holder, self._wall())
        port = self._ports.of(holder) if holder else 0
        if port is None:
            self._cannot(probe, unsure(Reason.LOCAL_LIMIT, "no source port is free for it"))
            return None
        running = self._running.get(probe.check)
        if running is not None and isinstance(way := running.way, PathWay):
            in_force = way.source, way.interface, way.mark, way.source_port
            if in_force == (way_out.source, way_out.interface, key.fwmark, port):
                return running
        given = probe.check.way
        own = PathWay(
            source=way_out.source,
            interface=way_out.interface,
            mark=key.fwmark,
            dscp=None if given is None else given.dscp,
            path=probe.path,
            source_port=port,
        )
        return msgspec.structs.replace(probe.check, way=own)

    def _cannot(self, probe: PathProbeState, outcome: Outcome) -> None:
        """Give a probe that cannot run an unsure outcome, as often as if it had run, or at once if this is news."""
        is_due = probe.last_at is None or self._clock() - probe.last_at >= probe.check.interval
        if is_due or probe.last != outcome:
            probe.cannot_tell(outcome)

    async def _keep_exits(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._resync_s if self._paths.probes and self._paths.runs else None):
                    await self._exits_due.wait()
            except TimeoutError:
                pass
            self._exits_due.clear()
            if self._paths.probes and self._paths.runs:
                await self.find_exits()

    async def find_exits(self) -> None:
        """Find out from where to probe. `run` repeats this as often as the table is read back."""
        questions = set(self._questions.values())
        try:
            self._exits = await in_thread(
                self._find_exits, questions, self._services, timeout_s=EXITS_S, what="finding sources of path probes"
            )
            self._exits_error = ""
        except (OSError, HungError) as error:
            self._exits_error = f"cannot find out from where to probe: {error}"
        self._woken.set()


def _question(probe: PathProbeState) -> Question:
    way = probe.check.way
    source, interface = ("", "") if way is None else (way.source, way.interface)
    return Question(probe.path, probe.check.address, source, interface)


def _port_holders(probes: Iterable[PathProbeState]) -> dict[PathProbeState, str]:
    """Return a name for each probe under which it holds its source port. No two probes have the same one."""
    holders: dict[PathProbeState, str] = {}
    seen: dict[str, int] = {}
    for probe in probes:
        name = f"{probe.path} {probe.service}"
        number = seen[name] = seen.get(name, 0) + 1
        holders[probe] = f"{name} {number}"
    return holders
