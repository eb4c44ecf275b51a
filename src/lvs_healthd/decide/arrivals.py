"""Gives a new configuration its servers, watches and probes: what keeps its key keeps its state, what is new begins.

With which health a check begins, `beginnings` says.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.model import RealServer, Service
from lvs_healthd.decide.agents import silent_agent
from lvs_healthd.decide.beginnings import (
    carried_over,
    failed_open,
    first_health,
    from_saved,
    is_serving,
    rate_before,
    remarked,
)
from lvs_healthd.decide.held import ProbeState, ServerState, ServiceState, Watch
from lvs_healthd.decide.paths import Paths
from lvs_healthd.decide.slow_start import serves
from lvs_healthd.decide.tally import Tally
from lvs_healthd.decide.verdicts import Verdicts
from lvs_healthd.decide.wrong_clock import longest_wait_s
from lvs_healthd.health.damping import Flaps
from lvs_healthd.health.machine import DOWN, UP, Health
from lvs_healthd.ipvs.records import DestinationKey, Table
from lvs_healthd.plan.records import destination_key
from lvs_healthd.probes.outcome import AskedWeight
from lvs_healthd.probes.targets import ProbeKey, probe_key
from lvs_healthd.runtime.pace import paced
from lvs_healthd.state.file import SavedVerdict


class ProbeChanges(NamedTuple):
    """Which probes a new configuration adds, and which it drops."""

    added: list[ProbeState]
    dropped: list[AnyCheck]


class Origins(NamedTuple):
    """The sources of a newly configured server's first health, and a list for its new probes."""

    actual: Table
    saved: Mapping[tuple[str, str, str], SavedVerdict]
    touched: "Touched"
    """Collects the watches of the new server."""
    is_reload: bool
    """Whether there was a configuration before."""
    failed_open: bool = False
    """Whether the server's service failed open before a restart, so that servers serve though they were down."""


Touched = dict[ProbeState, list[Watch]]
"""The probes whose watches a new configuration changes, each with the watches that are new.

The watches of a probe are changed all at once, at the end, because thousands of servers may share the probe.
"""


