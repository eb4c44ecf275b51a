"""The track file of a daemon whose probes the test answers."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.model import Below, Config, MinUp, Mode, Pair, Service, TrackFault
from lvs_healthd.daemon import tracking
from lvs_healthd.daemon.parts import Parts, Settings, Surroundings, build
from lvs_healthd.daemon.tracking import TrackRuns
from lvs_healthd.events.kinds import Event, TrackFileChanged, TrackFileError, TrackFileRecovered
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.log import configure
from lvs_healthd.probes.outcome import Course, Outcome, Reason, down, unsure, up
from lvs_healthd.runtime.netns import Netns
from tests.configs import server, service
from tests.ipvs.tables import entry, table
from tests.ipvs.tables import server as line
from tests.ipvs.tables import service as web

A, B, SPARE = "198.51.100.1", "198.51.100.2", "198.51.100.99"
ANSWER = up("connected")
REFUSED = down(Reason.REFUSED, "connection refused")
SILENT = down(Reason.TIMEOUT, "no answer in 1s")
OURS = unsure(Reason.LOCAL_NETWORK, "our interface eth1 has no carrier")
AFTER_S, BACK_S = 2.0, 30.0


class Site:
    def __init__(self, folder: Path, parts: Parts) -> None:
        self.file = folder / "run" / "track"
        self.parts = parts
        self.now = time.monotonic()
        self.symptoms: list[str] = []
        self.events: list[Event] = []
        self.runs = TrackRuns(
            parts.decisions,
            parts.reconciler,
            self.events.append,
            symptoms=lambda: self.symptoms,
            clock=lambda: self.now,
        )
        parts.decisions.verdicts.clock = lambda: self.now

    def configure(self, *services: Service, fault: TrackFault = TrackFault.OWN, shadow: bool = False) -> None:
        pair = Pair(
            track_file=str(self.file),
            track_fault=fault,
            track_after=Seconds(AFTER_S),
            track_back=Seconds(BACK_S),
        )
        config = Config(services=services, pair=pair)
        self.parts.decisions.configure(config, self.parts.reconciler.actual, {})
        self.parts.replans.now()
        self.runs.configured(config, shadow=shadow)

    def answer(self, outcome: Outcome, *addresses: str) -> None:
        """Let the last probes of these servers have this outcome, so often that their verdicts follow."""
        for probe in list(self.parts.decisions.probes.values()):
            if probe.check.address in addresses:
                for _ in range(3):
                    probe.outcome(outcome, Course(0.001, connected_s=0.001 if outcome is ANSWER else None))
        self.parts.replans.now()

    async def goes_on(self, for_s: float = AFTER_S + tracking.TURN_S) -> str:
        """Let time go by without new outcomes. Return what the file says."""
        end = self.now + for_s
        while self.now < end:
            await self.runs.turn()
            self.now += tracking.TURN_S
        return self.file.read_text()

    def told(self, kind: type[Event]) -> list[Event]:
        return [each for each in self.events if isinstance(each, kind)]


@contextlib.asynccontextmanager
async def site(folder: Path, *present: str) -> AsyncIterator[Site]:
    """Make a site whose kernel has these servers of the service web."""
    kernel = MemoryTable()
    kernel.entries = table(entry(web(scheduler="rr"), *(line(each) for each in present)))
    around = Surroundings(table=kernel, log=configure(), netns=Netns(), aspects=(), exclusive=False)
    parts = build(Settings(config_file=Path("config.toml")), Config(), around)
    await parts.reconciler.adopt()
    yield Site(folder, parts)
    parts.prober.close()


PLAIN = service(server(A), server(B))


async def test_missing_file_is_made_and_says_1_until_servers_are_proven(tmp_path: Path) -> None:
    async with site(tmp_path) as running:
        running.configure(PLAIN)
        assert await running.goes_on() == "1\n"
        (told,) = running.told(TrackFileChanged)
        assert told == TrackFileChanged(
            file=str(running.file), value=1, reason="it is not known yet whether this director can serve"
        )


@pytest.mark.parametrize("before", ["0\n", "1\n"])
async def test_file_that_says_something_stays_until_servers_are_proven(tmp_path: Path, before: str) -> None:
    async with site(tmp_path) as running:
        running.configure(PLAIN)
        running.file.parent.mkdir()
        running.file.write_text(before)
        assert await running.goes_on(60.0) == before
        assert running.events == []


async def test_director_whose_servers_serve_says_0_at_once(tmp_path: Path) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN)
        await running.runs.turn()
        assert running.file.read_text() == "0\n"
        status = running.runs.status
        assert status is not None
        assert (status.value, status.reason, status.error) == (0, "every tracked service may serve", "")


async def test_dead_servers_are_the_servers_own_fault(tmp_path: Path) -> None:
    """Both directors see them dead. Two files that say 1 would leave the address on neither."""
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN)
        for _ in range(60):
            running.answer(REFUSED, A, B)
            assert await running.goes_on(1.0) == "0\n"


async def test_dead_servers_are_told_if_any_fault_counts_and_after_a_while_that_they_are_back(tmp_path: Path) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN, fault=TrackFault.ANY)
        assert await running.goes_on() == "0\n"
        running.answer(REFUSED, A)
        assert await running.goes_on() == "0\n", "one of two serves"
        running.answer(REFUSED, B)
        assert await running.goes_on(AFTER_S) == "0\n"
        assert await running.goes_on(1.0) == "1\n"
        running.answer(ANSWER, A)
        assert await running.goes_on(BACK_S) == "1\n"
        assert await running.goes_on(1.0) == "0\n"
        assert [(each.value, each.reason) for each in running.told(TrackFileChanged)] == [  # type: ignore[attr-defined]
            (0, "every tracked service may serve"),
            (1, "web: nobody may serve"),
            (0, "every tracked service may serve"),
        ]


async def test_own_symptom_makes_it_the_director_s_fault(tmp_path: Path) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN)
        running.answer(ANSWER, A)
        running.answer(REFUSED, B)
        running.symptoms = ["the brake is on for eth1"]
        assert await running.goes_on(60.0) == "0\n", "a server is reached all the same"
        running.answer(REFUSED, A)
        assert await running.goes_on() == "1\n"
        assert running.told(TrackFileChanged)[-1] == TrackFileChanged(
            file=str(running.file), value=1, reason="web: nobody may serve; the brake is on for eth1"
        )


async def test_servers_that_stay_in_the_table_out_of_reach_do_not_serve(tmp_path: Path) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN)
        running.answer(ANSWER, A, B)
        for probe in list(running.parts.decisions.probes.values()):
            probe.outcome(OURS, Course(0.001))
        assert await running.goes_on() == "0\n"
        running.symptoms = ["our interface eth1 has no carrier"]
        assert await running.goes_on() == "1\n"
        assert "web: none of its servers is reached; our interface" in running.runs.status.reason  # type: ignore[union-attr]


async def test_probes_that_cannot_tell_are_this_director_s_fault_once_they_would_have_taken_servers_down(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN)
        running.answer(ANSWER, A, B)
        for probe in list(running.parts.decisions.probes.values()):
            for _ in range(2):
                probe.outcome(OURS, Course(0.001))
        assert await running.goes_on(60.0) == "0\n"
        running.answer(OURS, A)
        assert await running.goes_on(60.0) == "0\n"
        running.answer(OURS, B)
        assert await running.goes_on() == "1\n"
        assert running.runs.status.reason == f"web: none of its servers is reached; {OURS.detail}"  # type: ignore[union-attr]


async def test_nobody_reached_at_all_may_be_the_director_s_fault(tmp_path: Path) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN)
        running.answer(SILENT, A, B)
        assert await running.goes_on() == "1\n"
        assert running.runs.status.reason == "web: nobody may serve; none of 2 targets is reached"  # type: ignore[union-attr]


async def test_one_silent_target_says_nothing_about_the_director(tmp_path: Path) -> None:
    async with site(tmp_path, A) as running:
        running.configure(service(server(A)))
        running.answer(SILENT, A)
        assert await running.goes_on(60.0) == "0\n"


async def test_target_of_another_service_that_answers_clears_the_director(tmp_path: Path) -> None:
    other = service(server("198.51.100.50"), name="other", address="192.0.2.101")
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN, msgspec.structs.replace(other, mode=Mode.SHADOW))
        running.answer(SILENT, A, B)
        for _ in range(20):
            running.answer(ANSWER, "198.51.100.50")
            assert await running.goes_on(tracking.TURN_S) == "0\n"


async def test_fallback_serves_and_failing_open_does_not(tmp_path: Path) -> None:
    async with site(tmp_path, A, B, SPARE) as running:
        running.configure(service(server(A), server(B), fallback=(SPARE,)), fault=TrackFault.ANY)
        running.answer(REFUSED, A, B)
        assert await running.goes_on() == "0\n"
        opening = msgspec.structs.replace(PLAIN, below=Below.FAIL_OPEN, min_up=MinUp(count=1))
        running.configure(opening, fault=TrackFault.ANY)
        running.answer(REFUSED, A, B)
        assert await running.goes_on() == "1\n"
        assert running.runs.status.reason == "web: it fails open"  # type: ignore[union-attr]


async def test_services_that_are_not_tracked_or_only_shadowed_do_not_count(tmp_path: Path) -> None:
    async with site(tmp_path, A, B) as running:
        shadowed = msgspec.structs.replace(PLAIN, mode=Mode.SHADOW)
        running.configure(shadowed, fault=TrackFault.ANY)
        running.answer(REFUSED, A, B)
        assert await running.goes_on() == "0\n"


@pytest.mark.parametrize("content", ["", "garbage\n", "0", "00\n", "2\n", None])
async def test_file_that_says_nothing_is_made_right_and_told(tmp_path: Path, content: str | None) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN)
        await running.goes_on()
        running.events.clear()
        if content is None:
            running.file.unlink()
        else:
            running.file.write_text(content)
        assert await running.goes_on(tracking.TURN_S) == "0\n"
        (told,) = running.told(TrackFileChanged)
        assert "somebody has removed or emptied it" in told.reason  # type: ignore[attr-defined]


async def test_file_that_somebody_else_has_changed_is_made_right(tmp_path: Path) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN)
        await running.goes_on()
        running.file.write_text("1\n")
        assert await running.goes_on(tracking.TURN_S) == "0\n"
        assert "somebody has changed it" in running.told(TrackFileChanged)[-1].reason  # type: ignore[attr-defined]


async def test_file_is_replaced_and_never_written_into(tmp_path: Path) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN, fault=TrackFault.ANY)
        await running.goes_on()
        with running.file.open() as old:
            running.answer(REFUSED, A, B)
            assert await running.goes_on() == "1\n"
            assert old.read() == "0\n"
        assert [each.name for each in running.file.parent.iterdir()] == ["track"]


async def test_error_is_told_once_and_the_file_is_right_as_soon_as_it_can_be(tmp_path: Path) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN)
        running.file.mkdir(parents=True)  # nothing can be renamed over a folder
        for _ in range(5):
            await running.runs.turn()
        (told,) = running.told(TrackFileError)
        assert "track: cannot write: Is a directory; VRRP acts on what it said before" in told.error  # type: ignore[attr-defined]
        assert "set [pair] track_file" in told.error  # type: ignore[attr-defined]
        assert running.runs.status.error == told.error  # type: ignore[union-attr,attr-defined]
        running.file.rmdir()
        assert await running.goes_on(tracking.TURN_S) == "0\n"
        assert running.told(TrackFileRecovered) == [TrackFileRecovered(file=str(running.file), value=0)]
        assert running.runs.status.error == ""  # type: ignore[union-attr]


async def test_disk_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hung = threading.Event()
    original = tracking._made_true

    def made_true(file: Path, value: int | None) -> tuple[int | None, int]:
        hung.wait(10)
        return original(file, value)

    monkeypatch.setattr(tracking, "_made_true", made_true)
    monkeypatch.setattr(tracking, "WRITE_S", 1.0)
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN)
        ticks = await ticks_during(running.runs.turn)
        assert ticks >= 3, "the loop went on"
        (told,) = running.told(TrackFileError)
        assert "writing" in told.error  # type: ignore[attr-defined]
        hung.set()
        async with asyncio.timeout(10):
            while not running.told(TrackFileRecovered):
                await running.runs.turn()
                await asyncio.sleep(0.01)
        assert running.file.read_text() == "0\n"


async def ticks_during(work: Callable[[], object]) -> int:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    await work()  # type: ignore[misc]
    ticking.cancel()
    return ticks


async def test_shadow_mode_writes_nothing(tmp_path: Path) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN, shadow=True)
        for _ in range(5):
            await running.runs.turn()
        assert not running.file.parent.exists()
        assert running.runs.status is None


async def test_file_stays_as_it_was_when_another_takes_its_place(tmp_path: Path) -> None:
    async with site(tmp_path, A, B) as running:
        running.configure(PLAIN, fault=TrackFault.ANY)
        running.answer(REFUSED, A, B)
        await running.goes_on()
        first, running.file = running.file, tmp_path / "other"
        running.configure(PLAIN)
        assert await running.goes_on() == "0\n"
        assert first.read_text() == "1\n"
