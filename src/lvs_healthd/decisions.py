"""Holds what is known of every check and server, and turns outcomes into verdicts, events and the wanted table.

The thinking is elsewhere and pure (`health`, `plan`); this file keeps the values between two outcomes, fans one probe's
outcome out to every service that uses the same target, and carries state over a reload by what a thing is.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from lvs_healthd import health as machine
from lvs_healthd.config.model import AnyCheck, Config, RealServer, Service
from lvs_healthd.events import (
    CheckFailing,
    CheckUnsure,
    Event,
    RealServerDown,
    RealServerUp,
    ServiceFallback,
    ServiceServing,
)
from lvs_healthd.health import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey, Table, Wanted
from lvs_healthd.plan import destination_key, plan, prepare, service_key
from lvs_healthd.probes.outcome import Outcome, Status
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.state import SavedVerdict

ServerKey = tuple[ServiceKey, DestinationKey]


class ProbeState:
    """One probe and everybody who uses its outcome."""

    __slots__ = ("check", "last", "last_at", "watches")

    def __init__(self, check: AnyCheck) -> None:
        self.check = check
        self.watches: list[Watch] = []
        self.last: Outcome | None = None
        self.last_at: float | None = None
        """Unix time."""


class Watch:
    """One check of one real server: a probe's outcomes, judged by this check's rise and fall."""

    __slots__ = ("check", "health", "probe", "server", "type")

    def __init__(self, check: AnyCheck, server: "ServerState", probe: ProbeState, health: Health) -> None:
        self.check = check
        self.server = server
        self.probe = probe
        self.health = health
        self.type = str(check.__struct_config__.tag)


class ServerState:
    """One real server of one service."""

    __slots__ = ("config", "health", "key", "service", "watches")

    def __init__(self, service: "ServiceState", config: RealServer, key: DestinationKey) -> None:
        self.service = service
        self.config = config
        self.key = key
        self.watches: list[Watch] = []
        self.health: Health


class ServiceState:
    """One virtual service. `serving` is None until it is known whether any server may serve."""

    __slots__ = ("config", "key", "servers", "serving")

    def __init__(self, config: Service, key: ServiceKey) -> None:
        self.config = config
        self.key = key
        self.servers: list[ServerState] = []
        self.serving: bool | None = None


class Decisions:
    """What is held of every configured thing.

    `clock` is monotonic and `wall` is Unix time, both in seconds. `changed` is called when the wanted table may have
    changed; `observe` for every outcome of every watch, with service name and check type.
    """

    def __init__(
        self,
        *,
        emit: Callable[[Event], None],
        changed: Callable[[], None],
        observe: Callable[[str, str, Outcome], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._emit = emit
        self._changed = changed
        self._observe = observe
        self._clock = clock
        self._wall = wall
        self._prepared = prepare(Config())
        self.services: list[ServiceState] = []
        self.probes: dict[AnyCheck, ProbeState] = {}
        self._servers: dict[ServerKey, ServerState] = {}

    def unsure_probes(self) -> tuple[int, str]:
        """Count the probes whose last outcome was unsure, and return the reason of one of them."""
        unsure = [
            probe.last.detail
            for probe in self.probes.values()
            if probe.last is not None and probe.last.status is Status.UNSURE
        ]
        return len(unsure), unsure[0] if unsure else ""

    @property
    def servers(self) -> Mapping[ServerKey, ServerState]:
        """Every configured real server, fallbacks not among them."""
        return self._servers

    def configure(self, config: Config, actual: Table, saved: Mapping[tuple[str, str, str], SavedVerdict]) -> None:
        """Take over a configuration, at start and on reload.

        What was known stays known. A server that is new to us but present in `actual` with weight > 0 is taken as up;
        an absent one must earn `rise` passes, and `saved` tells why it was taken out.
        """
        before = _Before(self._servers, self.probes, actual, saved)
        old_serving = {service.key: service.serving for service in self.services}
        self.services, self._servers, self.probes = [], {}, {}
        for service in config.services:
            state = ServiceState(service, service_key(service))
            self.services.append(state)
            for server in service.real_servers:
                self._add_server(state, server, before)
            known = old_serving.get(state.key)
            state.serving = known if known is not None else True if _may_serve(state) else None
        self._prepared = prepare(config)
        for server_key, old in before.servers.items():
            new = self._servers.get(server_key)
            if new is not None and new.health.verdict is not old.health.verdict:
                self._tell_verdict(new, old.health, new.health, None)

    def outcome(self, key: AnyCheck, outcome: Outcome) -> None:
        """Take one probe's outcome into account, for everybody who uses that probe."""
        probe = self.probes.get(key)
        if probe is None:
            return  # came in after a reload had dropped it
        now = self._clock()
        previous, probe.last, probe.last_at = probe.last, outcome, self._wall()
        for watch in probe.watches:
            self._observe(watch.server.service.config.name, watch.type, outcome)
            if outcome.status is Status.UNSURE and (previous is None or previous.reason is not outcome.reason):
                self._emit(CheckUnsure(**_names(watch), reason=outcome.detail))
            before = watch.health
            after = machine.step(before, outcome, rise=watch.check.rise, fall=watch.check.fall, now=now)
            if after is not before:
                watch.health = after
                self._health_changed(watch, before, after)

    def wanted(self, actual: Table) -> Wanted:
        """Decide the table, knowing the kernel's, and tell of services that lost their last server or got one back."""
        for service in self.services:
            self._judge_service(service)
        return plan(self._prepared, {key: server.health for key, server in self._servers.items()}, actual)

    def saved_verdicts(self) -> Iterator[SavedVerdict]:
        """Return what the state file keeps."""
        shift = self._wall() - self._clock()
        for watch in self._watches():
            health = watch.health
            yield SavedVerdict(
                service=str(watch.server.service.key),
                server=str(watch.server.key),
                check=watch.check.name,
                verdict=health.verdict,
                detail=health.detail,
                since=health.since + shift,
            )

    def _watches(self) -> Iterator[Watch]:
        for server in self._servers.values():
            yield from server.watches

    def _add_server(self, service: ServiceState, config: RealServer, before: "_Before") -> None:
        server = ServerState(service, config, destination_key(config))
        old = before.servers.get((service.key, server.key))
        present = old is None and _is_serving(config, service.key, server.key, before.actual)
        for check in config.checks:
            key = probe_key(check)
            probe = self.probes.get(key)
            if probe is None:
                self.probes[key] = probe = ProbeState(key)
                if key in before.probes:
                    probe.last, probe.last_at = before.probes[key].last, before.probes[key].last_at
            if old is not None:
                health = _carried_over(check, old, self._clock())
            else:
                memory = before.saved.get((str(service.key), str(server.key), check.name))
                health = self._first_health(memory, present=present)
            watch = Watch(check, server, probe, health)
            probe.watches.append(watch)
            server.watches.append(watch)
        server.health = machine.combined(watch.health for watch in server.watches)
        service.servers.append(server)
        self._servers[service.key, server.key] = server

    def _first_health(self, memory: SavedVerdict | None, *, present: bool) -> Health:
        """Return the health to begin with: the kernel says who serves, the state file only since when and why not."""
        now = self._clock()
        since = now if memory is None else min(now, now - (self._wall() - memory.since))
        if present:
            same = memory is not None and memory.verdict == Verdict.UP
            return Health(Verdict.UP, since if same else now)
        if memory is not None and memory.verdict == Verdict.DOWN:
            return Health(Verdict.DOWN, since, detail=memory.detail)
        return Health(Verdict.UNKNOWN, now)

    def _health_changed(self, watch: Watch, before: Health, after: Health) -> None:
        if _is_news(before, after):
            self._emit(
                CheckFailing(
                    **_names(watch),
                    reason=after.detail,
                    failures=after.failures,
                    fall=watch.check.fall,
                    verdict=after.verdict,
                )
            )
        server = watch.server
        was, server.health = server.health, machine.combined(each.health for each in server.watches)
        if was.verdict is not server.health.verdict:
            self._tell_verdict(server, was, after, watch.check)
            self._changed()

    def _tell_verdict(self, server: ServerState, was: Health, by: Health, check: AnyCheck | None) -> None:
        """Tell that a server's verdict is another now: by what a check found, or (None) because one was removed."""
        about = {
            "service": server.service.config.name,
            "server": str(server.key),
            "check": check.name if check else "",
            "reason": by.detail if check else "the check that decided was removed from the configuration",
        }
        after_s = round(max(0.0, self._clock() - was.since), 3)
        if server.health.verdict is Verdict.UP:
            rise, passes = (check.rise, by.passes) if check else (0, 0)
            self._emit(RealServerUp(**about, passes=passes, rise=rise, was=was.verdict, after_s=after_s))
        elif server.health.verdict is Verdict.DOWN:
            fall, failures = (check.fall, by.failures) if check else (0, 0)
            self._emit(RealServerDown(**about, failures=failures, fall=fall, was=was.verdict, after_s=after_s))

    def _judge_service(self, service: ServiceState) -> None:
        serving = _may_serve(service)
        if serving == service.serving:
            return
        if serving:
            service.serving = True
            up = sum(server.health.verdict is Verdict.UP for server in service.servers)
            self._emit(ServiceServing(service=service.config.name, servers=up))
        elif service.serving or not any(
            server.config.weight and server.health.verdict is Verdict.UNKNOWN for server in service.servers
        ):
            service.serving = False
            fallback = tuple(str(server.endpoint) for server in service.config.fallback)
            self._emit(ServiceFallback(service=service.config.name, fallback=fallback))


