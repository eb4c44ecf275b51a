"""The file of orders on a disk that hangs: what is refused never counts, and nobody drained is put back."""

import asyncio
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from lvs_healthd.daemon import orders_file
from lvs_healthd.events.kinds import OverrideEnded
from lvs_healthd.runtime.threads import HungError, Threads
from lvs_healthd.state.overrides import Override, read_overrides, write_overrides
from tests.daemon.test_operators import WALL, A, B, Site, given


class Disk:
    """Lets writing and reading the file hang until `is_fine` is set."""

    def __init__(self) -> None:
        self.is_fine = threading.Event()
        self.is_fine.set()
        self.ended = threading.Semaphore(0)
        """Released whenever a call has ended."""

    def write(self, file: Path, orders: Iterable[Override]) -> None:
        self.is_fine.wait()
        write_overrides(file, orders)
        self.ended.release()

    def read(self, file: Path) -> tuple[Override, ...]:
        self.is_fine.wait()
        return read_overrides(file)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk()
    monkeypatch.setattr(orders_file, "WRITE_S", 0.05)
    monkeypatch.setattr(orders_file, "READ_S", 0.05)
    monkeypatch.setattr(orders_file, "write_overrides", made.write)
    monkeypatch.setattr(orders_file, "read_overrides", made.read)
    yield made
    made.is_fine.set()


@pytest.fixture
async def site(tmp_path: Path, disk: Disk) -> Site:
    asyncio.get_running_loop().set_default_executor(Threads())  # as the daemon does
    made = Site(tmp_path)
    await made.start(given())
    return made


def drained_in(file: Path) -> list[str]:
    return [each.server for each in read_overrides(file)]


async def writing_has_ended(disk: Disk) -> None:
    await asyncio.to_thread(disk.ended.acquire)
    await asyncio.sleep(0.01)


async def test_order_that_is_refused_because_the_disk_hangs_does_not_outlive_a_crash(site: Site, disk: Disk) -> None:
    assert not (await site.order("drain", "web", A)).refused
    await writing_has_ended(disk)
    disk.is_fine.clear()
    assert "hangs" in (await site.order("drain", "other", A)).refused
    disk.is_fine.set()
    await writing_has_ended(disk)
    assert len(drained_in(site.file)) == 2  # what was refused has been written after all
    await site.hand.turn()
    assert drained_in(site.file) == [f"{A}:80"]


async def test_nothing_is_written_beside_a_write_that_still_hangs(site: Site, disk: Disk) -> None:
    disk.is_fine.clear()
    assert "hangs" in (await site.order("drain", "web", A)).refused
    assert "has not ended" in (await site.order("drain", "web", B)).refused
    await site.hand.turn()
    disk.is_fine.set()
    await writing_has_ended(disk)
    assert drained_in(site.file) == [f"{A}:80"]
    await site.hand.turn()
    assert drained_in(site.file) == []
    assert not (await site.order("drain", "web", B)).refused


async def test_order_ends_on_time_though_another_one_waits_for_the_disk(site: Site, disk: Disk) -> None:
    await site.order("drain", "web", A, until=site.bench.now + WALL + 60)
    await writing_has_ended(disk)
    disk.is_fine.clear()
    waits = asyncio.create_task(site.order("drain", "other", A))
    await asyncio.sleep(0)  # now it has the disk
    site.bench.now += 60.0
    turn = asyncio.create_task(site.hand.turn())
    await asyncio.sleep(0)
    (ended,) = site.bench.of(OverrideEnded)
    assert isinstance(ended, OverrideEnded)
    assert ended.server == f"{A}:80"
    assert not waits.done()
    assert "hangs" in (await waits).refused
    await turn
    disk.is_fine.set()
    await writing_has_ended(disk)
    await site.hand.turn()
    assert drained_in(site.file) == []


async def test_daemon_does_not_start_without_orders_that_it_cannot_read_in_time(
    site: Site, disk: Disk, tmp_path: Path
) -> None:
    await site.order("drain", "web", A)
    disk.is_fine.clear()
    with pytest.raises(HungError, match=r"overrides\.json"):
        await Site(tmp_path).start(given())
