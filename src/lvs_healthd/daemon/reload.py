"""Reloads the configuration. Everything that can fail is done first, so a bad file changes nothing."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import load
from lvs_healthd.config.model import AnyCheck, Config, Mode
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.daemon.changes import changes, remarks, restart_needed, shortened
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
from lvs_healthd.runtime.threads import HungError, in_thread
from lvs_healthd.view.reload_values import ReloadOutcome, RestartNeeded

READ_BACK_S = 2.0
"""How long a reload waits for the kernel's table. Without an answer it uses the last reading."""


class _Ready(NamedTuple):
    """What was made ready for a configuration while another is in force."""

    targets: Mapping[AnyCheck, Target]
    """Its new probes."""
    trust_certificates: Callable[[], None]
    """Has every https check trust its `ca` as it is now."""


READ_S = 20.0
"""How long files may take to be read. Fifty thousand servers take 2 s; a network file system may be slow."""


async def read_config(file: Path, last_reading: LastReading) -> Config:
    """Read the configuration on a thread. Raises `ConfigError`, and `HungError` when a file system hangs."""
    return await in_thread(load, file, last_reading, timeout_s=READ_S, what=f"reading {file}")


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
        config = await read_config(parts.settings.config_file, self._last_reading)
        ready = await in_thread(
            self._make_ready, config, timeout_s=READ_S, what="reading the certificates that https checks trust"
        )
        newly_locked = parts.take_lock(config)
        try:
            parts.lock_state(config)
            await parts.api.rebind(config.daemon.listen, config.daemon.control)
        except (HealthdError, OSError):
            if newly_locked:
                parts.lock.release()
            parts.lock_state(parts.config)
            raise
        # Whoever reloads may have edited the table too, and a new service must keep the servers it finds there.
        await parts.reconciler.read_back(READ_BACK_S)
        # Nothing below can fail or wait: the new configuration replaces the old one in a single step.
        return self._switch(config, ready)

    def _switch(self, config: Config, ready: "_Ready") -> ReloadOutcome:
        parts = self._parts
        ready.trust_certificates()
        old, is_shadow = parts.config, parts.is_shadow(config)
        mode = Mode.SHADOW if is_shadow else Mode.ENFORCE
        event = changes(str(parts.settings.config_file), old, config, was=parts.facts.mode, mode=mode)
        for name in {each.name for each in old.services} - {each.name for each in config.services}:
            parts.metrics.forget_service(name)
        parts.adopt(config)
        parts.prober.max_in_flight = probes_within_limit(config.daemon.max_probes)
        parts.reconciler.set_resync(config.daemon.resync)
        parts.reconciler.shadow = is_shadow
        if is_shadow:
            parts.lock.release()
        probes = parts.decisions.configure(config, parts.reconciler.actual, {})
        parts.prober.update(joined(probes.added, ready.targets), probes.dropped)
        parts.bus.emit(event)
        restarts = list(restart_needed(event.file, self._started, config))
        for each in (*restarts, *remarks(event.file, config)):
            parts.bus.emit(each)
        parts.keeper.want(config, shadow=is_shadow)
        parts.replans.now()
        parts.saver.changed()
        spare_long_lived()
        return _outcome(event, restarts)

    def _make_ready(self, config: Config) -> "_Ready":
        """Do what can fail before a configuration is in force, on a thread. Raises `ConfigError`."""
        known = {id(service) for service in self._parts.config.services}
        new = [service for service in config.services if id(service) not in known]
        return _Ready(targets(new, self._parts.decisions.probes), read_certificates(config.services))

    def _reject(self, error: Exception) -> ReloadOutcome:
        if isinstance(error, HungError):
            # The call goes on, on its thread, and may change what it was given.
            self._last_reading = LastReading()
        parts, file = self._parts, str(self._parts.settings.config_file)
        errors = shortened(error.errors if isinstance(error, ConfigError) else (str(error),), file)
        parts.facts.config_error = "; ".join(errors)
        parts.bus.emit(ConfigRejected(file=file, errors=errors))
        return ReloadOutcome(file=file, errors=errors)


def _outcome(event: ConfigReloaded, restarts: Iterable[ConfigRestartNeeded]) -> ReloadOutcome:
    needed = [RestartNeeded(key=each.key, configured=each.configured, in_force=each.in_force) for each in restarts]
    return ReloadOutcome(**msgspec.structs.asdict(event), restart_needed=tuple(needed))


def joined(probes: Iterable[ProbeState], ready: Mapping[AnyCheck, Target]) -> list[Probe[AnyCheck]]:
    """Combine the state of each probe, which receives its outcomes, with the target it probes."""
    return [Probe(each.check, ready[each.check], each.check.interval, each) for each in probes]
