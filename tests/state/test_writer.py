"""The state file is written in a thread: a slow disk delays nothing else, and the newest content wins."""

import asyncio
import sys
import threading
from pathlib import Path

import pytest

from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.ipvs.words import AF_INET
from lvs_healthd.state.file import Ours, SavedVerdict, read_state, write_state
from lvs_healthd.state.safe_file import StateFileError
from lvs_healthd.state.writer import Writer


def key(number: int) -> ServiceKey:
    return ServiceKey(AF_INET, fwmark=number)


def ours(number: int) -> Ours:
    return Ours(frozenset({key(number)}))


class Disk:
    """Stands in for `write_state`, and waits for the test's permission before it writes."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Event()
        self.written: list[int] = []
        self.fails = ""

    def __call__(self, path: Path, ours: Ours, *_: object) -> None:
        self.begun.set()
        assert self.open.wait(20)
        if self.fails:
            raise StateFileError(self.fails)
        self.written.append(next(iter(ours.services)).fwmark)


@pytest.fixture
def disk() -> Disk:
    return Disk()


async def test_hung_disk_delays_neither_the_caller_nor_a_bounded_wait(disk: Disk, tmp_path: Path) -> None:
    writer = Writer(asyncio.get_running_loop(), disk, lambda *_: None)
    writer.write(tmp_path, ours(1), ())
    await asyncio.to_thread(disk.begun.wait, 20)
    for number in (2, 3, 4):
        writer.write(tmp_path, ours(number), ())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await writer.flush()
    disk.open.set()
    async with asyncio.timeout(20):
        await writer.flush()
    assert disk.written == [1, 4]
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "state")


async def test_trouble_is_reported_once_for_each_reason_and_so_is_its_end(disk: Disk, tmp_path: Path) -> None:
    told: list[str] = []
    writer = Writer(asyncio.get_running_loop(), disk, lambda _path, error: told.append(str(error)))
    disk.open.set()
    for fails in ("", "disk full", "disk full", "read-only", "", "", "disk full"):
        disk.fails = fails
        writer.write(tmp_path, ours(1), ())
        async with asyncio.timeout(20):
            await writer.flush()
        assert writer.error == fails
    assert told == ["disk full", "read-only", "None", "disk full"]


async def test_what_is_written_is_the_state_file(tmp_path: Path) -> None:
    writer = Writer(asyncio.get_running_loop(), write_state, lambda *_: None)
    writer.write(tmp_path / "state.json", ours(7), ())
    async with asyncio.timeout(20):
        await writer.flush()
    assert read_state(tmp_path / "state.json").owned == (key(7),)


async def test_a_fault_of_ours_is_reported_and_the_next_write_is_made(disk: Disk, tmp_path: Path) -> None:
    """Before, the thread died silently, and nothing was ever saved again."""
    told: list[StateFileError | None] = []
    writer = Writer(asyncio.get_running_loop(), disk, lambda _, error: told.append(error))
    disk.open.set()
    writer.write(tmp_path, Ours(), ())  # which the disk of this test has no number for
    async with asyncio.timeout(20):
        await writer.flush()
    assert "a fault of lvs-healthd" in str(told[0])
    writer.write(tmp_path, ours(2), ())
    async with asyncio.timeout(20):
        await writer.flush()
    assert disk.written == [2]
    assert not writer.error


async def test_written_content_is_not_kept_in_memory(tmp_path: Path) -> None:
    writer = Writer(asyncio.get_running_loop(), write_state, lambda *_: None)
    verdicts = tuple(
        SavedVerdict(service="s", server=str(i), check="tcp", verdict="up", detail="", since=0) for i in range(2)
    )
    before = sys.getrefcount(verdicts)
    writer.write(tmp_path / "state.json", ours(1), verdicts)
    async with asyncio.timeout(20):
        await writer.flush()
    assert sys.getrefcount(verdicts) == before
    assert read_state(tmp_path / "state.json").verdicts == verdicts
