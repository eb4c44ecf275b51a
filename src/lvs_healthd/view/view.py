"""Answers questions about the running daemon: its status, its health, the table, and the line for systemd.

Every answer is built from the daemon's running parts at the moment of the question.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping

import msgspec

from lvs_healthd import __version__
from lvs_healthd.config.model import Mode
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ServiceState
from lvs_healthd.decide.roles import Roles
from lvs_healthd.director.keeper import Keeper
from lvs_healthd.director.own_faults import OwnFaults
from lvs_healthd.ipvs.interface import IpvsTable
from lvs_healthd.ipvs.kernel.connections import chooser
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey, Table
from lvs_healthd.log import EventLog
from lvs_healthd.probing.prober import Prober
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.runtime.pace import paced
from lvs_healthd.state.holds import Hold
from lvs_healthd.state.overrides import Override
from lvs_healthd.view.agreement_values import Agreeing, dated_agreement
from lvs_healthd.view.announce_values import Announcing, dated
from lvs_healthd.view.guards import brake_statuses, hold_statuses
from lvs_healthd.view.layers import Around
from lvs_healthd.view.naming import UnknownNameError, canonical
from lvs_healthd.view.override_values import OverrideValues
from lvs_healthd.view.overrides import listed_overrides
from lvs_healthd.view.past import Past
from lvs_healthd.view.samples import service_samples
from lvs_healthd.view.serving import ServingAnswer, serving_answer
from lvs_healthd.view.source_values import Sources
from lvs_healthd.view.status import role_values, service_status
from lvs_healthd.view.status_values import DaemonStatus, Samples, Status, TrackStatus
from lvs_healthd.view.store_values import Store
from lvs_healthd.view.table import listed, meant
from lvs_healthd.view.why import explained_servers
from lvs_healthd.view.why_values import Why

STUCK_S = 5.0
"""If a tick of the scheduler is more than this many seconds late, the daemon counts as stuck, and no longer tells
systemd's watchdog that it is alive."""

RECONCILER_STUCK_S = 30.0
"""If the reconciler makes no progress for more than this many seconds, the daemon counts as stuck. Normally the
reconciler makes progress every second, but it may wait for the kernel up to 5 s per request."""


MOST_NAMED = 3
"""How many addresses the line for systemd names at most."""

CLOCK_SET_S = 1.0
"""When Unix time has moved by more than this against the monotonic clock, somebody has set it."""


class Facts(msgspec.Struct):
    """Facts about this run that only the daemon's own code knows. Times are Unix time."""

    config_file: str
    started: float
    mode: Mode = Mode.ENFORCE
    table: str = ""
    config_loaded: float = 0.0
    config_error: str = ""
    """Why the last reload was rejected; empty if it was not."""
    config_remarks: tuple[str, ...] = ()
    """The remarks on the configuration in force."""
    resync_s: float = 0.0
    hook_errors: Callable[[], tuple[str, ...]] = tuple
    """Returns the hooks that fail now, each with why."""


