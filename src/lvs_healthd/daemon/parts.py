"""Builds the parts of a running daemon, connects them, and holds them in one record."""

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import AF_UNIX

import msgspec

from lvs_healthd.api import ApiServer, create_app
from lvs_healthd.config.load import helper_socket
from lvs_healthd.config.model import Config, Mode
from lvs_healthd.daemon.agreeing import AgreementRuns
from lvs_healthd.daemon.announcing import AnnounceRuns
from lvs_healthd.daemon.brakes import BrakeRuns
from lvs_healthd.daemon.desired import Desired
from lvs_healthd.daemon.discovering import Discovery
from lvs_healthd.daemon.fleet_orders import FleetOrders
from lvs_healthd.daemon.holding import Holding
from lvs_healthd.daemon.hook_facts import HookFacts
from lvs_healthd.daemon.maintenance import MaintenanceRuns
from lvs_healthd.daemon.operators import OperatorsHand, overrides_file
from lvs_healthd.daemon.pair import PairRuns
from lvs_healthd.daemon.paths import PathRuns
from lvs_healthd.daemon.remembering import Remembering
from lvs_healthd.daemon.replans import Replans
from lvs_healthd.daemon.requests import ReloadRequests, Requests
from lvs_healthd.daemon.saving import StateWriter, ours_of, state_writer
from lvs_healthd.daemon.store_lists import StoreLists
from lvs_healthd.daemon.suspending import Suspension
from lvs_healthd.daemon.tracking import TrackRuns, tracking_symptoms
from lvs_healthd.decide import own_fault
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.roles import Roles
from lvs_healthd.director.aspect import Aspect
from lvs_healthd.director.keeper import Keeper
from lvs_healthd.director.own_faults import OwnFaults
from lvs_healthd.director.ways import Ways
from lvs_healthd.discovery.reader import reader
from lvs_healthd.events.bus import Bus
from lvs_healthd.hooks.hooks import Hooks
from lvs_healthd.ipvs.interface import IpvsTable
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.log import EventLog
from lvs_healthd.metrics import Metrics
from lvs_healthd.plan.records import service_key
from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.targets import ProbeKey
from lvs_healthd.probing.descriptors import probes_within_limit
from lvs_healthd.probing.lag import LagReporter
from lvs_healthd.probing.prober import Prober, prober
from lvs_healthd.programs.child import Child
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.reconcile.suspects import suspects
from lvs_healthd.runtime.lock import LockFileError, StateLock, TableLock
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.runtime.notify import Notifier
from lvs_healthd.state.saver import Saver
from lvs_healthd.view.director import Director
from lvs_healthd.view.past import Past
from lvs_healthd.view.view import Facts, View


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that come from the command line."""

    config_file: Path
    shadow: bool = False
    """Whether the daemon only decides and logs, and writes nothing, even if the configuration's `mode` is `enforce`."""
    force: bool = False
    """Whether to start even if the configuration takes out too many of the servers that serve now."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a daemon is given from outside, in addition to its configuration."""

    table: IpvsTable
    log: EventLog
    netns: Netns
    """The network namespace of `table`."""
    aspects: Sequence[Aspect]
    """The director's settings that the daemon keeps as configured, in addition to the table."""
    exclusive: bool
    """Whether to keep any other daemon from writing to the same table."""