class Arrivals:
    """Knows all probes, and brings in what a configuration has.

    verdicts: judges the probes.
    paths: makes the probes that go through a service.
    tally: takes a service's name and a check type, and returns the counter for their probes.
    wall: Unix time, seconds.
    """

    def __init__(
        self,
        probes: dict[ProbeKey, ProbeState],
        verdicts: Verdicts,
        paths: Paths,
        tally: Callable[[str, str], Tally],
        wall: Callable[[], float],
    ) -> None:
        self.probes = probes
        self._verdicts = verdicts
        self._paths = paths
        self._tally = tally
        self._wall = wall

    def fill(self, service: ServiceState, old: ServiceState | None, origins: Origins) -> None:
        """Give a new or changed service its servers. Unchanged servers move over from the old service as they are."""
        known = _members(old)
        if old is None and failed_open(service.config, service.key, origins.actual, origins.saved):
            origins = origins._replace(failed_open=True)
        for config in service.config.servers:
            key = destination_key(config)
            server = known.get(key)
            if server is not None and _stays(server, config, service):
                server.service = service
                service.add(server)
                if old is not None and old.config.slow_start != service.config.slow_start and not server.is_spare:
                    self._verdicts.slow_starts.changed(server)
            else:
                self._add_server(ServerState(service, config, key), server, origins)
        if old is not None:
            service.action, service.is_shortage_told = old.action, old.is_shortage_told
        if old is not None and old.serving is not None:
            service.serving = old.serving
        elif service.may_serve():
            service.serving = True

    async def foreseen(
        self, config: Service, old: ServiceState | None, actual: Table, *, runs_paths: bool
    ) -> ServiceState:
        """Return a new or changed service as a reload would make it. Nothing that exists is changed.

        Its unchanged servers are those of the old service, and still say that they belong to it.

        actual: the kernel's table.
        runs_paths: whether path probes would be run.
        """
        service, known = ServiceState(config), _members(old)
        origins = Origins(actual, {}, {}, is_reload=True)

        def probe_of(key: ProbeKey, check: AnyCheck) -> ProbeState:
            probe = self.probes.get(key) or self._paths.unlisted(key, check, self._verdicts, runs=runs_paths)
            return probe or ProbeState(key, check, self._verdicts)

        async for each in paced(config.servers):
            key = destination_key(each)
            server = known.get(key)
            if server is None or not _stays(server, each, service):
                server, before = ServerState(service, each, key), server
                self._begin(server, before, origins, probe_of)
            service.add(server)
        return service

    def rewatched(self, touched: Touched) -> ProbeChanges:
        """Give the probes their new watches, and remove the watches of forgotten servers."""
        changes = ProbeChanges([], [])
        tallies: dict[tuple[str, str], Tally] = {}
        same: dict[tuple[Tally, ...], tuple[Tally, ...]] = {}
        """Each tuple of tallies. Nearly all probes of a service have the same single tally, so they share its tuple."""
        for probe, new in touched.items():
            is_new = not probe.watches
            watches = (*(watch for watch in probe.watches if watch.server.watches), *new)
            if len(watches) == 1 and watches == watches[0].server.watches:
                watches = watches[0].server.watches  # nearly all probes and servers have one watch, and share its tuple
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
            self._verdicts.repace(probe)
            self._verdicts.endings.presented(probe)
            if is_new:
                changes.added.append(probe)
                if probe.is_verified:
                    self._verdicts.wrong_clock.add(longest_wait_s(probe.check))
            elif not watches:
                del self.probes[probe.key]
                self._paths.forget(probe)
                self._verdicts.unsure.pop(probe, None)
                self._verdicts.endings.forget(probe)
                if probe.is_verified and not probe.is_suspended:
                    self._verdicts.wrong_clock.forget(probe, longest_wait_s(probe.check))
                changes.dropped.append(probe.check)
        self._verdicts.tell_of_clock()
        return changes

    def _add_server(self, server: ServerState, old: ServerState | None, origins: Origins) -> None:
        """Add a new server to its service, and make it known to all who look after servers and probes."""
        service = server.service
        since = self._begin(server, old, origins, self._probe)
        for watch in server.watches:
            before = _watch_before(watch.check, old)
            if before is not None and before.probe is not watch.probe:
                watch.probe.inherit(before.probe)
            origins.touched.setdefault(watch.probe, []).append(watch)
        self._verdicts.flapping.keep(server, server.flaps)
        if service.config.slow_start and not server.is_spare:
            self._verdicts.slow_starts.began(server, since=since, is_new=origins.is_reload)
        service.add(server)
        if old is not None and old.health.verdict is not server.health.verdict:
            self._verdicts.tell(server, old.health, server.health, None, self._verdicts.clock())

    def _probe(self, key: ProbeKey, check: AnyCheck) -> ProbeState:
        probe = self.probes.get(key)
        if probe is None:
            path_probe = self._paths.probe(key, check, self._verdicts)
            self.probes[key] = probe = path_probe or ProbeState(key, check, self._verdicts)
        return probe

    def _begin(
        self,
        server: ServerState,
        old: ServerState | None,
        origins: Origins,
        probe_of: Callable[[ProbeKey, AnyCheck], ProbeState],
    ) -> float | None:
        """Give a new server its checks, and what it begins with. Nothing but this server is changed.

        Return since when it comes back with a slow start, seconds on the monotonic clock; None if it does not.

        old: the server with the same address before a reload; None if it is new.
        probe_of: returns the probe of a check.
        """
        service, config = server.service, server.config
        now = self._verdicts.clock()
        shift_s = self._wall() - now
        present = old is None and is_serving(config, service.key, server.key, origins.actual)
        for check in config.checks:
            probe = probe_of(probe_key(check), check)
            known = probe.known(check.rise, check.fall)
            if old is not None:
                before = _watch_before(check, old)
                health, asks = carried_over(check, old, known, now), before.asks if before is not None else None
            else:
                memory = origins.saved.get((str(service.key), str(server.key), check.name)) if origins.saved else None
                is_open = origins.failed_open and memory is not None and memory.verdict == DOWN
                health = first_health(memory, known, present=present and not is_open, now=now, shift_s=shift_s)
                asks = AskedWeight(*memory.asks) if memory is not None and memory.asks is not None else None
            watch = Watch(check, server, probe, silent_agent(health, check, config.checks))
            watch.asks = asks
            watch.remarked = () if old is None else remarked(check, old)
            watch.rate = None if old is None else rate_before(check, old)
            server.watches += (watch,)
        server.health = server.combined() if server.watches else Health(UP, now)
        server.flaps = old.flaps if old is not None else _remembered(server, origins, shift_s)
        server.hand = self._verdicts.overrides.hand_of(service.key, server.key)
        server.special = server.reconsidered(server.hand)
        if not service.config.slow_start or server.is_spare:
            return None
        since = self._coming_since(server, old, origins, shift_s)
        if since is not None:
            server.ramp = self._verdicts.slow_starts.share(server, since)
            server.special = server.reconsidered(server.hand)
        return since

    def _coming_since(
        self, server: ServerState, old: ServerState | None, origins: Origins, shift_s: float
    ) -> float | None:
        """Return since when a server comes back with a slow start that was under way before a reload or a restart.

        Seconds on the monotonic clock; None if none was.

        old: the server before a reload; None if it is new.
        shift_s: Unix time minus monotonic time, seconds.
        """
        if old is not None:
            return self._verdicts.slow_starts.continued(old, server)
        memory = _memory(server, origins)
        if memory is None or memory.rising is None or not serves(server):
            return None
        return memory.rising - shift_s

    def forget(self, server: ServerState, touched: Touched) -> None:
        """Drop a server's watches. Without them, it counts as forgotten."""
        for watch in server.watches:
            touched.setdefault(watch.probe, [])
        server.watches = ()
        self._verdicts.slow_starts.forget(server)


def _members(service: ServiceState | None) -> dict[DestinationKey, ServerState]:
    return {server.key: server for server in service.members} if service is not None else {}


def _stays(server: ServerState, config: RealServer, service: ServiceState) -> bool:
    """Return whether a server moves over to a changed service as it is.

    config: how it is configured in that service.
    """
    return server.config == config and server.service.config.name == service.config.name


def _watch_before(check: AnyCheck, old: ServerState | None) -> Watch | None:
    """Return the watch of a check of the same name before a reload; None if there was none."""
    watches = old.watches if old is not None else ()
    return next((watch for watch in watches if watch.check.name == check.name), None)


def _memory(server: ServerState, origins: Origins) -> SavedVerdict | None:
    """Return the line of the state file that is about a server; None if there is none."""
    if not origins.saved or not server.watches:
        return None
    return origins.saved.get((str(server.service.key), str(server.key), server.watches[0].check.name))


def _remembered(server: ServerState, origins: Origins, shift_s: float) -> Flaps | None:
    """Return what the state file says of a server's falls; None for nothing.

    shift_s: Unix time minus monotonic time, seconds.
    """
    memory = _memory(server, origins)
    return from_saved(memory.flaps, shift_s) if memory is not None and memory.flaps is not None else None
