"""Wiring and lifetime: builds the parts, lets them run, reloads, stops. No decision is made here.

Start: lock, table, adoption, state, API, probes, READY. A signal ends it within two seconds and the kernel's table
stays exactly as it is; a second signal ends it at once. SIGHUP reloads: everything that can fail is done before
anything is changed, so that a bad file changes nothing.
"""

import asyncio
import contextlib
import math
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from lvs_healthd import __version__
from lvs_healthd.api import ApiError, ApiServer, create_app
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import load
from lvs_healthd.config.model import AnyCheck, Config, Mode
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.daemon.changes import changes, restart_needed
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ProbeState
from lvs_healthd.director.aspect import Aspect
from lvs_healthd.director.keeper import Keeper
from lvs_healthd.events.bus import Bus
from lvs_healthd.events.kinds import ConfigRejected, DaemonFailed, DaemonStarted, DaemonStopping, StateError
from lvs_healthd.ipvs.interface import IpvsTable
from lvs_healthd.log import EventLog
from lvs_healthd.metrics import Metrics
from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.targets import read_certificates, targets
from lvs_healthd.probing.descriptors import probes_within_limit, raise_descriptor_limit
from lvs_healthd.probing.lag import LagReporter
from lvs_healthd.probing.prober import prober
from lvs_healthd.probing.scheduler import Probe
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.reconcile.suspects import suspects
from lvs_healthd.runtime.exceptions import HealthdError
from lvs_healthd.runtime.garbage import spare_long_lived
from lvs_healthd.runtime.lock import TableLock
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.runtime.notify import Notifier
from lvs_healthd.runtime.threads import Threads
from lvs_healthd.state.file import Saved, StateFileError, read_state
from lvs_healthd.state.saver import Saver
from lvs_healthd.state.writer import StateWriter
from lvs_healthd.view.view import Facts, View

HOUSEKEEPING_S = 1.0
"""How often log summaries, the state file, the watchdog and the status line get their turn."""

MOST_ERRORS = 100
"""Of a rejected configuration, told in one line of the log; journald splits one beyond 48 KiB."""

READ_BACK_S = 2.0
"""How long a reload waits for the kernel's table; without an answer it goes by the last reading."""

STOP_S = 1.0
"""How long each step of a stop may take."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line decides."""

    config_file: Path
    shadow: bool = False
    """Overrides `mode`: decide and log, write nothing."""


