"""Following keys through everything that happens to etcd. What is known at the end is compared with what is there."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from lvs_healthd.store import following
from lvs_healthd.store.client import Access, Client
from lvs_healthd.store.errors import StoreError
from lvs_healthd.store.following import Following, Snapshot
from tests.etcd import Etcd
from tests.ready_made.servers import free_port

PATIENCE_S = 60.0
PREFIX = "/f/"


class Follower:
    """Follows keys, and keeps what it is told."""

    def __init__(self, *endpoints: str, user: str = "", password: str = "") -> None:
        self.snapshots: list[Snapshot] = []
        self.errors: list[str] = []
        self.heard = 0
        self._news = asyncio.Event()
        self._servers = len(endpoints)
        self.client = Client(Access(endpoints, user=user, password=lambda: password))
        self._following = Following(
            self.client, PREFIX.encode(), take=self._take, heard=self._hear, failed=self._fail, chance=lambda: 0.0
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Follower"]:
        task = asyncio.create_task(self._following.run(self._servers))
        try:
            yield self
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _take(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        self._news.set()

    def _hear(self) -> None:
        self.heard += 1
        self._news.set()

    def _fail(self, error: StoreError, _: int) -> None:
        self.errors.append(str(error))
        self._news.set()

    @property
    def known(self) -> dict[str, str] | None:
        if not self.snapshots:
            return None
        return {key.decode(): value.decode() for key, value in self.snapshots[-1].values.items()}

    async def until(self, condition: Callable[[], object], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"not {what}: {self.known}, {self.errors[-3:]}") from None

    async def until_known(self, expected: dict[str, str]) -> None:
        await self.until(lambda: self.known == expected, f"known: {expected}")


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "BEAT_S", 0.2)
    monkeypatch.setattr(following, "BEAT_ANSWER_S", 0.5)
    monkeypatch.setattr(following, "LONGEST_PAUSE_S", 0.3)


async def put(etcd: Etcd, key: str, value: str) -> None:
    await asyncio.to_thread(etcd.put, PREFIX + key, value)


async def test_changes_arrive_and_nothing_else_does(own: Etcd) -> None:
    own.put(PREFIX + "old", "1")
    own.put("/other", "1")
    async with Follower(own.url).running() as follower:
        await follower.until_known({"/f/old": "1"})
        await put(own, "new", "2")
        await asyncio.to_thread(own.delete, PREFIX + "old")
        await follower.until_known({"/f/new": "2"})
        revisions = [each.revision for each in follower.snapshots]
        assert revisions == sorted(set(revisions))
        assert not follower.errors


async def test_killed_etcd_is_followed_on_from_the_last_change(own: Etcd) -> None:
    async with Follower(own.url).running() as follower:
        await follower.until_known({})
        await put(own, "a", "1")
        await follower.until_known({"/f/a": "1"})
        await asyncio.to_thread(own.kill)
        await follower.until(lambda: len(follower.errors) > 2, "told")
        await asyncio.to_thread(own.start)
        for number in range(5):
            await put(own, "a", str(number))
        await follower.until_known({"/f/a": "4"})


async def test_silence_is_noticed_and_the_next_server_asked(own: Etcd) -> None:
    own.put(PREFIX + "a", "1")
    absent = f"http://127.0.0.1:{free_port()}"
    async with Follower(absent, own.url).running() as follower:
        await follower.until_known({"/f/a": "1"})
        assert own.server is not None
        own.server.freeze()
        await follower.until(lambda: any("no answer in" in each for each in follower.errors), "told")
        own.server.thaw()
        await put(own, "a", "2")
        await follower.until_known({"/f/a": "2"})


async def test_compaction_while_it_is_away_makes_it_read_again(own: Etcd) -> None:
    own.put(PREFIX + "a", "1")
    follower = Follower(own.url)
    async with follower.running():
        await follower.until_known({"/f/a": "1"})
        await asyncio.to_thread(own.kill)
        await follower.until(lambda: follower.errors, "told")
    # It keeps what it knows, as the daemon's does; meanwhile, the changes are made and forgotten.
    await asyncio.to_thread(own.start)
    own.put(PREFIX + "b", "2")
    own.delete(PREFIX + "a")
    own.put("/other", "1")
    own.compact()
    async with follower.running():
        await follower.until_known({"/f/b": "2"})
        assert any("etcd has forgotten the changes up to" in each for each in follower.errors)
        await put(own, "c", "3")
        await follower.until_known({"/f/b": "2", "/f/c": "3"})


async def test_etcd_with_other_data_is_read_again(own: Etcd, tmp_path_factory: pytest.TempPathFactory) -> None:
    for number in range(5):
        own.put(PREFIX + "a", str(number))
    async with Follower(own.url).running() as follower:
        await follower.until_known({"/f/a": "4"})
        await asyncio.to_thread(own.kill)
        own.folder = tmp_path_factory.mktemp("restored")
        await asyncio.to_thread(own.start)
        await follower.until_known({})
        await put(own, "b", "1")
        await follower.until_known({"/f/b": "1"})


async def test_user_that_is_locked_out_and_let_in_again(own: Etcd) -> None:
    own.put(PREFIX + "a", "1")
    own.protect(user="director", password="secret", prefix=PREFIX)
    async with Follower(own.url, user="director", password="secret").running() as follower:
        await follower.until_known({"/f/a": "1"})
        await asyncio.to_thread(own.post, "auth/user/revoke", name="director", role="director")
        await follower.until(lambda: any("permission denied" in each for each in follower.errors), "told")
        own.login("root", "secret")
        await put(own, "b", "2")
        await asyncio.to_thread(own.post, "auth/user/grant", user="director", role="director")
        await follower.until_known({"/f/a": "1", "/f/b": "2"})


async def test_watch_that_tells_nothing_is_noticed(own: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a proxy that swallows it."""

    async def deaf(*_: object) -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield None

    own.put(PREFIX + "a", "1")
    monkeypatch.setattr(Client, "watch", deaf)
    async with Follower(own.url).running() as follower:
        await follower.until_known({"/f/a": "1"})
        await put(own, "a", "2")
        await follower.until_known({"/f/a": "2"})
        await asyncio.to_thread(own.delete, PREFIX + "a")
        await follower.until_known({})
        assert any("the watch has not told of a change" in each for each in follower.errors)


async def test_etcd_that_is_not_there_is_asked_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LONGEST_PAUSE_S", 10.0)
    pauses: list[float] = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 20:
            raise asyncio.CancelledError

    follower = Follower(*[f"http://127.0.0.1:{free_port()}" for _ in range(2)])
    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await follower._following.run(2)
    assert pauses[:9] == [0.0, 0.125, 0.125, 0.25, 0.25, 0.5, 0.5, 1.0, 1.0]
    assert max(pauses) == 5.0
