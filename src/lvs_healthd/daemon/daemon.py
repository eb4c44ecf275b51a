"""The daemon's lifetime: starts the parts, lets them run and stops them.

At start the daemon takes the lock, opens the table, opens the API, adopts what the table holds, reads the state, begins
to probe and tells systemd READY. SIGTERM or SIGINT ends the daemon within two seconds, and the kernel's table stays
exactly as it is. A second such signal ends it at once. SIGHUP reloads the configuration.
"""

import asyncio
import contextlib
import math
import os
import signal
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from lvs_healthd import __version__
from lvs_healthd.api import ApiError
from lvs_healthd.config.model import Config
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.daemon.changes import remarks
from lvs_healthd.daemon.discovering import unknown
from lvs_healthd.daemon.guard import refuse_loss
from lvs_healthd.daemon.parts import Parts, Settings, Surroundings, build
from lvs_healthd.daemon.relisting import READ_S, relisted
from lvs_healthd.daemon.reload import Reloads
from lvs_healthd.daemon.requests import ReloadRequests
from lvs_healthd.daemon.store_asked import Beginning, beginning
from lvs_healthd.decide import flapping, slow_start, stale
from lvs_healthd.director.aspect import Aspect
from lvs_healthd.events.kinds import (
    ControlFailed,
    ControlRenewed,
    DaemonFailed,
    DaemonStarted,
    DaemonStopping,
    StateError,
)
from lvs_healthd.ipvs.interface import IpvsTable
from lvs_healthd.log import EventLog
from lvs_healthd.plan.records import service_key
from lvs_healthd.probes.targets import targets
from lvs_healthd.probing.descriptors import raise_descriptor_limit
from lvs_healthd.runtime.exceptions import HealthdError
from lvs_healthd.runtime.garbage import spare_long_lived
from lvs_healthd.runtime.moments import until_next_moment
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.runtime.threads import HungError, Threads, in_thread
from lvs_healthd.state.file import Saved, read_state
from lvs_healthd.state.safe_file import StateFileError
from lvs_healthd.state.stored import store_beside

_T = TypeVar("_T")

HOUSEKEEPING_S = 1.0
"""The time between two turns of housekeeping, which covers the log's summaries, the state file, the watchdog and the
status line, seconds."""

STOP_S = 1.0
"""How long each step of a stop may take, seconds."""

HOOKS_S = 0.5
"""How long hooks may take at a stop to tell what waits, seconds."""