class Daemon:
    """One run of the daemon over one table.

    `netns`, which the configuration names, is where `table` looks; `aspects` of the director are kept beside it.
    Raises `ConfigError`, `AlreadyRunningError`, `NetnsError`, `TableUnavailableError`, `ApiError` or `OSError` from
    `run` when it cannot start; each message says what to do.
    """

    def __init__(
        self,
        settings: Settings,
        table: IpvsTable,
        log: EventLog,
        *,
        exclusive: bool,
        netns: Netns | None = None,
        aspects: Sequence[Aspect] = (),
    ) -> None:
        self._settings = settings
        self._table = table
        self._log = log
        self._exclusive = exclusive
        self._netns = netns or Netns()
        self._aspects = aspects
        self._notifier = Notifier.from_environment()
        self._bus = Bus()
        self._config = Config()
        self._memory = LastReading()
        self._facts = Facts(config_file=str(settings.config_file), started=time.time())
        self._lock = TableLock(self._netns)
        self._replan_due = asyncio.Event()
        self._status_line = ""
        self._stop = asyncio.Event()
        self._reload = asyncio.Event()
        self._stopped_by = ""

    async def run(self) -> None:
        """Start, run until a signal, stop."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        self._config = await self._load()
        self._netns.name = self._config.ipvs.netns
        raise_descriptor_limit()
        loop.set_default_executor(Threads())
        self._build(loop)
        self._take_lock(self._config)
        try:
            await self._start()
            try:
                await self._serve()
            except Exception as error:
                self._log(DaemonFailed(error=repr(error)))
                raise
            finally:
                await self._finish()
        finally:
            self._table.close()
            self._lock.release()
            self._log.close()

    # Start

    def _build(self, loop: asyncio.AbstractEventLoop) -> None:
        self._started = self._config
        daemon = self._config.daemon
        # Lambdas, because the view looks at parts that are yet to be made, and these count into the metrics.
        self.metrics = Metrics(
            samples=lambda: self._view.samples(),  # noqa: PLW0108
            internals=lambda: self._view.internals(),  # noqa: PLW0108
        )
        self._bus.subscribe(self._log)
        self._bus.subscribe(self.metrics.listen)
        self._decisions = Decisions(
            emit=self._bus.emit,
            changed=self._verdicts_changed,
            tally=self.metrics.tally,
            clock=time.monotonic,
            wall=time.time,
        )
        self._prober = prober(
            daemon.probe_workers,
            clock=time.monotonic,
            observer=self.metrics,
            emit=self._bus.emit,
            max_in_flight=probes_within_limit(daemon.max_probes),
        )
        self._lag = LagReporter(self._prober, self._bus.emit)
        self._reconciler = Reconciler(
            self._table,
            self._bus.emit,
            clock=time.monotonic,
            resync_s=daemon.resync,
            shadow=self._shadow(self._config),
            observer=self.metrics,
            suspects=lambda: suspects(self._netns, os.getpid()),
        )
        self._keeper = Keeper(self._aspects, self._netns, self._bus.emit, clock=time.monotonic)
        self._state_writer = StateWriter(loop, self._state_failed)
        self._saver = Saver(self._state_writer, self._decisions.saved_verdicts, self._reconciler.ownership.saved)
        self._view = View(
            facts=self._facts,
            decisions=self._decisions,
            prober=self._prober,
            reconciler=self._reconciler,
            keeper=self._keeper,
            table=self._table,
            log=self._log,
            clock=time.monotonic,
        )
        self._api = ApiServer(create_app(self._view, metrics=self.metrics.render))

    async def _start(self) -> None:
        ready = targets(self._config.services)
        self._facts.table = await self._reconciler.open()
        self._note_config(self._config)
        await self._api.start(self._config.daemon.listen, self._config.daemon.control)
        # Before the first packet that needs them. The table is read afterwards: between that and the first decision
        # nothing waits.
        self._keeper.want(self._config, shadow=self._shadow(self._config))
        await self._keeper.turn()
        actual = await self._reconciler.adopt()
        saved = self._read_state()
        self._reconciler.ownership.take_over(saved)
        probes = self._decisions.configure(self._config, actual, saved.by_check())
        self._replan()
        self._prober.update(_joined(probes.added, ready))
        self._bus.emit(
            DaemonStarted(
                version=__version__,
                pid=os.getpid(),
                mode=self._facts.mode,
                table=self._facts.table,
                services=len(self._config.services),
                real_servers=self._decisions.server_count,
                checks=len(ready),
            )
        )
        spare_long_lived()
        self._notifier.ready(self._view.summary())

    def _take_lock(self, config: Config) -> bool:
        """Become the one writer of the network namespace's table, unless nothing will be written.

        Returns whether the lock was taken by this call. Raises `AlreadyRunningError` and `NetnsError`.
        """
        return self._exclusive and not self._shadow(config) and self._lock.take()

    def _read_state(self) -> Saved:
        try:
            return read_state(Path(self._config.daemon.state), put_aside=not self._shadow(self._config))
        except StateFileError as error:
            self._bus.emit(StateError(file=self._config.daemon.state, error=str(error)))
            return Saved()

    # Run

    async def _serve(self) -> None:
        """Run all parts until a signal; a part that fails ends the daemon, loudly."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._prober.run(), name="prober"),
                group.create_task(self._replans(), name="plan"),
                group.create_task(self._reconciler.run(), name="reconciler"),
                group.create_task(self._keeper.run(), name="keeper"),
                group.create_task(self._reloads(), name="reloads"),
                group.create_task(self._keep_house(), name="housekeeping"),
            ]
            await self._stop.wait()
            for task in tasks:
                task.cancel()

    def _verdicts_changed(self) -> None:
        self._saver.changed()
        self._replan_due.set()

    async def _replans(self) -> None:
        """Decide anew once a turn of the loop has brought changes: a mass failure is one decision."""
        while True:
            await self._replan_due.wait()
            self._replan()

    def _replan(self) -> None:
        self._replan_due.clear()
        wanted = self._decisions.wanted(self._reconciler.actual, self._reconciler.take_moved())
        self._reconciler.want(wanted, self._decisions.take_touched())

    async def _keep_house(self) -> None:
        watchdog_s = self._notifier.watchdog_s
        pause_s = min(HOUSEKEEPING_S, watchdog_s / 3) if watchdog_s else HOUSEKEEPING_S
        while True:
            self._log.flush()
            self._lag.turn(time.monotonic())
            self._lock.follow_netns()
            line = self._view.summary()
            if line != self._status_line:
                self._status_line = line
                self._notifier.status(line)
            if not self._view.stuck():
                self._notifier.watchdog()
            await self._write_state(time.monotonic())
            await asyncio.sleep(pause_s)

    async def _write_state(self, now: float) -> None:
        """Save what a restart needs, if that is due. In shadow mode nothing is ours, so nothing is written."""
        if not self._shadow(self._config):
            await self._saver.turn(Path(self._config.daemon.state), now)

    def _state_failed(self, path: Path, error: StateFileError) -> None:
        self._bus.emit(StateError(file=str(path), error=str(error)))

    # Reload

    async def _reloads(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            self._notifier.reloading()
            try:
                await self._reload_once()
            except (HealthdError, OSError) as error:
                self._reject(error)
            self._status_line = self._view.summary()
            self._notifier.ready(self._status_line)

    async def _reload_once(self) -> None:
        config = await self._load()
        ready = await asyncio.to_thread(self._make_ready, config)
        newly_locked = self._take_lock(config)
        try:
            await self._api.rebind(config.daemon.listen, config.daemon.control)
        except ApiError:
            if newly_locked:
                self._lock.release()
            raise
        # Whoever reloads may have touched the table too, and what a new service finds there goes on serving.
        await self._reconciler.read_back(READ_BACK_S)
        # From here on nothing can fail and nothing waits: the old configuration ends and the new one holds.
        event = changes(str(self._settings.config_file), self._config, config)
        for name in {each.name for each in self._config.services} - {each.name for each in config.services}:
            self.metrics.forget_service(name)
        self._config = config
        self._note_config(config)
        self._prober.max_in_flight = probes_within_limit(config.daemon.max_probes)
        self._reconciler.set_resync(config.daemon.resync)
        self._reconciler.shadow = self._shadow(config)
        if self._reconciler.shadow:
            self._lock.release()
        probes = self._decisions.configure(config, self._reconciler.actual, {})
        self._prober.update(_joined(probes.added, ready), probes.dropped)
        self._bus.emit(event)
        for each in restart_needed(event.file, self._started, config):
            self._bus.emit(each)
        self._keeper.want(config, shadow=self._shadow(config))
        self._replan()
        self._saver.changed()
        spare_long_lived()

    def _note_config(self, config: Config) -> None:
        facts = self._facts
        facts.config_loaded, facts.config_error = time.time(), ""
        facts.mode = Mode.SHADOW if self._shadow(config) else Mode.ENFORCE
        facts.resync_s = config.daemon.resync

    def _reject(self, error: Exception) -> None:
        errors = error.errors if isinstance(error, ConfigError) else (str(error),)
        if len(errors) > MOST_ERRORS:
            rest = f"and {len(errors) - MOST_ERRORS} more: lvs-healthd validate {self._settings.config_file}"
            errors = (*errors[:MOST_ERRORS], rest)
        self._facts.config_error = "; ".join(errors)
        self._bus.emit(ConfigRejected(file=str(self._settings.config_file), errors=tuple(errors)))

    async def _load(self) -> Config:
        return await asyncio.to_thread(load, self._settings.config_file, self._memory)

    def _make_ready(self, config: Config) -> dict[AnyCheck, Target]:
        """Make the new probes of a configuration ready to run, on a thread. Raises `ConfigError`."""
        known = {id(service) for service in self._config.services}
        new = [service for service in config.services if id(service) not in known]
        ready = targets(new, self._decisions.probes)
        read_certificates(config.services)
        return ready

    # Stop

    def _asked_to_stop(self, number: signal.Signals) -> None:
        """End in order; another signal of this kind ends the process at once."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
        self._stopped_by = number.name
        self._stop.set()

    async def _finish(self) -> None:
        """Give back everything but the table, which stays as it is."""
        self._notifier.stopping()
        if self._stopped_by:
            self._bus.emit(DaemonStopping(signal=self._stopped_by))
        self._prober.close()
        self._saver.changed()
        await self._write_state(math.inf)
        for step in (self._state_writer.flush, self._api.stop):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await step()

    def _shadow(self, config: Config) -> bool:
        return self._settings.shadow or config.daemon.mode is Mode.SHADOW


def _joined(probes: Iterable[ProbeState], ready: Mapping[AnyCheck, Target]) -> list[Probe[AnyCheck]]:
    """Join who judges a probe with what is to be run."""
    return [Probe(each.check, ready[each.check], each.check.interval, each) for each in probes]
