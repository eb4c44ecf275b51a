"""Reloads: everything that can fail is done before anything is changed, so a bad file changes nothing."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import load
from lvs_healthd.config.model import AnyCheck, Config, Mode
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.daemon.changes import changes, restart_needed
from lvs_healthd.daemon.parts import Parts
from lvs_healthd.decide.held import ProbeState
from lvs_healthd.events.kinds import ConfigRejected
from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.targets import read_certificates, targets
from lvs_healthd.probing.descriptors import probes_within_limit
from lvs_healthd.probing.scheduler import Probe
from lvs_healthd.runtime.exceptions import HealthdError
from lvs_healthd.runtime.garbage import spare_long_lived

MOST_ERRORS = 100
"""Errors of a rejected configuration in one line of the log; journald splits a line beyond 48 KiB."""

READ_BACK_S = 2.0
"""How long a reload waits for the kernel's table; without an answer it goes by the last reading."""


class _Ready(NamedTuple):
    """What was made ready for a configuration while another is in force."""

    targets: Mapping[AnyCheck, Target]
    """Its new probes."""
    trust_certificates: Callable[[], None]
    """Has every https check trust its `ca` as it is now."""


class Reloads:
    """Puts changed configurations into force. `last_reading` is what the configuration in force was read from."""

    def __init__(self, parts: Parts, last_reading: LastReading, asked: asyncio.Event) -> None:
        self._parts = parts
        self._last_reading = last_reading
        self._asked = asked
        self._started = parts.config
        """The configuration at the start, whose restart-only keys stay in force."""

    async def run(self) -> None:
        """Reload whenever that is asked for, until cancelled."""
        notifier, view = self._parts.notifier, self._parts.view
        while True:
            await self._asked.wait()
            self._asked.clear()
            notifier.reloading()
            try:
                await self._reload()
            except (HealthdError, OSError) as error:
                self._reject(error)
            notifier.ready(view.summary())

    async def _reload(self) -> None:
        parts = self._parts
        config = await asyncio.to_thread(load, parts.settings.config_file, self._last_reading)
        ready = await asyncio.to_thread(self._make_ready, config)
        newly_locked = parts.take_lock(config)
        try:
            await parts.api.rebind(config.daemon.listen, config.daemon.control)
        except (HealthdError, OSError):
            if newly_locked:
                parts.lock.release()
            raise
        # Whoever reloads may have edited the table too, and what a new service finds there goes on serving.
        await parts.reconciler.read_back(READ_BACK_S)
        # From here on nothing can fail and nothing waits: the old configuration ends and the new one is in force.
        self._switch(config, ready)

    def _switch(self, config: Config, ready: "_Ready") -> None:
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
        for each in restart_needed(event.file, self._started, config):
            parts.bus.emit(each)
        parts.keeper.want(config, shadow=is_shadow)
        parts.replans.now()
        parts.saver.changed()
        spare_long_lived()

    def _make_ready(self, config: Config) -> "_Ready":
        """Do what can fail before a configuration is in force, on a thread. Raises `ConfigError`."""
        known = {id(service) for service in self._parts.config.services}
        new = [service for service in config.services if id(service) not in known]
        return _Ready(targets(new, self._parts.decisions.probes), read_certificates(config.services))

    def _reject(self, error: Exception) -> None:
        parts, file = self._parts, str(self._parts.settings.config_file)
        errors = error.errors if isinstance(error, ConfigError) else (str(error),)
        if len(errors) > MOST_ERRORS:
            rest = f"and {len(errors) - MOST_ERRORS} more: lvs-healthd validate {file}"
            errors = (*errors[:MOST_ERRORS], rest)
        parts.facts.config_error = "; ".join(errors)
        parts.bus.emit(ConfigRejected(file=file, errors=tuple(errors)))


def joined(probes: Iterable[ProbeState], ready: Mapping[AnyCheck, Target]) -> list[Probe[AnyCheck]]:
    """Join each probe, to which the outcomes go, with its target."""
    return [Probe(each.check, ready[each.check], each.check.interval, each) for each in probes]
