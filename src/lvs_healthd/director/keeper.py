"""Keeps the director's settings as configured, in the same way as the reconciler keeps the table.

The keeper reads the settings, compares them with the configuration, and writes only those that differ. When somebody
else has changed a setting, the keeper reports the drift and sets it back. When a setting cannot be set, the keeper
reports the error and tries again later.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Sequence

from lvs_healthd.config.model import Config
from lvs_healthd.director.advice import READ, Advice, advise
from lvs_healthd.director.aspect import Aspect, Setting, SettingError
from lvs_healthd.director.sysctls import read
from lvs_healthd.events.kinds import Event, SettingAdvice, SettingChanged, SettingDrift, SettingFailed
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.runtime.patience import TIMES, hold_s

RETRY_S = 5.0
"""How soon to try again after a failure: soon enough that an operator sees the effect of a fix."""
REPEAT_S = 60.0
"""How often an error that persists is reported again."""

CALM_S = 300.0
"""If somebody else's changes to a setting are further apart than this, they do not count as changes in succession."""


class _Undone:
    """A setting that somebody else keeps changing back.

    times: how often somebody else has changed it in succession.
    last: when a change was last seen, seconds on the keeper's clock.
    held_until: when the keeper may write the setting again, seconds on the same clock.
    """

    __slots__ = ("held_until", "last", "times")

    def __init__(self) -> None:
        self.times = 0
        self.last = 0.0
        self.held_until = -math.inf


class Keeper:
    """Keeps the settings of several aspects as configured.

    aspects: the kinds of settings to keep, in the order in which to apply them. Without any, the keeper does nothing.
    netns: network namespace whose sysctls are checked for advice.
    emit: takes the events.
    clock: monotonic time, seconds.
    more_advice: returns the advice that others have.
    """

    def __init__(
        self,
        aspects: Sequence[Aspect],
        netns: Netns,
        emit: Callable[[Event], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        more_advice: Callable[[], Iterable[Advice]] = tuple,
    ) -> None:
        self.last_error = ""
        """Why a setting is not as wanted; empty when all settings are."""
        self.shadow = False
        """Whether the keeper only reports differences, each once, and writes nothing."""
        self._aspects = aspects
        self._netns = netns
        self._emit = emit
        self._clock = clock
        self._more_advice = more_advice
        self._config = Config()
        self._wants = 0
        """How often `want` was called."""
        self._wake = asyncio.Event()
        self._seen: set[Aspect] = set()
        """Aspects that were applied since the last call of `want`. If a setting of such an aspect differs later,
        somebody else has changed it."""
        self._unmended: set[str] = set()
        """Names of the settings that could not be set. A difference in such a setting is not taken for somebody else's
        change."""
        self._undone: dict[str, _Undone] = {}
        """The settings that somebody else changed, by name."""
        self._told: set[Setting] = set()
        """In shadow mode, the differences already reported."""
        self._errors: dict[str, float] = {}
        """The errors of the last turn, each with the time when it was last reported."""
        self._advice: set[Advice] = set()
        """The advice that still applies, and was already given."""

    @property
    def advice(self) -> tuple[Advice, ...]:
        """The advice that applies now, in the order of its sysctls."""
        return tuple(sorted(self._advice, key=lambda one: one.name))

    def want(self, config: Config, *, shadow: bool) -> None:
        """Take a new configuration. This returns at once; `run` applies it.

        config: the new configuration.
        shadow: whether to report only what would be set, and to write nothing.
        """
        self.shadow = shadow
        self._config = config
        self._wants += 1
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
        """Check every setting once, and set those that differ. `run` repeats this.

        When a new configuration arrives during a turn, the turn ends before its next write. Its findings are not
        reported, because they may be about settings that are not wanted any more.
        """
        self._wake.clear()
        wants = self._wants
        failures: list[str] = []
        for aspect in self._aspects:
            failures += await self._look_after(aspect)
            if wants != self._wants:
                return
        self._fail(failures)
        if self._aspects:
            await self._advise()

    async def _look_after(self, aspect: Aspect) -> list[str]:
        """Check the settings of one aspect, and set those that differ. Returns what went wrong, as texts for people."""
        wants = self._wants
        try:
            differing = await aspect.differing()
        except SettingError as error:
            return [str(error)]
        if wants != self._wants:
            return []
        if self.shadow:
            self._watch(differing)
            return []
        self._told.clear()
        failures: list[str] = []
        for setting in differing:
            try:
                complaint = await self._apply(setting, aspect)
                is_set = True
            except SettingError as error:
                complaint = str(error)
                is_set = False
            if wants != self._wants:
                return []
            if complaint:
                failures.append(complaint)
            if not is_set:
                self._unmended.add(setting.name)
        self._seen.add(aspect)
        return failures

    async def _apply(self, setting: Setting, aspect: Aspect) -> str:
        """Set one setting, and emit the events for it.

        Returns a complaint when somebody else keeps changing the setting, or "". Raises `SettingError`.
        """
        is_drift = aspect in self._seen and setting.name not in self._unmended
        if is_drift:
            self._emit(SettingDrift(setting=setting.name, found=setting.found, expected=setting.wanted))
            self._note_undone(setting.name)
        undone = self._undone.get(setting.name)
        complaint = ""
        if undone is not None and self._clock() < undone.held_until:
            complaint = (
                f"{setting.name}: somebody else has changed it {undone.times} times in a row, at last to "
                f"{setting.found}: find out who it is"
            )
            if not setting.is_vital:
                raise SettingError(f"{complaint}; meanwhile it is set again less and less often")
        await aspect.mend(setting)
        self._unmended.discard(setting.name)
        self._emit_changed(setting, "repair: somebody else changed it" if is_drift else "configured", shadow=False)
        return complaint

    def _note_undone(self, name: str) -> None:
        """Count a change that somebody else made to a setting.

        After the third change in succession, and after each later one, the keeper waits before it sets the setting
        again. It does not wait if the setting is vital.
        """
        now = self._clock()
        undone = self._undone.get(name)
        if undone is None or now - undone.last > CALM_S:
            undone = self._undone[name] = _Undone()
        undone.times += 1
        undone.last = now
        if undone.times >= TIMES:
            undone.held_until = now + hold_s(undone.times, self._config.daemon.resync)

    def _watch(self, differing: list[Setting]) -> None:
        """Report what would be set if this were not shadow mode. Each difference is reported once."""
        for setting in differing:
            if setting not in self._told:
                self._told.add(setting)
                self._emit_changed(setting, "configured", shadow=True)

    def _emit_changed(self, setting: Setting, reason: str, *, shadow: bool) -> None:
        self._emit(
            SettingChanged(
                setting=setting.name, found=setting.found, value=setting.wanted, reason=reason, shadow=shadow
            )
        )

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
        """Warn about sysctls with surprising effects. A warning is not repeated while it applies."""
        try:
            values = await read(self._netns, READ)
        except SettingError:
            return  # advice is optional: the next turn tries again
        found = {*advise(self._config, values), *self._more_advice()}
        for each in sorted(found - self._advice, key=lambda one: one.name):
            self._emit(SettingAdvice(setting=each.name, value=each.value, service=each.service, advice=each.text))
        self._advice = found
