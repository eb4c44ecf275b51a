"""An operator's hold: what it covers, who gave it, and that it outlives the daemon."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from lvs_healthd.api.peers import Peer
from lvs_healthd.daemon.holding import NOBODY, Holding
from lvs_healthd.events.kinds import Event, StateError, TableHeld, TableReleased
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.state.holds import NOT_UNDERSTOOD
from lvs_healthd.view.hold_values import HoldRefusedError
from lvs_healthd.view.naming import UnknownNameError
from tests.ipvs.tables import DNS, MARK, WEB
from tests.reconciling import Bench

ROOT = Peer(1, 0, frozenset())
EVE = Peer(2, 1000, frozenset())


class Held:
    """A `Holding` over a reconciler in memory, with its state in a folder."""

    def __init__(self, folder: Path) -> None:
        self.now = 5000.0
        self.events: list[Event] = []
        self.reconciler = Bench().reconciler
        self.state = str(folder / "state.json")
        self.names: Mapping[ServiceKey, str] = {WEB: "web", DNS: "dns"}
        self.holding = Holding(self.reconciler, self.events.append, resolve=self._resolve, wall=lambda: self.now)

    def _resolve(self, which: str) -> Mapping[ServiceKey, str]:
        found = {key: name for key, name in self.names.items() if which in (name, "both")}
        if not found:
            raise UnknownNameError(which)
        return found

    def held(self) -> set[ServiceKey]:
        return {key for key in (WEB, DNS, MARK) if self.reconciler.gate.is_held(key)}


@pytest.fixture
async def held(tmp_path: Path) -> Held:
    held = Held(tmp_path)
    await held.holding.restore(held.state)
    return held


async def test_one_service_and_the_whole_table_are_held_and_released(held: Held) -> None:
    assert (await held.holding.hold("web", "why", EVE)).held == ("web",)
    assert held.held() == {WEB}
    held.now += 60.0
    assert (await held.holding.hold("", "", ROOT)).held == ("web", "")
    assert held.held() == {WEB, DNS, MARK}
    held.now += 60.0
    assert (await held.holding.release("web", ROOT)).held == ("",)
    assert held.held() == {WEB, DNS, MARK}
    assert (await held.holding.release("", ROOT)).held == ()
    assert held.held() == set()
    assert held.events == [
        TableHeld(service="web", uid=1000, reason="why"),
        TableHeld(service="", uid=0, reason=""),
        TableReleased(service="web", uid=0, after_s=120.0),
        TableReleased(service="", uid=0, after_s=60.0),
    ]


async def test_release_without_a_name_ends_every_hold(held: Held) -> None:
    await held.holding.hold("both", "", ROOT)
    assert held.held() == {WEB, DNS}
    assert (await held.holding.release("", ROOT)).held == ()
    assert held.held() == set()


async def test_hold_outlives_the_daemon_with_who_why_and_since(held: Held, tmp_path: Path) -> None:
    await held.holding.hold("web", "why", EVE)
    again = Held(tmp_path)
    again.now += 1000.0
    await again.holding.restore(again.state)
    assert again.held() == {WEB}
    assert again.holding.holds == held.holding.holds
    assert again.events == [TableHeld(service="web", uid=1000, reason="why")]
    await again.holding.release("", ROOT)
    once_more = Held(tmp_path)
    await once_more.holding.restore(once_more.state)
    assert once_more.held() == set()


async def test_service_that_has_left_the_configuration_is_still_held_and_can_be_released(held: Held) -> None:
    await held.holding.hold("web", "", ROOT)
    held.names = {DNS: "dns"}
    assert held.held() == {WEB}
    with pytest.raises(UnknownNameError):
        await held.holding.release("nobody", ROOT)
    await held.holding.release("web", ROOT)
    assert held.held() == set()


async def test_file_that_is_not_understood_holds_everything_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "holds.json").write_text("{")
    held = Held(tmp_path)
    await held.holding.restore(held.state)
    assert held.held() == {WEB, DNS, MARK}
    error, told = held.events
    assert isinstance(error, StateError)
    assert told == TableHeld(service="", uid=NOBODY, reason=NOT_UNDERSTOOD)
    await held.holding.release("", ROOT)
    assert not (tmp_path / "holds.json").exists()


async def test_what_is_not_held_cannot_be_released(held: Held) -> None:
    with pytest.raises(HoldRefusedError, match="nothing is held"):
        await held.holding.release("", ROOT)
    await held.holding.hold("", "", ROOT)
    with pytest.raises(HoldRefusedError, match="everything is held: `lvs-healthd release` ends that"):
        await held.holding.release("web", ROOT)


async def test_hold_that_cannot_be_kept_is_in_force_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    held = Held(tmp_path / "file")
    await held.holding.restore(held.state)
    outcome = await held.holding.hold("web", "", ROOT)
    assert "File exists" in outcome.not_kept
    assert held.held() == {WEB}


async def test_holds_move_with_the_state_file(held: Held, tmp_path: Path) -> None:
    await held.holding.hold("web", "", ROOT)
    await held.holding.move(str(tmp_path / "elsewhere" / "state.json"))
    again = Held(tmp_path / "elsewhere")
    await again.holding.restore(again.state)
    assert again.held() == {WEB}


async def test_daemon_in_shadow_mode_is_not_held_because_it_writes_nothing(held: Held, tmp_path: Path) -> None:
    held.reconciler.shadow = True
    for asking in (held.holding.hold("web", "", ROOT), held.holding.release("", ROOT)):
        with pytest.raises(HoldRefusedError, match="shadow"):
            await asking
    assert not (tmp_path / "holds.json").exists()