class _Before(NamedTuple):
    """What `configure` carries over from."""

    servers: Mapping[ServerKey, ServerState]
    probes: Mapping[AnyCheck, ProbeState]
    actual: Table
    saved: Mapping[tuple[str, str, str], SavedVerdict]


def _names(watch: Watch) -> dict[str, str]:
    server = watch.server
    return {"service": server.service.config.name, "server": str(server.key), "check": watch.check.name}


def _is_news(before: Health, after: Health) -> bool:
    """Whether a failure is worth telling: the first of a row, or another kind than the one before.

    Of a check that was down already (perhaps since before a restart), only another kind is.
    """
    if not after.failures:
        return False
    first = before.failures == 0 and before.verdict is not Verdict.DOWN
    return first or (before.reason is not None and before.reason is not after.reason)


def _may_serve(service: ServiceState) -> bool:
    return any(server.config.weight and server.health.verdict is Verdict.UP for server in service.servers)


def _is_serving(config: RealServer, service: ServiceKey, server: DestinationKey, actual: Table) -> bool:
    """Whether the kernel sends this server connections, or would but for its configured weight of 0."""
    entry = actual.get(service)
    record = entry.destinations.get(server) if entry is not None else None
    return record is not None and (record.weight > 0 or config.weight == 0)


def _carried_over(check: AnyCheck, old: ServerState, now: float) -> Health:
    """Return the health a check of a known server begins with after a reload.

    An unchanged check goes on where it was, an edited one (same name) keeps its verdict until it has its own, a new one
    begins with the server's, so that adding a check to a serving server does not interrupt it.
    """
    for watch in old.watches:
        if watch.check.name == check.name:
            if watch.check == check:
                return watch.health
            return Health(watch.health.verdict, watch.health.since, watch.health.reason, watch.health.detail)
    if old.health.verdict is Verdict.UP:
        return Health(Verdict.UP, now)
    return Health(Verdict.UNKNOWN, now)
