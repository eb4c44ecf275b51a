"""What directors say to each other through a real etcd: heard, renewed, lost with the lease, and while etcd is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lvs_healthd.store import following, publishing
from lvs_healthd.store.client import Access
from lvs_healthd.store.directors import Published, written
from lvs_healthd.store.publishing import ThroughEtcd
from tests.etcd import Etcd

PATIENCE_S = 30.0


def said(run: str, sequence: int = 1) -> bytes:
    return written(Published(run=run, sequence=sequence, at=0.0))


class Director:
    """A director on an etcd."""

    def __init__(self, etcd: Etcd, name: str, run: str = "", prefix: str = "/p/") -> None:
        self.changes = 0
        self.run = run or name
        self.exchange = ThroughEtcd(Access((etcd.url,)), prefix, name, self.run, changed=self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def say(self, sequence: int = 1) -> bytes:
        content = said(self.run, sequence)
        self.exchange.publish(content)
        return content

    def heard(self) -> dict[str, bytes]:
        return {name: heard.content for name, heard in self.exchange.peers().items()}


@contextlib.asynccontextmanager
async def running(*directors: Director) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.exchange.run()) for each in directors]
        yield
        for task in tasks:
            task.cancel()


async def until(wanted: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not wanted():
            await asyncio.sleep(0.01)


async def test_directors_hear_each_other_and_not_themselves(shared: Etcd) -> None:
    one, two = Director(shared, "a"), Director(shared, "b")
    async with running(one, two):
        first, second = one.say(), two.say()
        await until(lambda: one.heard() == {"b": second} and two.heard() == {"a": first})
        changed = two.say(2)
        await until(lambda: one.heard() == {"b": changed})
        assert one.exchange.peers()["b"].age_s < PATIENCE_S
        assert (one.exchange.error, two.exchange.error) == ("", "")
    assert sorted(shared.get("/p/directors/")) == ["/p/directors/a", "/p/directors/b"]


async def test_director_that_ends_is_gone_with_its_lease_and_one_that_lives_stays(
    own: Etcd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "LEASE_S", 2)
    monkeypatch.setattr(publishing, "KEEP_S", 0.3)
    one, two, three = (Director(own, name) for name in "abc")
    async with running(one, two):
        one.say(), two.say()
        async with running(three):
            three.say()
            await until(lambda: set(one.heard()) == {"b", "c"})
        await until(lambda: set(one.heard()) == {"b"})

        def leases() -> list[int]:
            return [int(each["lease"]) for each in own.post("kv/range", key=b"/p/directors/b").get("kvs", [])]

        (lease,) = leases()
        own.post("lease/revoke", ID=str(lease))
        # It is gone for so short a time that a busy machine may not see it.
        await until(lambda: leases() not in ([], [lease]) and set(one.heard()) == {"b"})


async def test_while_etcd_is_away_what_was_heard_grows_old_and_after_that_all_is_said_again(own: Etcd) -> None:
    now = 1_000.0
    one, two = Director(own, "a"), Director(own, "b")
    one.exchange._clock = lambda: now
    async with running(one, two):
        one.say(), two.say()
        await until(lambda: set(one.heard()) == {"b"} and set(two.heard()) == {"a"})
        own.kill()
        await until(lambda: bool(one.exchange.error and two.exchange.error))
        assert one.exchange.error.startswith(own.url)
        now += 100.0
        assert one.exchange.peers()["b"].age_s == 100.0
        newer = two.say(2)
        own.start()
        await until(lambda: one.heard() == {"b": newer} and one.exchange.peers()["b"].age_s == 0.0)
        await until(lambda: not (one.exchange.error or two.exchange.error))


async def test_etcd_that_is_away_is_asked_ever_less_often(own: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[int] = []

    def paused_s(failures: int, servers: int, chance: Callable[[], float]) -> float:
        failed.append(failures)
        assert following.pause_s(failures + 1, servers, chance) > 0.0
        return 0.02

    monkeypatch.setattr(publishing, "pause_s", paused_s)
    one = Director(own, "a")
    async with running(one):
        for sequence in (1, 2):
            one.say(sequence)
            await until(lambda: not one.exchange.error and one.exchange._lease > 0)
            own.kill()
            one.say(10 + sequence)
            await until(lambda: len(failed) >= 3)
            assert failed == [*range(1, len(failed) + 1)]
            own.start()
            await until(lambda: not one.exchange.error and one.exchange._lease > 0)
            failed.clear()


async def test_two_directors_with_one_name_are_told(shared: Etcd) -> None:
    one, two = (Director(shared, "same", run, "/twins/") for run in ("x", "y"))
    async with running(one):
        one.say()
        await until(lambda: "/twins/directors/same" in shared.get("/twins/"))
        async with running(two):
            two.say()
            await until(lambda: bool(one.exchange.error))
            assert one.exchange.error == 'another director is called "same" too; give each its own: [fleet] name'


async def test_key_of_no_director_is_left_out(shared: Etcd, tmp_path: Path) -> None:
    one = Director(shared, "a", prefix="/odd/")
    for name in ("x\ny", "", "n" * 129, "good"):
        shared.put(f"/odd/directors/{name}", b"anything")
    async with running(one):
        await until(lambda: bool(one.heard()))
        assert one.heard() == {"good": b"anything"}


async def test_too_much_is_not_said(shared: Etcd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "LARGEST", 10)
    one = Director(shared, "large")
    async with running(one):
        one.say()
        await until(lambda: bool(one.exchange.error))
        assert "and 10 are allowed" in one.exchange.error
