"""When the file of history is written: when something has happened, seldom if it is large, and at a stop."""

import asyncio
import json
import math
import time
from pathlib import Path

import pytest

from lvs_healthd.config.model import Config, Daemon
from lvs_healthd.daemon import remembering as module
from lvs_healthd.daemon.remembering import SHARE, WRITE_S, Remembering
from lvs_healthd.events.kinds import Event, StateError, StateRecovered, TableHeld
from lvs_healthd.state.history import Happened, Place, write_history
from lvs_healthd.state.safe_file import StateFileError
from lvs_healthd.view.past import Past
from tests.daemon.test_daemon_saving import prepared

HELD = TableHeld(service="", uid=0, reason="look")


class Site:
    """A past and its file."""

    def __init__(self, folder: Path) -> None:
        self.state = str(folder / "state.json")
        self.file = folder / "history.json"
        self.events: list[Event] = []
        self.past = Past()
        self.remembering = Remembering(self.past, self.events.append, asyncio.get_running_loop())

    async def start(self) -> None:
        await self.remembering.restore(await self.remembering.read(self.state, rescue=True))

    def happen(self, reason: str) -> None:
        self.past.listen(TableHeld(service="", uid=0, reason=reason))

    async def turn(self, now: float) -> bool:
        """Return whether the file was written."""
        self.file.unlink(missing_ok=True)
        await self.remembering.turn(self.state, now)
        await self.remembering.flush()
        return self.file.exists()


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    await made.start()
    return made


async def test_nothing_is_written_while_nothing_happens(site: Site) -> None:
    assert not await site.turn(1000.0)
    assert not await site.turn(math.inf)


async def test_what_happens_is_written_at_most_every_few_seconds_and_at_a_stop(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)  # no write takes any time
    site.happen("one")
    assert await site.turn(1000.0)
    site.happen("two")
    assert not await site.turn(1000.0 + WRITE_S / 2)
    assert await site.turn(1001.0 + WRITE_S)
    assert not await site.turn(2000.0)
    site.happen("three")
    assert await site.turn(math.inf)


async def test_file_that_takes_long_to_write_is_written_seldom(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([0.0, 0.1, 0.0, 0.1])
    monkeypatch.setattr(time, "perf_counter", lambda: next(readings))
    site.happen("one")
    assert await site.turn(1000.0)
    site.happen("two")
    assert not await site.turn(1000.0 + 0.9 * 0.1 / SHARE)
    assert await site.turn(1000.0 + 1.1 * 0.1 / SHARE)


async def test_nothing_is_written_before_what_was_kept_is_remembered(tmp_path: Path) -> None:
    site = Site(tmp_path)
    write_history(site.file, [(Place("", ""), (Happened(1.0, "table.held", "before"),))])
    content = site.file.read_bytes()
    before = await site.remembering.read(site.state, rescue=True)
    site.happen("now")
    await site.remembering.turn(site.state, math.inf)
    await site.remembering.flush()
    assert site.file.read_bytes() == content
    await site.remembering.restore(before)
    await site.remembering.turn(site.state, math.inf)
    await site.remembering.flush()
    texts = [text for _, _, text in json.loads(site.file.read_bytes())["entries"]]
    assert texts == ["before", "the whole table is held by uid 0: now"]


async def test_trouble_is_told_and_the_write_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StateFileError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_history", full)
        site.happen("one")
        assert not await site.turn(1000.0)
        assert site.remembering.error == "disk full"
    assert await site.turn(2000.0)
    assert [type(each) for each in site.events] == [StateError, StateRecovered]
    assert site.remembering.error == ""


async def test_another_state_file_has_a_history_of_its_own(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "other"
    await site.remembering.turn(str(other / "state.json"), 1000.0)
    await site.remembering.flush()
    assert (other / "history.json").exists()
    assert not site.file.exists()


@pytest.mark.parametrize(("shadow", "is_written"), [(False, True), (True, False)])
async def test_daemon_saves_it_but_not_in_shadow_mode(tmp_path: Path, *, shadow: bool, is_written: bool) -> None:
    parts, _ = prepared(shadow=shadow)
    parts.config = Config(daemon=Daemon(state=str(tmp_path / "state.json")))
    await parts.remembering.restore({})
    parts.bus.emit(HELD)
    await parts.save(math.inf)
    await parts.remembering.flush()
    assert (tmp_path / "history.json").exists() is is_written
