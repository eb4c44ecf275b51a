"""The keeper with settings in memory. tests/kernel/test_director.py tests it with real settings."""

from collections.abc import Callable

import pytest

from lvs_healthd.config.model import Config
from lvs_healthd.director.aspect import Setting, SettingError
from lvs_healthd.director.keeper import CALM_S, REPEAT_S, Keeper
from lvs_healthd.events.kinds import Event, SettingChanged, SettingDrift, SettingFailed
from lvs_healthd.runtime.netns import Netns


class Dial:
    """An aspect with one setting in memory, whose wanted value is 1. Reading or setting it can be made to fail."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.value = "0"
        self.unreadable = ""
        self.refusal = ""
        self.writes = 0
        self.is_vital = False
        self.happening: Callable[[], None] = lambda: None
        """What happens, once, while the dial is read or set."""

    def want(self, config: Config) -> None:
        pass

    def _happen(self) -> None:
        happening, self.happening = self.happening, lambda: None
        happening()

    async def differing(self) -> list[Setting]:
        self._happen()
        if self.unreadable:
            raise SettingError(self.unreadable)
        return [] if self.value == "1" else [Setting(self.name, self.value, "1", self.is_vital)]

    async def mend(self, setting: Setting) -> None:
        self._happen()
        if self.refusal:
            raise SettingError(self.refusal)
        self.value = setting.wanted
        self.writes += 1


class Bench:
    def __init__(self, *, shadow: bool = False) -> None:
        self.now = 0.0
        self.first, self.second = Dial("first"), Dial("second")
        self.events: list[Event] = []
        self.keeper = Keeper((self.first, self.second), Netns(), self.events.append, clock=lambda: self.now)
        self.keeper.want(Config(), shadow=shadow)

    async def look(self) -> list[str]:
        """Run one turn, and return its events in short form."""
        self.events.clear()
        await self.keeper.turn()
        return [words for event in self.events if (words := in_short(event))]


def in_short(event: Event) -> str:
    match event:
        case SettingChanged(setting=name, found=found, value=value, reason=reason, shadow=shadow):
            return f"{'would set' if shadow else 'set'} {name} {found} -> {value}: {reason}"
        case SettingDrift(setting=name, found=found, expected=expected):
            return f"drift {name} {found}, expected {expected}"
        case SettingFailed(error=error):
            return f"error {error}"
        case _:
            return ""  # ignore advice, which depends on the machine


async def test_sets_what_differs_and_then_nothing() -> None:
    bench = Bench()
    assert await bench.look() == ["set first 0 -> 1: configured", "set second 0 -> 1: configured"]
    assert await bench.look() == []
    assert (bench.first.writes, bench.second.writes) == (1, 1)


async def test_somebody_else_s_change_is_reported_and_set_back() -> None:
    bench = Bench()
    await bench.look()
    bench.second.value = "7"
    assert await bench.look() == [
        "drift second 7, expected 1",
        "set second 7 -> 1: repair: somebody else changed it",
    ]


async def test_another_configuration_is_no_drift() -> None:
    bench = Bench()
    await bench.look()
    bench.first.value = "7"
    bench.keeper.want(Config(), shadow=False)
    assert await bench.look() == ["set first 7 -> 1: configured"]


async def test_a_setting_that_cannot_be_set_delays_nothing_and_is_reported_once_a_minute() -> None:
    bench = Bench()
    bench.first.refusal = "first: no"
    assert await bench.look() == ["set second 0 -> 1: configured", "error first: no"]
    assert bench.keeper.last_error == "first: no"
    bench.now = REPEAT_S - 1
    assert await bench.look() == []
    bench.now = REPEAT_S
    assert await bench.look() == ["error first: no"]
    bench.first.refusal = ""
    assert await bench.look() == ["set first 0 -> 1: configured"]  # not taken for somebody else's change
    assert bench.keeper.last_error == ""


async def test_a_setting_that_cannot_be_read_delays_nothing() -> None:
    bench = Bench()
    bench.first.unreadable = "first: cannot tell"
    assert await bench.look() == ["set second 0 -> 1: configured", "error first: cannot tell"]


async def test_shadow_tells_each_difference_once_and_sets_nothing() -> None:
    bench = Bench(shadow=True)
    assert await bench.look() == ["would set first 0 -> 1: configured", "would set second 0 -> 1: configured"]
    assert await bench.look() == []
    bench.first.value = "7"
    assert await bench.look() == ["would set first 7 -> 1: configured"]
    assert bench.first.writes == 0
    bench.keeper.want(Config(), shadow=False)
    assert await bench.look() == ["set first 7 -> 1: configured", "set second 0 -> 1: configured"]


@pytest.mark.parametrize("shadow", [True, False])
@pytest.mark.parametrize("when", ["read", "set"])
async def test_a_reload_stops_what_is_yet_to_be_set(when: str, *, shadow: bool) -> None:
    bench = Bench()

    def reload() -> None:
        bench.keeper.want(Config(), shadow=shadow)

    if when == "read":
        bench.second.happening = reload
    else:
        bench.second.refusal = "second: no"
        bench.first.happening = lambda: setattr(bench.first, "happening", reload)
    assert await bench.look() == ["set first 0 -> 1: configured"]
    assert bench.second.value == "0"
    assert bench.keeper.last_error == ""
    bench.second.refusal = ""
    assert await bench.look() == [f"{'would set' if shadow else 'set'} second 0 -> 1: configured"]


class Dials:
    """An aspect with several dials, which are read together and set one after the other."""

    def __init__(self, *dials: Dial) -> None:
        self._dials = {dial.name: dial for dial in dials}

    def want(self, config: Config) -> None:
        pass

    async def differing(self) -> list[Setting]:
        return [setting for dial in self._dials.values() for setting in await dial.differing()]

    async def mend(self, setting: Setting) -> None:
        await self._dials[setting.name].mend(setting)


@pytest.mark.parametrize("refusal", ["", "first: no"])
async def test_a_reload_stops_what_is_yet_to_be_set_of_the_same_aspect(refusal: str) -> None:
    first, second = Dial("first"), Dial("second")
    events: list[Event] = []
    keeper = Keeper((Dials(first, second),), Netns(), events.append, clock=lambda: 0.0)
    keeper.want(Config(), shadow=False)
    first.refusal = refusal
    first.happening = lambda: setattr(first, "happening", lambda: keeper.want(Config(), shadow=True))
    await keeper.turn()
    assert (first.writes, second.writes) == (0 if refusal else 1, 0)
    assert not any(isinstance(event, SettingFailed) for event in events)


async def test_what_somebody_changes_again_and_again_is_set_ever_more_seldom() -> None:
    bench = Bench()
    await bench.look()
    bench.second.writes = 0
    told: list[str] = []
    for _ in range(360):  # an hour
        bench.now += Config().daemon.resync
        bench.second.value = "7"
        told += await bench.look()
    assert 45 <= bench.second.writes <= 63  # about once a minute
    (error,) = {words for words in told if words.startswith("error second: somebody else has changed it 3 times")}
    assert "at last to 7: find out who it is" in error
    assert sum(words.startswith("error") for words in told) <= 61
    assert bench.first.writes == 1


async def test_what_a_service_does_not_work_without_is_set_at_once_however_often_it_is_changed() -> None:
    bench = Bench()
    bench.second.is_vital = True
    await bench.look()
    told: list[str] = []
    for _ in range(20):
        bench.now += Config().daemon.resync
        bench.second.value = "7"
        told += await bench.look()
        assert bench.second.value == "1"
    assert "error second: somebody else has changed it 3 times in a row, at last to 7: find out who it is" in told
    assert bench.keeper.last_error
    assert await bench.look() == []
    assert bench.keeper.last_error == ""


async def test_changes_far_apart_are_set_back_at_once() -> None:
    bench = Bench()
    await bench.look()
    for _ in range(10):
        bench.now += CALM_S + 1
        bench.second.value = "7"
        await bench.look()
        assert bench.second.value == "1"
