"""Reloads the configuration. Everything that can fail is done first, so a bad configuration changes nothing."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import about_store, read_files, relist
from lvs_healthd.config.model import Config, Mode
from lvs_healthd.config.parts import Whole
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.config.sources import Lists
from lvs_healthd.config.stored import Stored
from lvs_healthd.daemon.changes import (
    MOST_FINDINGS,
    Differences,
    changes,
    counted,
    named_changes,
    not_tried,
    remarks,
    restart_needed,
    shortened,
)
from lvs_healthd.daemon.discovering import unknown
from lvs_healthd.daemon.foresight import lines_changed
from lvs_healthd.daemon.guard import refuse_loss
from lvs_healthd.daemon.operators import overrides_file
from lvs_healthd.daemon.parts import Parts
from lvs_healthd.daemon.relisting import READ_S, Relisted, relisted
from lvs_healthd.daemon.requests import PLAIN, ReloadRequests
from lvs_healthd.events.kinds import ConfigRejected, ConfigReloaded, ConfigRestartNeeded, DiscoveryChanged, StoreChanged
from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.targets import ProbeKey, read_certificates, read_secrets, targets
from lvs_healthd.probing.descriptors import probes_within_limit
from lvs_healthd.runtime.exceptions import HealthdError
from lvs_healthd.runtime.garbage import spare_long_lived
from lvs_healthd.runtime.threads import HungError, in_thread
from lvs_healthd.state.file import Saved
from lvs_healthd.view.reload_values import ReloadOutcome, ReloadRequest, RestartNeeded

READ_BACK_S = 2.0
"""How long a reload waits for the kernel's table, seconds. Without an answer, it uses the table as last read."""


class _Ready(NamedTuple):
    """What has been prepared for a new configuration while the old one is still in force."""

    targets: Mapping[ProbeKey, Target]
    """The targets of the new probes."""
    trust_certificates: Callable[[], None]
    """Makes every https check trust the certificates that its `ca` file holds now."""
    use_secrets: Callable[[], None]
    """Makes every http check authenticate with the secret that its file holds now."""


class _Read(NamedTuple):
    """A configuration that may come into force."""

    found: Relisted
    stored: Stored | None
    """What etcd says in it; None if nothing is known of that, or there is none."""
    ready: _Ready


IF_MEANT = "lvs-healthd reload --force"
"""What to type when a configuration is meant that takes out too much."""


