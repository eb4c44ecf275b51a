"""Keeps the settings of the director as configured, the way the reconciler keeps the table: read, compare, write.

What is as wanted is not written. What somebody else has changed is told and set back at the next look; what cannot be
set is told, and tried again.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence

from lvs_healthd.config.model import Config
from lvs_healthd.director.advice import READ, Advice, advise
from lvs_healthd.director.aspect import Aspect, Setting, SettingError
from lvs_healthd.director.sysctls import read
from lvs_healthd.events.kinds import Event, SettingAdvice, SettingChanged, SettingDrift, SettingFailed
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.runtime.patience import TIMES, hold_s

RETRY_S = 5.0
"""After a failure: what an operator mends takes effect while they still watch."""
REPEAT_S = 60.0
"""An unchanged error is told again this often."""


CALM_S = 300.0
"""Changes further apart do not follow each other."""


class _Undone:
    """How often in succession a setting was changed under our hands."""

    __slots__ = ("held_until", "last", "times")

    def __init__(self) -> None:
        self.times = 0
        self.last = 0.0
        self.held_until = -math.inf


class Keeper:
    """Keeps the settings of `aspects`, in this order; without any it does nothing. `clock` is monotonic, seconds."""

    def __init__(
        self,
        aspects: Sequence[Aspect],
        netns: Netns,
        emit: Callable[[Event], None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.last_error = ""
        """Why a setting is not as wanted; empty when all are."""
        self.shadow = False
        """Whether nothing is written, and each difference told once."""
        self._aspects = aspects
        self._netns = netns
        self._emit = emit
        self._clock = clock
        self._config = Config()
        self._wake = asyncio.Event()
        self._seen: set[Aspect] = set()
        """What was looked at since the last `want`: a difference later is somebody else's doing,"""
        self._unmended: set[str] = set()
        """unless the setting is one of these, that could not be set."""
        self._undone: dict[str, _Undone] = {}
        """Settings that were changed under our hands."""
        self._told: set[Setting] = set()
        """In shadow mode: differences told already."""
        self._errors: dict[str, float] = {}
        """When each error of the last look was told."""
        self._advice: set[Advice] = set()
        """What holds, and was told."""

    def want(self, config: Config, *, shadow: bool) -> None:
        """Take a configuration. Returns at once; `run` does the work."""
        self.shadow = shadow
        self._config = config
        for aspect in self._aspects:
            aspect.want(config)
        self._seen.clear()
        self._unmended.clear()
        self._undone.clear()
        self._wake.set()

    async def run(self) -> None:
        """Keep the settings until cancelled."""
        if not self._aspects:
            await asyncio.Event().wait()
        while True:
            pause_s = min(RETRY_S, self._config.daemon.resync) if self.last_error else self._config.daemon.resync
            try:
                async with asyncio.timeout(pause_s):
                    await self._wake.wait()
            except TimeoutError:
                pass
            await self.turn()

    async def turn(self) -> None:
        """Look at everything once. One step of `run`."""
        self._wake.clear()
        config = self._config
        failures: list[str] = []
        for aspect in self._aspects:
            try:
                differing = await aspect.differing()
            except SettingError as error:
                failures.append(str(error))
                continue
            if self.shadow:
                self._watch(differing)
                continue
            self._told.clear()
            for setting in differing:
                try:
                    await self._apply(setting, aspect)
                except SettingError as error:
                    self._unmended.add(setting.name)
                    failures.append(str(error))
            if config is self._config:
                self._seen.add(aspect)
        self._fail(failures)
        if self._aspects:
            await self._advise()

    async def _apply(self, setting: Setting, aspect: Aspect) -> None:
        """Set one setting, and tell of it. Raises `SettingError`."""
        is_drift = aspect in self._seen and setting.name not in self._unmended
        if is_drift:
            self._emit(SettingDrift(setting=setting.name, found=setting.found, expected=setting.wanted))
            self._note_undone(setting.name)
        undone = self._undone.get(setting.name)
        if undone is not None and self._clock() < undone.held_until:
            raise SettingError(
                f"{setting.name}: somebody else has changed it {undone.times} times in a row, at last to "
                f"{setting.found}: find out who it is; meanwhile it is set again ever more seldom"
            )
        await aspect.mend(setting)
        self._unmended.discard(setting.name)
        self._emit_changed(setting, "repair: somebody else changed it" if is_drift else "configured")

    def _note_undone(self, name: str) -> None:
        """Count how often in a row, and hold the setting back from the third time on."""
        now = self._clock()
        undone = self._undone.get(name)
        if undone is None or now - undone.last > CALM_S:
            undone = self._undone[name] = _Undone()
        undone.times += 1
        undone.last = now
        if undone.times >= TIMES:
            undone.held_until = now + hold_s(undone.times, self._config.daemon.resync)

    def _watch(self, differing: list[Setting]) -> None:
        """Tell what would be set, each difference once."""
        for setting in differing:
            if setting not in self._told:
                self._told.add(setting)
                self._emit_changed(setting, "configured")

    def _emit_changed(self, setting: Setting, reason: str) -> None:
        name, found, wanted = setting
        self._emit(SettingChanged(setting=name, found=found, value=wanted, reason=reason, shadow=self.shadow))

    def _fail(self, failures: list[str]) -> None:
        now = self._clock()
        told = self._errors
        self._errors = {}
        for error in failures:
            at = told.get(error, -math.inf)
            if now - at >= REPEAT_S:
                at = now
                self._emit(SettingFailed(error=error, retry_s=RETRY_S))
            self._errors[error] = at
        self.last_error = failures[0] if failures else ""

    async def _advise(self) -> None:
        """Say which sysctls make removing servers work otherwise than one might think, each once while it holds."""
        try:
            values = await read(self._netns, READ)
        except SettingError:
            return  # no advice, then
        found = set(advise(self._config, values))
        for each in sorted(found - self._advice, key=lambda one: one.name):
            self._emit(SettingAdvice(setting=each.name, value=each.value, service=each.service, advice=each.text))
        self._advice = found
