"""Real files that list servers, replaced in every way that people and programs have."""

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from lvs_healthd.discovery import file as file_module
from lvs_healthd.discovery.file import SETTLES_IN_S, FileReader
from lvs_healthd.discovery.listing import ListError


class Watch:
    """A reader of a file, with a clock that only the test moves."""

    def __init__(self, path: Path) -> None:
        self.now = 0.0
        self.reader = FileReader(str(path), lambda: self.now)

    async def look(self) -> list[str] | None:
        found = await self.reader.look()
        return None if found is None else [each.address for each in found]

    async def settled(self) -> list[str] | None:
        """Look until something is found, or nothing for four looks."""
        for _ in range(4):
            if (found := await self.look()) is not None:
                return found
        return None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "web.list"
    file.write_text("198.51.100.11\n")
    return file


async def test_file_is_read_once_it_stays_the_same(path: Path) -> None:
    watch = Watch(path)
    assert [await watch.look(), await watch.look(), await watch.look()] == [None, ["198.51.100.11"], None]
    path.write_text("198.51.100.11\n198.51.100.12\n")
    assert await watch.look() is None
    path.write_text("198.51.100.11\n198.51.100.12\n198.51.100.13\n")
    assert await watch.look() is None
    assert await watch.look() == ["198.51.100.11", "198.51.100.12", "198.51.100.13"]


async def test_file_that_is_written_for_ever_is_read_all_the_same(path: Path) -> None:
    watch = Watch(path)
    for number in range(5):
        path.write_text(f"198.51.100.{number + 1}\n")
        assert await watch.look() is None
    watch.now += SETTLES_IN_S
    path.write_text("198.51.100.99\n")
    assert await watch.look() == ["198.51.100.99"]


async def test_replaced_by_a_rename(path: Path) -> None:
    watch = Watch(path)
    assert await watch.settled() == ["198.51.100.11"]
    new = path.with_name("new")
    new.write_text("198.51.100.12\n")  # of the same size
    new.replace(path)
    assert await watch.settled() == ["198.51.100.12"]


async def test_written_in_place_with_the_same_size_and_time(path: Path) -> None:
    watch = Watch(path)
    before = path.stat()
    assert await watch.settled() == ["198.51.100.11"]
    with path.open("r+") as file:
        file.write("198.51.100.12\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await watch.settled() == ["198.51.100.12"]


async def test_links_swapped_as_kubernetes_swaps_them(tmp_path: Path) -> None:
    for name, server in (("..1", 11), ("..2", 12)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "web.list").write_text(f"198.51.100.{server}\n")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "web.list").symlink_to("..data/web.list")
    watch = Watch(tmp_path / "web.list")
    assert await watch.settled() == ["198.51.100.11"]
    (tmp_path / "..tmp").symlink_to("..2")
    (tmp_path / "..tmp").replace(tmp_path / "..data")
    (tmp_path / "..1" / "web.list").unlink()
    assert await watch.settled() == ["198.51.100.12"]


async def test_deleted_for_a_moment_is_nothing_to_tell_and_for_longer_is(path: Path) -> None:
    watch = Watch(path)
    assert await watch.settled() == ["198.51.100.11"]
    path.rename(path.with_name("aside"))
    assert await watch.look() is None
    path.with_name("aside").rename(path)
    assert await watch.settled() == ["198.51.100.11"]
    path.unlink()
    assert await watch.look() is None
    for _ in range(2):
        with pytest.raises(ListError, match="cannot read: No such file or directory"):
            await watch.look()
    path.write_text("198.51.100.12\n")
    assert await watch.settled() == ["198.51.100.12"]


async def test_wrong_content_is_told_once_and_read_again_when_it_changes(path: Path) -> None:
    path.write_text("198.51.100.11\nweb1\n")
    watch = Watch(path)
    assert await watch.look() is None
    with pytest.raises(ListError, match=":2: "):
        await watch.look()
    assert await watch.look() is None
    path.write_text("198.51.100.11\n")
    assert await watch.settled() == ["198.51.100.11"]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.mkdir(), "it is not a regular file|Is a directory"),
        (os.mkfifo, "it is not a regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "it is not a regular file"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
async def test_what_is_no_file_is_an_error_and_never_waits(path: Path, make: object, why: str) -> None:
    path.unlink()
    make(path)  # type: ignore[operator]
    with pytest.raises(ListError, match=why):
        await FileReader(str(path)).first()
    watch = Watch(path)
    with pytest.raises(ListError, match=why):
        await watch.settled()


async def test_first_reads_at_once(path: Path) -> None:
    assert [each.address for each in await FileReader(str(path)).first()] == ["198.51.100.11"]


async def test_file_system_that_hangs_keeps_one_thread_and_is_read_when_it_comes_back(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comes_back, stats = threading.Event(), []
    real = os.stat

    def hanging(which: object, *args: object, **named: object) -> os.stat_result:
        if str(which) == str(path):
            stats.append(which)
            comes_back.wait(30)
        return real(which, *args, **named)  # type: ignore[arg-type]

    watch = Watch(path)
    assert await watch.settled() == ["198.51.100.11"]
    monkeypatch.setattr(file_module, "LOOK_S", 0.05)
    monkeypatch.setattr(os, "stat", hanging)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(ListError, match="has taken more than"):
            await watch.look()
    assert time.monotonic() - began < 5
    assert len(stats) == 1
    comes_back.set()
    found = None
    for _ in range(1000):
        try:
            found = await watch.look()
        except ListError:
            await asyncio.sleep(0.01)
        if found is not None:
            break
    # It is read again although it has not changed, so that the error is known to be over.
    assert found == ["198.51.100.11"]