class View:
    """Reads the daemon's running parts and changes nothing.

    clock: the monotonic clock that all parts use, seconds.
    is_mark_service: whether a service is only there for path probes. Such services are shown only when asked for.
    holds: returns what operators hold.
    roles: the role of each service.
    pair_error: returns why the roles are not known; "" if they are.
    track: returns what the track file says; None without one.
    announcing: knows the announced addresses.
    sources: knows the sources of real servers.
    store: knows what etcd says.
    is_lost: returns whether etcd has an order no more though nobody has ended it.
    agreeing: knows what other directors say.
    state_error: returns why the state cannot be written; "" if it can.
    past: what has happened to each real server.
    """

    def __init__(
        self,
        *,
        facts: Facts,
        decisions: Decisions,
        prober: Prober,
        reconciler: Reconciler,
        keeper: Keeper,
        own_faults: OwnFaults,
        state_error: Callable[[], str],
        past: Past,
        table: IpvsTable,
        log: EventLog,
        clock: Callable[[], float],
        is_mark_service: Callable[[ServiceKey], bool],
        holds: Callable[[], tuple[Hold, ...]],
        roles: Roles,
        pair_error: Callable[[], str],
        track: Callable[[], TrackStatus | None],
        announcing: Announcing,
        sources: Sources,
        store: Store,
        is_lost: Callable[[Override], bool],
        agreeing: Agreeing,
    ) -> None:
        self._facts = facts
        self._decisions = decisions
        self._prober = prober
        self._reconciler = reconciler
        self._keeper = keeper
        self._own_faults = own_faults
        self._state_failure = state_error
        self._past = past
        self._table = table
        self._log = log
        self._clock = clock
        self._is_mark_service = is_mark_service
        self._holds = holds
        self._roles = roles
        self._pair_error = pair_error
        self._track = track
        self._announcing = announcing
        self._sources = sources
        self._store = store
        self._is_lost = is_lost
        self._agreeing = agreeing
        self._shift = time.time() - clock()

    async def status(self) -> Status:
        """Describe everything as it is now.

        The event loop runs meanwhile, so the last services may be described a moment later than the first.
        """
        reconciler = self._reconciler
        shift_s, wall = self._shift_s(), time.time()
        return Status(
            daemon=self._daemon(),
            services=tuple(
                [
                    await service_status(
                        service,
                        reconciler.wanted,
                        reconciler.actual,
                        in_sync=reconciler.in_sync(service.key),
                        held_by=self._held_by(service.key),
                        role=role_values(service, self._roles, shift_s),
                        shift_s=shift_s,
                        wall=wall,
                    )
                    async for service in self._services()
                ]
            ),
        )

    async def samples(self) -> Samples:
        """Describe what metrics need, as `status` does, but several times as fast."""
        reconciler = self._reconciler
        shift_s, wall = self._shift_s(), time.time()
        return Samples(
            daemon=self._daemon(),
            services=tuple(
                [
                    service_samples(
                        each,
                        self._decisions.overrides,
                        reconciler,
                        self._table,
                        self._roles,
                        shift_s=shift_s,
                        wall=wall,
                    )
                    async for each in self._services()
                ]
            ),
        )

    async def _services(self) -> AsyncIterator[ServiceState]:
        """Iterate over the services, paced. If a reload replaces a service meanwhile, the new one is yielded."""
        async for key in paced([service.key for service in self._decisions.services]):
            service = self._decisions.service(key)
            if service is not None:
                yield service

    def _shift_s(self) -> float:
        """Return what to add to the monotonic clock to get Unix time, seconds.

        The number changes only when somebody sets the clock. It is not computed for each answer, because two readings
        of the clocks always differ a little, and the time of an event must be the same in every answer.
        """
        shift = time.time() - self._clock()
        if abs(shift - self._shift) > CLOCK_SET_S:
            self._shift = shift
        return self._shift

    def _daemon(self) -> DaemonStatus:
        facts, last_resync = self._facts, self._reconciler.last_resync
        unsure, unsure_reason = self._decisions.unsure_probes()
        maintenance = self._decisions.overrides.maintenance
        return DaemonStatus(
            version=__version__,
            pid=os.getpid(),
            mode=facts.mode,
            table=facts.table,
            started=facts.started,
            config_file=facts.config_file,
            config_loaded=facts.config_loaded,
            config_error=facts.config_error,
            config_remarks=facts.config_remarks,
            hook_errors=facts.hook_errors(),
            last_resync=None if last_resync is None else last_resync + self._shift_s(),
            resync_s=facts.resync_s,
            probe_workers=self._prober.workers,
            probes=len(self._decisions.probes),
            probes_unsure=unsure,
            unsure_reason=unsure_reason,
            table_fights=self._reconciler.fights.count,
            table_error=self._reconciler.errors.last,
            setting_error=self._keeper.last_error,
            network_faults=self._own_faults.ongoing,
            setting_advice=tuple(f"{each.name} is {each.value}: {each.text}" for each in self._keeper.advice),
            state_error=self._state_error(),
            clock_suspected=self._decisions.clock_suspected,
            overrides=len(self._decisions.overrides),
            maintenance_files=len(maintenance.drains),
            maintenance_error=maintenance.error,
            maintenance_unused=maintenance.complaints,
            maintenance_unused_files=len(maintenance.unused),
            brakes=brake_statuses(self._decisions.braking.held, self._shift_s()),
            holds=hold_statuses(self._holds()),
            track=self._track(),
            pair_error=self._pair_error(),
            announced=tuple(dated(each, self._shift_s()) for each in self._announcing.statuses),
            announced_foreign=self._announcing.foreign,
            sources=self._sources.statuses,
            store=self._store.status,
            agreement=dated_agreement(self._agreeing.status, self._shift_s()),
        )

    def overrides(self) -> tuple[OverrideValues, ...]:
        """Return what operators have ordered."""
        return tuple(listed_overrides(self._decisions, self._is_lost))

    def _held_by(self, key: ServiceKey) -> str:
        """Return what keeps the daemon from writing what is wanted for a service; "" if nothing does."""
        gate = self._reconciler.gate
        if key in gate.shadowed:
            return "shadow"
        if gate.is_held(key):
            return "operator"
        return "brake" if gate.is_braked(key) else "veto" if gate.is_vetoed(key) else ""

    def _state_error(self) -> str:
        """Return why the state cannot be written; empty in shadow mode, in which it is never written."""
        return self._state_failure() if self._facts.mode is Mode.ENFORCE else ""

    async def listing(self, which: str, *, whole: bool = False) -> AsyncGenerator[bytes, None]:
        """Yield a `Listing` as JSON, service by service.

        which: the services to list, in the words that `meant` takes.
        whole: whether "" also means the mark services of path probes.

        Raises `UnknownNameError`.
        """
        reconciler = self._reconciler
        keys = self._meant(which) if which or whole else [*self._shown(self._meant(which))]
        yield b'{"daemon":' + msgspec.json.encode(self._daemon()) + b',"services":['
        comma = b""
        async for service in listed(
            keys,
            service=self._decisions.service,
            wanted=lambda: reconciler.wanted,
            actual=lambda: reconciler.actual,
            ownership=reconciler.ownership,
            statistics=self._table.statistics,
        ):
            yield comma + msgspec.json.encode(service)
            comma = b","
        yield b"]}"

    def why(self, which: str, server: str) -> Why:
        """Say why real servers and fallback servers of a service are as they are.

        which: the service, in the words that `meant` takes.
        server: the address of the server, with or without a port.

        Raises `UnknownNameError`.
        """
        services, around = (self._decisions.service(key) for key in self._meant(which)), self._around()
        found = tuple(
            why
            for service in services
            if service is not None
            for why in explained_servers(service, canonical(server), around, self._past)
        )
        if not found:
            raise UnknownNameError(f'no real server of "{which}" has the address {server}')
        return Why(now=self._clock() + self._shift_s(), servers=found)

    def ok(self, which: str) -> ServingAnswer:
        """Say whether configured services may serve here.

        which: the services, in the words that `meant` takes.

        Raises `UnknownNameError`.
        """
        states = {name: self._decisions.service(key) for key, name in self.meant(which).items()}
        return serving_answer(states, self._reconciler, self._held_by, self._unread())

    def _unread(self) -> str:
        """Say that the kernel's table has not been read back as often as it should; "" if it has."""
        last_resync = self._reconciler.last_resync
        if last_resync is None or self._clock() - last_resync > 3 * self._facts.resync_s + STUCK_S:
            return "not read back for more than three resyncs"
        return ""

    def _around(self) -> Around:
        return Around(
            reconciler=self._reconciler,
            overrides=self._decisions.overrides,
            holds=self._holds(),
            vetoing=self._decisions.vetoing,
            brakes=self._decisions.braking.held,
            ways=self._decisions.braking.ways,
            roles=self._roles,
            announcing=self._announcing,
            sources=self._sources,
            store=self._store,
            agreeing=self._agreeing,
            mode=self._facts.mode,
            config_error=self._facts.config_error,
            config_loaded=self._facts.config_loaded,
            now=self._clock(),
            shift_s=self._shift_s(),
        )

    async def connections(self, which: str) -> AsyncGenerator[bytes, None]:
        """Yield the kernel's list of connections, a block of lines at a time. The list is read on another thread.

        which: the services whose connections to list, in the words that `meant` takes.

        Raises `UnknownNameError` and `TableUnavailableError`.
        """
        choosers = [chooser(key, self._servers(key)) for key in self._meant(which)] if which else []
        blocks = self._table.connections()
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            yield await asyncio.to_thread(_chosen, block, choosers) if which else block
        yield b""

    def meant(self, which: str) -> dict[ServiceKey, str]:
        """Return the keys and names of the configured services that an operator means. Raises `UnknownNameError`."""
        names = {service.key: service.config.name for service in self._decisions.services}
        return {key: names[key] for key in meant(which, self._decisions.services, ())}

    def _meant(self, which: str) -> list[ServiceKey]:
        return meant(which, self._decisions.services, (self.wanted(whole=True), self._reconciler.actual))

    def _servers(self, key: ServiceKey) -> list[DestinationKey]:
        entry = self._reconciler.actual.get(key)
        return list(entry.destinations) if entry is not None else []

    def wanted(self, *, whole: bool = False) -> Table:
        """Return the table we want; empty before the first plan.

        whole: whether to include the mark services of path probes.
        """
        wanted = self._reconciler.wanted
        table = wanted.table if wanted is not None else {}
        return table if whole else {key: table[key] for key in self._shown(table)}

    def actual(self, *, whole: bool = False) -> Table:
        """Return the kernel's table as last read or written, including services of others.

        whole: whether to include the mark services of path probes.
        """
        table = self._reconciler.actual
        return table if whole else {key: table[key] for key in self._shown(table)}

    def _shown(self, keys: Iterable[ServiceKey]) -> Iterator[ServiceKey]:
        return (key for key in keys if not self._is_mark_service(key))

    def health(self) -> str:
        """Return what is wrong with the daemon itself, or "" while it does its work."""
        now = self._clock()
        if self._reconciler.errors.last:
            return f"table: {self._reconciler.errors.last}"
        if self._keeper.last_error:
            return f"settings: {self._keeper.last_error}"
        if too_old := self._unread():
            return f"table: {too_old}"
        if now - self._prober.next_wake > STUCK_S:
            return f"scheduler: {now - self._prober.next_wake:.1f}s late"
        blindness = self._decisions.blindness
        return f"probes: {blindness}" if blindness else ""

    def stuck(self) -> bool:
        """Whether the scheduler or the reconciler has made no progress for too long."""
        now = self._clock()
        return now - self._prober.next_wake > STUCK_S or now - self._reconciler.progress > RECONCILER_STUCK_S

    def summary(self) -> str:
        """Write the line that `systemctl status` shows."""
        decisions = self._decisions
        servers, services = decisions.server_count, len(decisions.services)
        line = f"{self._facts.mode}: {decisions.up} of {servers} real servers up in {services} services"
        if not services:
            line = f"{self._facts.mode}: no services are configured"
        if self._reconciler.errors.last:
            line += f"; TABLE ERROR: {self._reconciler.errors.last}"
        if self._keeper.last_error:
            line += f"; SETTING ERROR: {self._keeper.last_error}"
        if self._state_error():
            line += f"; STATE NOT SAVED: {self._state_error()}"
        if self._decisions.overrides.maintenance.error:
            line += f"; MAINTENANCE FOLDER: {self._decisions.overrides.maintenance.error}"
        if self._decisions.clock_suspected:
            line += f"; CLOCK SUSPECTED: {self._decisions.clock_suspected}"
        if withdrawn := [each.vip for each in self._announcing.statuses if each.wanted is False and not each.shadow]:
            line += f"; WITHDRAWN: {', '.join(withdrawn[:MOST_NAMED])}"
        for brake in self._decisions.braking.held:
            line += f"; BRAKE ON {brake.way}: {brake.silent} of {brake.targets} targets are silent"
        if holds := self._holds():
            line += f"; HELD: {', '.join(hold.name or 'everything' for hold in holds)}"
        if self._facts.config_error:
            line += f"; RELOAD REJECTED, old configuration in force: {self._facts.config_error}"
        return line

    def internals(self) -> Mapping[str, float]:
        """Return the numbers that the metrics sample, by name."""
        return {
            "probe_workers": self._prober.workers,
            "probes_in_flight": self._prober.in_flight,
            "probes_waiting": self._prober.waiting,
            "kept_connections": self._prober.kept,
            "probes_unsure": self._decisions.unsure_probes()[0],
            "table_fights": self._reconciler.fights.count,
            "log_lines_dropped_total": self._log.dropped,
            "log_lines_suppressed_total": self._log.suppressed,
        }


def _chosen(block: bytes, choosers: list[Callable[[bytes], bool]]) -> bytes:
    return b"".join([line for line in block.splitlines(keepends=True) if any(is_meant(line) for is_meant in choosers)])