class Daemon:
    """One run of the daemon over one table.

    settings: the settings from the command line.
    table: the IPVS table. Nothing else in this process may write to it.
    log: takes every event, and is closed at the end.
    exclusive: whether to keep any other daemon from writing to the same table.
    netns: the network namespace of `table`. Its name is set from the configuration.
    aspects: the director's settings that the daemon keeps as configured, in addition to the table.
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
        self._around = Surroundings(table=table, log=log, netns=netns or Netns(), aspects=aspects, exclusive=exclusive)
        self._stop = asyncio.Event()
        self._stopped_by = ""
        self._is_started = False
        """Whether the daemon has ever served. A start that fails knows less than what was saved before."""
        self._reloads = ReloadRequests()

    async def run(self) -> None:
        """Start, run until a signal, and stop. Raises `HealthdError` or `OSError` when the daemon cannot start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reloads.ask)
        # This must precede the first call on a thread, because the standard executor would wait for a call that hangs.
        loop.set_default_executor(Threads())
        last_reading = LastReading()
        began = await self._unless_stopped(beginning(self._settings.config_file, last_reading))
        if began is None:
            return
        config = began.config
        self._around.netns.name = config.ipvs.netns
        raise_descriptor_limit()
        parts = build(self._settings, config, self._around, self._reloads)
        parts.take_lock(config)
        try:
            parts.lock_state(config)
            try:
                if await self._unless_stopped(_start(parts, began, last_reading)):
                    await self._serve(parts, Reloads(parts, last_reading, self._reloads))
            except HealthdError:
                raise
            except Exception as error:
                parts.log(DaemonFailed(error=repr(error)))
                raise
            finally:
                await self._finish(parts)
        finally:
            parts.table.close()
            parts.lock.release()
            parts.state_lock.release()
            parts.log.close()

    async def _unless_stopped(self, step: Coroutine[Any, Any, _T]) -> _T | None:
        """Run one step of the start, and return its result. Returns None if a signal asks to stop meanwhile."""
        working, stopping = asyncio.ensure_future(step), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                return working.result()
            return None
        finally:
            for each in (working, stopping):
                each.cancel()
            await asyncio.wait((working, stopping), timeout=STOP_S)

    async def _serve(self, parts: Parts, reloads: Reloads) -> None:
        """Run all parts until a signal asks to stop. If a part fails, its exception ends the daemon."""
        self._is_started = True
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(parts.prober.run(), name="prober"),
                group.create_task(parts.programs.run(), name="programs"),
                group.create_task(parts.decisions.run(), name="decide"),
                group.create_task(parts.replans.run(), name="plan"),
                group.create_task(_look_for_stale(parts), name="stale verdicts"),
                group.create_task(_look_after_flapping(parts), name="flapping servers"),
                group.create_task(_look_after_slow_starts(parts), name="slow starts"),
                group.create_task(parts.reconciler.run(), name="reconciler"),
                group.create_task(parts.paths.run(), name="paths"),
                group.create_task(parts.pair.run(), name="pair"),
                group.create_task(parts.suspension.run(), name="suspended probes"),
                group.create_task(parts.tracking.run(), name="track file"),
                group.create_task(parts.announcing.run(), name="announced addresses"),
                group.create_task(parts.agreement.run(), name="other directors"),
                group.create_task(parts.keeper.run(), name="keeper"),
                group.create_task(parts.own_faults.run(), name="own faults"),
                group.create_task(parts.brakes.run(), name="brakes"),
                group.create_task(parts.maintenance.run(), name="maintenance folder"),
                group.create_task(parts.discovery.run(), name="sources of servers"),
                group.create_task(parts.desired.run(), name="services of etcd"),
                group.create_task(parts.store_lists.run(), name="servers of etcd"),
                group.create_task(parts.fleet_orders.run(), name="orders of etcd"),
                group.create_task(parts.hooks.run(), name="hooks"),
                group.create_task(reloads.run(), name="reloads"),
                group.create_task(_keep_house(parts), name="housekeeping"),
            ]
            await self._stop.wait()
            for task in tasks:
                task.cancel()

    def _asked_to_stop(self, number: signal.Signals) -> None:
        """Begin an orderly stop. The next SIGTERM or SIGINT kills the process at once."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
        self._stopped_by = number.name
        self._stop.set()

    async def _finish(self, parts: Parts) -> None:
        """Save the state and close every part. The table stays as it is."""
        parts.notifier.stopping()
        if self._stopped_by:
            parts.bus.emit(DaemonStopping(signal=self._stopped_by))
        parts.prober.close()
        if self._is_started:
            parts.saver.changed()
            await parts.save(math.inf)
        for step in (
            parts.flush,
            parts.discovery.save,
            parts.desired.save,
            parts.fleet_orders.save,
            parts.agreement.stop,
            parts.api.stop,
            lambda: parts.hooks.stop(HOOKS_S),
            parts.programs.stop,
        ):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await step()


async def _start(parts: Parts, began: Beginning, last_reading: LastReading) -> bool:
    config = await _with_lists(parts, began, last_reading)
    ready = await in_thread(
        targets, config.services, timeout_s=READ_S, what="reading the certificates and secrets of checks"
    )
    parts.facts.table = await parts.reconciler.open()
    parts.adopt(config)
    await parts.start_programs(config, ready)
    saved = parts.desired.set_aside(await _read_state(parts), {service_key(each) for each in config.services})
    before = await parts.remembering.read(config.daemon.state, rescue=not parts.is_shadow(config))
    await parts.holding.restore(config.daemon.state)
    await _refuse_loss(parts, saved)
    await parts.operators.load()
    for order in await parts.fleet_orders.load(config, shadow=parts.is_shadow(config)):
        parts.decisions.overrides.put(order)
    parts.fleet_orders.configured(config, shadow=parts.is_shadow(config))
    await parts.maintenance.start(config.daemon.maintenance_dir, saved.maintenance)
    await parts.api.start(config.daemon.listen, config.daemon.control, is_starting=True)
    # The settings must be in place before the first packet that needs them. The table is read after they are set, so
    # that nothing has to wait between the reading and the first decision.
    await parts.pair.prepare(config)
    parts.announcing.restore(saved.announced)
    parts.keeper.want(parts.enforced(config), shadow=parts.is_shadow(config))
    await parts.keeper.turn()
    actual = await parts.reconciler.adopt()
    parts.reconciler.ownership.take_over(saved)
    parts.decisions.remember(saved.written)
    parts.paths.restore(saved)
    marked = parts.paths.plan(config, actual, runs=parts.runs_paths(config))
    probes = parts.decisions.configure(config, actual, saved.by_check(), marked)
    parts.past.configured(parts.decisions.services, config.daemon.history)
    parts.brakes.configured(config.brake)
    parts.agreement.adopt(config)
    parts.replans.now()
    await parts.remembering.restore(before)
    roles = parts.pair.configured(config)
    added, _ = parts.paths.configured(probes, ready)
    started, _ = parts.suspension.configured(config.pair, added, (), ready)
    parts.prober.update(started)
    parts.api.begin()
    parts.bus.emit(
        DaemonStarted(
            version=__version__,
            pid=os.getpid(),
            mode=parts.facts.mode,
            table=parts.facts.table,
            services=len(config.services),
            real_servers=parts.decisions.server_count,
            checks=len(ready),
        )
    )
    for each in remarks(parts.facts.config_file, config):
        parts.bus.emit(each)
    parts.pair.tell(roles)
    spare_long_lived()
    parts.notifier.ready(parts.view.summary())
    return True


async def _with_lists(parts: Parts, began: Beginning, last_reading: LastReading) -> Config:
    """Return the configuration with the servers of its sources, as they were known before or are known now."""
    config, state = began.config, began.config.daemon.state
    if began.error:
        parts.bus.emit(StateError(file=str(store_beside(state)), error=began.error))
    parts.desired.configured(
        config.fleet,
        began.stored,
        state,
        shadow=parts.is_shadow(config),
        changed=began.changed,
    )
    if not any(service.sources for service in config.services) or last_reading.whole is None:
        return config
    discovery = parts.discovery
    parts.store_lists.configured(config)
    await discovery.remembered(state)
    found = await relisted(last_reading.whole, last_reading, {}, await discovery.first(config), began.stored)
    discovery.configured(found.config, found.lists, state, shadow=parts.is_shadow(config))
    for source, errors in found.refused.items():
        discovery.refused(source, errors)
    return found.config


async def _refuse_loss(parts: Parts, saved: Saved) -> None:
    """Raise `ConfigError` when too many of our servers in the kernel's table would be taken out (see `guard`)."""
    if parts.settings.force or parts.is_shadow(parts.config):
        return
    marks = {lease.number for lease in saved.path_marks}
    present = await parts.table.read_services([key for key in saved.owned if key.fwmark not in marks])
    shared = {each.service: each.servers for each in saved.shared}
    if_meant = "lvs-healthd run --force" if parts.config.services else "lvs-healthd flush"
    unchanged = unknown(parts.config, parts.discovery.lists)
    await refuse_loss(parts.facts.config_file, parts.config, present, shared, if_meant, unchanged=unchanged)