@dataclass(slots=True, kw_only=True)
class Parts:
    """Everything a running daemon is made of. Only `config` is replaced while it runs."""

    settings: Settings
    config: Config
    table: IpvsTable
    log: EventLog
    exclusive: bool
    lock: TableLock
    state_lock: StateLock
    notifier: Notifier
    bus: Bus
    facts: Facts
    metrics: Metrics
    decisions: Decisions
    prober: Prober
    programs: Child
    lag: LagReporter
    reconciler: Reconciler
    holding: Holding
    brakes: BrakeRuns
    replans: Replans
    paths: PathRuns
    pair: PairRuns
    suspension: Suspension
    tracking: TrackRuns
    announcing: AnnounceRuns
    agreement: AgreementRuns
    keeper: Keeper
    own_faults: OwnFaults
    operators: OperatorsHand
    maintenance: MaintenanceRuns
    discovery: Discovery
    desired: Desired
    fleet_orders: FleetOrders
    store_lists: StoreLists
    hooks: Hooks
    state_writer: StateWriter
    saver: Saver
    past: Past
    remembering: Remembering
    view: View
    api: ApiServer

    def is_shadow(self, config: Config) -> bool:
        """Return whether the daemon writes nothing while `config` is in force."""
        return _is_shadow(self.settings, config)

    def enforced(self, config: Config) -> Config:
        """Return a configuration without the services that are in shadow mode by themselves."""
        services = tuple(service for service in config.services if service.mode is Mode.ENFORCE)
        return config if len(services) == len(config.services) else msgspec.structs.replace(config, services=services)

    def runs_paths(self, config: Config) -> bool:
        """Return whether path probes are run while `config` is in force: only if their mark services are written."""
        return self.exclusive and not self.is_shadow(config)

    def take_lock(self, config: Config) -> bool:
        """Become the only daemon that writes to the network namespace's table, unless this one will write nothing.

        Returns whether this call took the lock. Raises `AlreadyRunningError` when another daemon holds the lock, and
        `NetnsError` when the namespace cannot be entered.
        """
        return self.exclusive and not self.is_shadow(config) and self.lock.take()

    def lock_state(self, config: Config) -> None:
        """Become the only daemon that uses the configured state file, unless this one will write nothing.

        A file in a folder that cannot be written needs no lock, because nothing can be saved there; each attempt to
        save reports that. Raises `AlreadyRunningError`; then the lock on the previous state file is kept.
        """
        with contextlib.suppress(LockFileError):
            self.state_lock.move(None if self.is_shadow(config) else Path(config.daemon.state))

    def adopt(self, config: Config, *, was_loaded: bool = True) -> None:
        """Record that `config` is in force from now on.

        was_loaded: whether its files have been read. Otherwise only its sources list other servers.
        """
        self.config = config
        if was_loaded:
            self.facts.config_loaded, self.facts.config_error = time.time(), ""
        self.facts.config_remarks = config.remarks
        self.facts.mode = Mode.SHADOW if self.is_shadow(config) else Mode.ENFORCE
        self.facts.resync_s = config.daemon.resync
        self.store_lists.configured(config)
        self.tracking.configured(config, shadow=self.is_shadow(config))
        self.announcing.configured(config, shadow=self.is_shadow(config))
        self.reconciler.gate.shadowed = shadowed(config)
        self.hooks.configure(config, helper_socket(config.daemon), is_shadow=self.is_shadow(config))

    async def start_programs(self, config: Config, ready: Mapping[ProbeKey, Target]) -> None:
        """Start the process that runs programs if anything needs it and nobody else is to run it. Wait until it serves.

        ready: the new targets of `config`.
        """
        is_needed = any(hook.command for hook in config.hooks) or any(
            target.family is AF_UNIX for target in ready.values()
        )
        if not config.daemon.exec_socket and is_needed:
            await self.programs.start(helper_socket(config.daemon))

    async def save(self, now: float) -> None:
        """Save what must survive a restart, if a write is due. In shadow mode nothing is saved.

        now: monotonic time, seconds; infinity when the daemon stops.
        """
        if not self.is_shadow(self.config):
            await self.saver.turn(Path(self.config.daemon.state), now)
            await self.remembering.turn(self.config.daemon.state, now)

    async def flush(self) -> None:
        """Wait until everything is saved. This may take forever, so the caller must set a time limit."""
        await asyncio.gather(self.state_writer.flush(), self.remembering.flush())


