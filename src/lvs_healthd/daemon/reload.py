"""Reloads the configuration. Everything that can fail is done first, so a bad file changes nothing."""

import asyncio
from collections.abc import Iterable, Mapping

import msgspec

from lvs_healthd.api import ApiError
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import load
from lvs_healthd.config.model import AnyCheck, Config
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.daemon.changes import changes, restart_needed
from lvs_healthd.daemon.parts import Parts
from lvs_healthd.daemon.requests import ReloadRequests
from lvs_healthd.decide.held import ProbeState
from lvs_healthd.events.kinds import ConfigRejected, ConfigReloaded, ConfigRestartNeeded
from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.targets import read_certificates, targets
from lvs_healthd.probing.descriptors import probes_within_limit
from lvs_healthd.probing.scheduler import Probe
from lvs_healthd.runtime.exceptions import HealthdError
from lvs_healthd.runtime.garbage import spare_long_lived
from lvs_healthd.view.reload_values import ReloadOutcome, RestartNeeded

MOST_ERRORS = 100
"""How many errors of a rejected configuration go into its log line. journald splits lines longer than 48 KiB."""

READ_BACK_S = 2.0
"""How long a reload waits for the kernel's table. Without an answer it uses the last reading."""


class Reloads:
    """Puts changed configurations into force.

    last_reading: what the configuration in force was read from.
    requests: what somebody has asked for.
    """

    def __init__(self, parts: Parts, last_reading: LastReading, requests: ReloadRequests) -> None:
        self._parts = parts
        self._last_reading = last_reading
        self._requests = requests
        self._started = parts.config
        """The configuration with which the daemon started. Its restart-only keys stay in force."""

    async def run(self) -> None:
        """Reload whenever somebody asks for it, until cancelled."""
        notifier, view = self._parts.notifier, self._parts.view
        while True:
            waiting = await self._requests.taken()
            notifier.reloading()
            try:
                outcome = await self._reload()
            except (HealthdError, OSError) as error:
                outcome = self._reject(error)
            for each in waiting:
                if not each.done():  # whoever asked may have given up
                    each.set_result(outcome)
            notifier.ready(view.summary())

    async def _reload(self) -> ReloadOutcome:
        parts = self._parts
        config = await asyncio.to_thread(load, parts.settings.config_file, self._last_reading)
        ready = await asyncio.to_thread(self._make_ready, config)
        newly_locked = parts.take_lock(config)
        try:
            await parts.api.rebind(config.daemon.listen, config.daemon.control)
        except ApiError:
            if newly_locked:
                parts.lock.release()
            raise
        # Whoever reloads may have edited the table too, and a new service must keep the servers it finds there.
        await parts.reconciler.read_back(READ_BACK_S)
        # Nothing below can fail or wait: the new configuration replaces the old one in a single step.
        return self._switch(config, ready)

    def _switch(self, config: Config, ready: Mapping[AnyCheck, Target]) -> ReloadOutcome:
        parts = self._parts
        old, is_shadow = parts.config, parts.is_shadow(config)
        event = changes(str(parts.settings.config_file), old, config)
        for name in {each.name for each in old.services} - {each.name for each in config.services}:
            parts.metrics.forget_service(name)
        parts.adopt(config)
        parts.prober.max_in_flight = probes_within_limit(config.daemon.max_probes)
        parts.reconciler.set_resync(config.daemon.resync)
        parts.reconciler.shadow = is_shadow
        if is_shadow:
            parts.lock.release()
        probes = parts.decisions.configure(config, parts.reconciler.actual, {})
        parts.prober.update(joined(probes.added, ready), probes.dropped)
        parts.bus.emit(event)
        restarts = list(restart_needed(event.file, self._started, config))
        for each in restarts:
            parts.bus.emit(each)
        parts.keeper.want(config, shadow=is_shadow)
        parts.replans.now()
        parts.saver.changed()
        spare_long_lived()
        return _outcome(event, restarts)

    def _make_ready(self, config: Config) -> dict[AnyCheck, Target]:
        """Prepare the new probes of `config`. It may block, so it runs on a thread. Raises `ConfigError`."""
        known = {id(service) for service in self._parts.config.services}
        new = [service for service in config.services if id(service) not in known]
        ready = targets(new, self._parts.decisions.probes)
        read_certificates(config.services)
        return ready

    def _reject(self, error: Exception) -> ReloadOutcome:
        parts, file = self._parts, str(self._parts.settings.config_file)
        errors = error.errors if isinstance(error, ConfigError) else (str(error),)
        if len(errors) > MOST_ERRORS:
            rest = f"and {len(errors) - MOST_ERRORS} more: lvs-healthd validate {file}"
            errors = (*errors[:MOST_ERRORS], rest)
        parts.facts.config_error = "; ".join(errors)
        parts.bus.emit(ConfigRejected(file=file, errors=tuple(errors)))
        return ReloadOutcome(file=file, errors=tuple(errors))


def _outcome(event: ConfigReloaded, restarts: Iterable[ConfigRestartNeeded]) -> ReloadOutcome:
    needed = [RestartNeeded(key=each.key, configured=each.configured, in_force=each.in_force) for each in restarts]
    return ReloadOutcome(**msgspec.structs.asdict(event), restart_needed=tuple(needed))


def joined(probes: Iterable[ProbeState], ready: Mapping[AnyCheck, Target]) -> list[Probe[AnyCheck]]:
    """Combine the state of each probe, which receives its outcomes, with the target it probes."""
    return [Probe(each.check, ready[each.check], each.check.interval, each) for each in probes]