class Reloads:
    """Puts changed configurations into force.

    parts: the parts of the daemon.
    last_reading: the services of the configuration in force, by which unchanged services are recognised.
    requests: the reloads that somebody has asked for.
    """

    def __init__(self, parts: Parts, last_reading: LastReading, requests: ReloadRequests) -> None:
        self._parts = parts
        self._last_reading = last_reading
        self._requests = requests
        self._whole = last_reading.whole
        """The configuration in force as it was read, if it has sources."""
        self._started = parts.config
        """The configuration with which the daemon started. Keys that need a restart keep its values until then."""

    async def run(self) -> None:
        """Reload whenever somebody asks for it, until cancelled."""
        while True:
            for request, waiting in (await self._requests.taken()).items():
                outcome = await (self._dry_run if request.dry_run else self._reload_or_reject)(request)
                for each in waiting:
                    if not each.done():  # whoever asked may have given up
                        each.set_result(outcome)
            if self._requests.take_lists():
                await self._take(self._parts.discovery.ready())
                await self._take_stored(self._parts.desired.ready())

    async def _reload_or_reject(self, request: ReloadRequest) -> ReloadOutcome:
        notifier, view = self._parts.notifier, self._parts.view
        notifier.reloading()
        try:
            return await self._reload(request)
        except (HealthdError, OSError) as error:
            return self._reject(error)
        finally:
            notifier.ready(view.summary())

    async def _dry_run(self, request: ReloadRequest) -> ReloadOutcome:
        """Read the file, and say what a reload would change or why it would be rejected. Nothing is changed."""
        parts = self._parts
        file = str(parts.settings.config_file)
        try:
            config = (await self._read(request, self._last_reading.copy())).found.config
        except (HealthdError, OSError) as error:
            return ReloadOutcome(file=file, errors=_errors(error, file), dry_run=True)
        mode = Mode.SHADOW if parts.is_shadow(config) else Mode.ENFORCE
        event = changes(file, parts.config, config, was=parts.facts.mode, mode=mode)
        outcome = _outcome(event, restart_needed(file, self._started, config))
        lines = await lines_changed(parts, config)
        addresses = await parts.announcing.foreseen(config, shadow=parts.is_shadow(config))
        return msgspec.structs.replace(
            outcome,
            dry_run=True,
            table=tuple(lines[:MOST_FINDINGS]),
            table_count=len(lines),
            addresses=tuple(addresses[:MOST_FINDINGS]),
            addresses_count=len(addresses),
            would_change=named_changes(parts.config, config),
            not_tried=not_tried(parts.config, config, takes_lock=mode is Mode.ENFORCE is not parts.facts.mode),
        )

    async def _read(self, request: ReloadRequest, last_reading: LastReading) -> "_Read":
        """Read the file, and prepare what can be prepared without changing anything.

        Raises `ConfigError`, or `HungError` when a file system hangs.
        """
        file = self._parts.settings.config_file
        files = await in_thread(read_files, file, timeout_s=READ_S, what=f"reading {file}")
        fleet, _ = about_store(files)
        candidates = await self._parts.desired.offered(fleet, str(file), force=request.force)
        for stored in candidates:
            try:
                found = await self._whole_of(files, stored, request, last_reading)
                if not request.force:
                    await self._refuse_loss(found.config, found.lists, stored, str(file))
            except ConfigError:
                if stored is candidates[-1]:
                    raise
            else:
                return _Read(found, stored, await self._made_ready(found.config))
        raise AssertionError("there is always a candidate")

    async def _whole_of(
        self, files: Whole, stored: Stored | None, request: ReloadRequest, last_reading: LastReading
    ) -> Relisted:
        """Return the configuration of files, of what etcd says, and of what the sources list."""
        lists = self._parts.discovery.lists
        what = f"reading {files.parts[0].file}"
        config = await in_thread(relist, files, last_reading, lists, stored, timeout_s=READ_S, what=what)
        return await self._listed(config, request, last_reading, stored)

    async def _listed(
        self, config: Config, request: ReloadRequest, last_reading: LastReading, stored: Stored | None
    ) -> Relisted:
        """Return a configuration with the lists of which nothing was known, and those that are held and meant."""
        discovery = self._parts.discovery
        used = {source for service in config.services for source in service.sources}
        lists = {source: entries for source, entries in discovery.lists.items() if source in used}
        new = await discovery.first(config)
        if request.force:
            new |= discovery.meant(config)
        if not new or last_reading.whole is None:
            return Relisted(config, lists, {})
        return await relisted(last_reading.whole, last_reading, lists, new, stored)

    async def _refuse_loss(self, config: Config, lists: Lists, stored: Stored | None, source: str) -> None:
        """Raise `ConfigError` if a configuration takes out too many servers.

        lists: what its sources list.
        stored: what etcd says in it.
        source: what has brought it, for the error.
        """
        parts = self._parts
        if parts.is_shadow(config):
            return
        ours, actual = parts.reconciler.ownership, parts.reconciler.actual
        # What is set aside would be taken out by a configuration in which etcd is known.
        aside = Saved() if stored is None else parts.desired.aside
        owned = ours.services.union(aside.owned)
        present = {key: actual[key] for key in owned if key in actual and not parts.paths.is_mark_service(key)}
        shared = {**ours.servers, **{each.service: each.servers for each in aside.shared}}
        same = set(map(id, config.services))
        unchanged = {each.key for each in parts.decisions.services if id(each.config) in same}
        unchanged |= unknown(config, lists)
        await refuse_loss(source, config, present, shared, IF_MEANT, unchanged=unchanged)

    async def _made_ready(self, config: Config) -> "_Ready":
        what = "reading the certificates and secrets of checks"
        return await in_thread(self._make_ready, config, timeout_s=READ_S, what=what)

    async def _take(self, new: Lists) -> None:
        """Put what sources list into force as a reload would, with the configuration's files as they were read last."""
        parts, discovery = self._parts, self._parts.discovery
        if not new or self._whole is None:
            return
        try:
            found = await relisted(self._whole, self._last_reading, discovery.lists, new, parts.desired.stored)
            for source, errors in found.refused.items():
                discovery.refused(source, errors)
            taken = {source: entries for source, entries in new.items() if source not in found.refused}
            if not taken or not await self._is_allowed(found, taken):
                return
            ready = await self._made_ready(found.config)
            await parts.reconciler.read_back(READ_BACK_S)
            await parts.start_programs(found.config, ready.targets)
            await parts.pair.prepare(found.config)
        except (HealthdError, OSError) as error:
            if isinstance(error, HungError):
                self._last_reading = LastReading()
            for source in new:
                discovery.put_off(source, str(error))
            return
        # Nothing below can fail or wait.
        differences, at = Differences(parts.config, found.config), time.time()
        self._replace(found.config, ready, lambda: discovery.accepted(taken), was_loaded=False)
        await parts.past.reloaded(differences.of_servers(), at, DiscoveryChanged.name)

    async def _is_allowed(self, found: Relisted, new: Lists) -> bool:
        """Return whether lists take out no more servers altogether than they may. Otherwise, hold those that do."""
        try:
            stored = self._parts.desired.stored
            await self._refuse_loss(found.config, found.lists, stored, ", ".join(map(str, new)))
        except ConfigError as error:
            if len(new) > 1:
                for source, entries in new.items():
                    await self._take({source: entries})
            for source in new if len(new) == 1 else ():
                self._parts.discovery.hold(source, "; ".join(error.errors))
            return False
        return True

    async def _take_stored(self, stored: Stored | None) -> None:
        """Put what etcd says into force as a reload would, with the configuration's files as they were read last."""
        parts, desired = self._parts, self._parts.desired
        if stored is None or self._whole is None:
            return
        try:
            found = await self._whole_of(self._whole, stored, PLAIN, self._last_reading)
        except ConfigError as error:
            desired.refuse(error.errors)
            return
        except (HealthdError, OSError) as error:
            if isinstance(error, HungError):
                self._last_reading = LastReading()
            desired.put_off(str(error))
            return
        try:
            await self._refuse_loss(found.config, found.lists, stored, f"etcd {stored.prefix}")
        except ConfigError as error:
            desired.hold("; ".join(error.errors))
            return
        try:
            ready = await self._made_ready(found.config)
            await parts.reconciler.read_back(READ_BACK_S)
            await parts.start_programs(found.config, ready.targets)
            await parts.pair.prepare(found.config)
        except (HealthdError, OSError) as error:
            desired.put_off(str(error))
            return
        # Nothing below can fail or wait.
        differences, at = Differences(parts.config, found.config), time.time()
        parts.reconciler.ownership.take_over(desired.take_aside())
        self._replace(found.config, ready, lambda: desired.accept(stored), was_loaded=False)
        self._use_sources(found)
        await parts.past.reloaded(differences.of_servers(), at, StoreChanged.name)

    def _use_sources(self, found: Relisted) -> None:
        parts, config = self._parts, found.config
        parts.discovery.configured(config, found.lists, config.daemon.state, shadow=parts.is_shadow(config))
        for source, errors in found.refused.items():
            parts.discovery.refused(source, errors)

    async def _reload(self, request: ReloadRequest) -> ReloadOutcome:
        parts = self._parts
        read, stored, ready = await self._read(request, self._last_reading)
        config = read.config
        newly_locked = parts.take_lock(config)
        try:
            parts.lock_state(config)
            await parts.api.rebind(config.daemon.listen, config.daemon.control)
        except (HealthdError, OSError):
            if newly_locked:
                parts.lock.release()
            parts.lock_state(parts.config)
            raise
        # An operator who reloads may have edited the table too, and a new service must keep the servers that it already
        # has in the table.
        await parts.reconciler.read_back(READ_BACK_S)
        await parts.start_programs(config, ready.targets)
        await parts.holding.move(config.daemon.state)
        await parts.operators.move(None if parts.is_shadow(config) else overrides_file(config))
        await parts.maintenance.move(config.daemon.maintenance_dir)
        await parts.pair.prepare(config)
        # Nothing below can fail or wait: the new configuration replaces the old one in a single step.
        found, at = Differences(parts.config, config), time.time()
        if stored is not None or not config.fleet.store:
            parts.reconciler.ownership.take_over(parts.desired.take_aside())
        outcome = self._switch(config, ready, found)
        self._whole = self._last_reading.whole
        shadow = parts.is_shadow(config)
        parts.desired.configured(config.fleet, stored, config.daemon.state, shadow=shadow)
        parts.fleet_orders.configured(config, shadow=shadow)
        self._use_sources(read)
        await parts.past.reloaded(found.of_servers(), at)
        return outcome

    def _switch(self, config: Config, ready: "_Ready", found: Differences) -> ReloadOutcome:
        parts = self._parts
        mode = Mode.SHADOW if parts.is_shadow(config) else Mode.ENFORCE
        event = counted(found, str(parts.settings.config_file), was=parts.facts.mode, mode=mode)
        restarts = list(restart_needed(event.file, self._started, config))
        parts.reconciler.set_resync(config.daemon.resync)
        parts.reconciler.shadow = mode is Mode.SHADOW
        if mode is Mode.SHADOW:
            parts.lock.release()
        self._replace(config, ready, lambda: parts.bus.emit(event))
        for each in (*restarts, *remarks(event.file, config)):
            parts.bus.emit(each)
        return _outcome(event, restarts)

    def _replace(self, config: Config, ready: "_Ready", tell: Callable[[], None], *, was_loaded: bool = True) -> None:
        """Replace the configuration in force.

        tell: tells of it.
        was_loaded: whether its files have been read.
        """
        parts, old = self._parts, self._parts.config
        ready.trust_certificates()
        ready.use_secrets()
        for name in {each.name for each in old.services} - {each.name for each in config.services}:
            parts.metrics.forget_service(name)
        parts.adopt(config, was_loaded=was_loaded)
        parts.prober.max_in_flight = probes_within_limit(config.daemon.max_probes)
        actual = parts.reconciler.actual
        marked = parts.paths.plan(config, actual, runs=parts.runs_paths(config))
        probes = parts.decisions.configure(config, actual, {}, marked)
        parts.past.configured(parts.decisions.services, config.daemon.history)
        parts.brakes.configured(config.brake)
        parts.agreement.adopt(config)
        roles = parts.pair.configured(config)
        added, dropped = parts.paths.configured(probes, ready.targets)
        parts.prober.update(*parts.suspension.configured(config.pair, added, dropped, ready.targets))
        tell()
        parts.pair.tell(roles)
        parts.keeper.want(parts.enforced(config), shadow=parts.is_shadow(config))
        parts.replans.now()
        parts.saver.changed()
        spare_long_lived()

    def _make_ready(self, config: Config) -> "_Ready":
        """Prepare whatever a new configuration needs that can fail. This runs on a thread. Raises `ConfigError`."""
        known = {id(service) for service in self._parts.config.services}
        made = self._parts.suspension.known(config.pair)
        new = [service for service in config.services if id(service) not in known or not made]
        ready = targets(new, made)
        return _Ready(ready, read_certificates(config.services), read_secrets(config.services))

    def _reject(self, error: Exception) -> ReloadOutcome:
        if isinstance(error, HungError):
            # The hung call continues on its thread, and may still change the object that it was given.
            self._last_reading = LastReading()
        parts, file = self._parts, str(self._parts.settings.config_file)
        errors = _errors(error, file)
        parts.facts.config_error = "; ".join(errors)
        parts.bus.emit(ConfigRejected(file=file, errors=errors))
        return ReloadOutcome(file=file, errors=errors)


def _errors(error: Exception, file: str) -> tuple[str, ...]:
    return shortened(error.errors if isinstance(error, ConfigError) else (str(error),), file)


def _outcome(event: ConfigReloaded, restarts: Iterable[ConfigRestartNeeded]) -> ReloadOutcome:
    needed = [RestartNeeded(key=each.key, configured=each.configured, in_force=each.in_force) for each in restarts]
    return ReloadOutcome(**msgspec.structs.asdict(event), restart_needed=tuple(needed))