def build(settings: Settings, config: Config, around: Surroundings, reloads: ReloadRequests | None = None) -> Parts:
    """Make the parts and connect them, but start nothing. Call it on the event loop that will run them.

    reloads: receives operators' requests for a reload. None makes a new one.
    """
    clock = time.monotonic
    bus = Bus()
    facts = Facts(config_file=str(settings.config_file), started=time.time())

    def verdicts_changed() -> None:
        saver.changed()
        replans.ask()
        agreement.look_again()

    # The lambdas break a cycle: the metrics read the view, the view reads the parts that are made below, and these
    # parts count in the metrics.
    metrics = Metrics(
        samples=lambda: view.samples(),  # noqa: PLW0108
        internals=lambda: view.internals(),  # noqa: PLW0108
        waiting=lambda: hooks.waiting(),  # noqa: PLW0108
    )
    bus.subscribe(around.log)
    bus.subscribe(metrics.listen)
    past = Past(time.time)
    bus.subscribe(past.listen)
    own_faults = OwnFaults(bus.emit, clock=clock)
    reconciler = _reconciler(settings, config, around, bus, metrics)
    decisions = Decisions(
        emit=bus.emit,
        changed=verdicts_changed,
        tally=metrics.tally,
        clock=clock,
        wall=time.time,
        own=own_faults,
        table=reconciler,
    )
    hooks = Hooks(HookFacts(decisions), bus.emit, metrics, clock=clock, wall=time.time)
    bus.subscribe(hooks.listen)
    facts.hook_errors = hooks.errors
    runs_probes = _prober(config, bus, metrics)
    holding = Holding(reconciler, bus.emit, resolve=lambda which: view.meant(which), wall=time.time)  # noqa: PLW0108
    lag = LagReporter(runs_probes, bus.emit)
    brakes = BrakeRuns(
        decisions.braking,
        Ways(lambda: (probe.check for probe in decisions.probes.values())),
        reconciler,
        bus.emit,
        faults=lambda: (*own_faults.full_tables, *lag.standing(clock())),
        vetoed=decisions.vetoing.kept,
    )
    replans = Replans(decisions, reconciler)
    paths = PathRuns(decisions, runs_probes, reconciler, bus.emit, clock=clock, wall=time.time)
    roles = Roles()
    suspension = Suspension(decisions, runs_probes, roles, paths.look_again)
    tracking = TrackRuns(
        decisions,
        reconciler,
        bus.emit,
        symptoms=lambda: tracking_symptoms(own_faults.ongoing, decisions, reconciler),
        clock=clock,
    )
    announcing = AnnounceRuns(
        decisions,
        reconciler,
        around.netns,
        bus.emit,
        symptoms=lambda: own_fault.symptoms(own_faults.ongoing, decisions.braking.held),
        others=lambda services: agreement.serving(services),  # noqa: PLW0108
        changed=lambda: agreement.look_again(),  # noqa: PLW0108
        clock=clock,
    )
    agreement = AgreementRuns(decisions, reconciler, bus.emit, serves=announcing.serves, clock=clock, wall=time.time)
    pair = PairRuns(roles, around.netns, bus.emit, suspension, clock=clock)
    keeper = Keeper(around.aspects, around.netns, bus.emit, clock=clock, more_advice=lambda: paths.advice)
    reloads = reloads or ReloadRequests()
    store_lists = StoreLists()
    discovery = Discovery(bus.emit, ask=reloads.ask_lists, read_with=lambda source: reader(source, store_lists.lists))
    fleet_orders = FleetOrders(
        bus.emit,
        share=lambda orders, why_of: operators.share(orders, why_of),  # noqa: PLW0108
        clock=clock,
    )
    desired = Desired(bus.emit, ask=reloads.ask_lists, besides=lambda: fleet_orders.error)
    remembering = Remembering(past, bus.emit, asyncio.get_running_loop())
    writer = state_writer(bus)
    saver = Saver(
        writer,
        decisions.saved_verdicts,
        ours_of(paths, announcing, decisions, reconciler, desired),
        decisions.state_written,
    )

    view = View(
        facts=facts,
        decisions=decisions,
        prober=runs_probes,
        reconciler=reconciler,
        keeper=keeper,
        own_faults=own_faults,
        state_error=lambda: (
            writer.error or remembering.error or discovery.file.error or desired.file.error or fleet_orders.file.error
        ),
        past=past,
        table=around.table,
        log=around.log,
        clock=clock,
        is_mark_service=paths.is_mark_service,
        holds=lambda: holding.holds,
        roles=roles,
        pair_error=lambda: pair.error,
        track=lambda: tracking.status,
        announcing=announcing,
        sources=discovery,
        store=desired,
        is_lost=fleet_orders.is_lost,
        agreeing=agreement,
    )
    director = Director(decisions, around.netns, is_real=bool(around.aspects))
    held: list[Parts] = []

    def orders_file() -> Path | None:
        config = held[0].config
        return None if _is_shadow(settings, config) else overrides_file(config)

    operators = OperatorsHand(
        decisions,
        reconciler,
        bus.emit,
        fleet=fleet_orders,
        file=orders_file,
        replan=replans.now,
        clock=clock,
        wall=time.time,
    )
    maintenance = MaintenanceRuns(decisions, bus.emit, replan=replans.now, clock=clock, wall=time.time)
    requests = Requests(reloads, operators, holding, bus.emit)
    parts = Parts(
        settings=settings,
        config=config,
        table=around.table,
        log=around.log,
        exclusive=around.exclusive,
        lock=TableLock(around.netns),
        state_lock=StateLock(),
        notifier=Notifier.from_environment(),
        bus=bus,
        facts=facts,
        metrics=metrics,
        decisions=decisions,
        prober=runs_probes,
        programs=Child(config.daemon.max_exec, str(Path(config.daemon.state).with_name("programs")), bus.emit),
        lag=lag,
        reconciler=reconciler,
        holding=holding,
        brakes=brakes,
        replans=replans,
        paths=paths,
        pair=pair,
        suspension=suspension,
        tracking=tracking,
        announcing=announcing,
        agreement=agreement,
        keeper=keeper,
        own_faults=own_faults,
        operators=operators,
        maintenance=maintenance,
        discovery=discovery,
        desired=desired,
        fleet_orders=fleet_orders,
        store_lists=store_lists,
        hooks=hooks,
        state_writer=writer,
        saver=saver,
        past=past,
        remembering=remembering,
        view=view,
        api=ApiServer(create_app(view, metrics=metrics.render, director=director, requests=requests)),
    )
    held.append(parts)
    return parts


def shadowed(config: Config) -> frozenset[ServiceKey]:
    """Return the services that are in shadow mode by themselves."""
    return frozenset(service_key(service) for service in config.services if service.mode is Mode.SHADOW)


def _is_shadow(settings: Settings, config: Config) -> bool:
    return settings.shadow or config.daemon.mode is Mode.SHADOW


def _reconciler(settings: Settings, config: Config, around: Surroundings, bus: Bus, metrics: Metrics) -> Reconciler:
    return Reconciler(
        around.table,
        bus.emit,
        clock=time.monotonic,
        resync_s=config.daemon.resync,
        shadow=_is_shadow(settings, config),
        observer=metrics,
        suspects=lambda: suspects(around.netns, os.getpid()),
    )


def _prober(config: Config, bus: Bus, metrics: Metrics) -> Prober:
    return prober(
        config.daemon.probe_workers,
        clock=time.monotonic,
        observer=metrics,
        emit=bus.emit,
        max_in_flight=probes_within_limit(config.daemon.max_probes),
    )