async def _read_state(parts: Parts) -> Saved:
    file, is_shadow = parts.config.daemon.state, parts.is_shadow(parts.config)

    def read() -> Saved:
        return read_state(Path(file), put_aside=not is_shadow)

    try:
        return await in_thread(read, timeout_s=READ_S, what=f"reading {file}")
    except (StateFileError, HungError) as error:
        parts.bus.emit(StateError(file=file, error=str(error)))
        return Saved()


async def _renew_control(parts: Parts, told: str) -> str:
    """Make the control socket again if its file is gone.

    Returns why the socket cannot be made, or "".

    told: what the previous call returned. An error is reported only if it is a different one.
    """
    control = parts.config.daemon.control
    try:
        if await parts.api.renew_control():
            parts.bus.emit(ControlRenewed(socket=control))
    except ApiError as error:
        if str(error) != told:
            parts.bus.emit(ControlFailed(error=str(error)))
        return str(error)
    return ""


async def _look_for_stale(parts: Parts) -> None:
    """Tell of verdicts that have not been renewed for long, until cancelled."""
    while True:
        await until_next_moment(stale.TURN_S)
        async for each in parts.decisions.stale.turn():
            parts.bus.emit(each)


async def _look_after_slow_starts(parts: Parts) -> None:
    """Give servers that come back more and more of their weight, until cancelled."""
    while True:
        await until_next_moment(slow_start.TURN_S)
        await parts.decisions.slow_starts.turn()


async def _look_after_flapping(parts: Parts) -> None:
    """Let go servers that were held out because they flapped, until cancelled."""
    while True:
        await until_next_moment(flapping.TURN_S)
        await parts.decisions.flapping.turn()


async def _keep_house(parts: Parts) -> None:
    watchdog_s = parts.notifier.watchdog_s
    pause_s = min(HOUSEKEEPING_S, watchdog_s / 3) if watchdog_s else HOUSEKEEPING_S
    status_line = control_error = ""
    while True:
        parts.log.flush()
        control_error = await _renew_control(parts, control_error)
        parts.lag.turn(time.monotonic())
        for remark in parts.decisions.endings.remarks(time.time()):
            parts.bus.emit(remark)
        parts.lock.follow_netns()
        line = parts.view.summary()
        if line != status_line:
            status_line = line
            parts.notifier.status(line)
        if not parts.view.stuck():
            parts.notifier.watchdog()
        await parts.operators.turn()
        await parts.save(time.monotonic())
        await until_next_moment(pause_s)
