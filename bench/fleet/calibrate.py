"""Measures what the simulation of a fleet needs to know: the processor time of etcd and of a director's client.

`python -m bench.fleet.calibrate` prints the figures that `bench/fleet/parameters.py` quotes. It runs one etcd, without
fsync, and the daemon's own client. Processor time is the scheduler's count, so that other work hardly matters.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from lvs_healthd.store.client import Access, Client, prefix_end
from lvs_healthd.store.following import Following, Snapshot
from tests.etcd import Etcd, etcd

PREFIX = b"/lvs-healthd/directors/"
SIZES = (1_000, 50_000)
"""How large what a director says is, bytes."""

WATCHERS, PUTS, KEYS, ASKS = 20, 50, (20, 200), 100


class Spent(NamedTuple):
    """Processor time, seconds."""

    etcd: float
    own: float
    """Of this process, which is all clients together."""


async def spent(store: Etcd, work: Callable[[], Awaitable[object]]) -> Spent:
    """Return the processor time that some work takes."""
    before, own = _cpu_s(store), time.process_time()
    await work()
    return Spent(_cpu_s(store) - before, time.process_time() - own)


def _cpu_s(store: Etcd) -> float:
    pids = [] if store.server is None else store.server.pids
    tasks = [task for pid in pids for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((each / "schedstat").read_text().split()[0]) for each in tasks) / 1e9


class Listeners:
    """So many directors that follow what all directors say."""

    def __init__(self, access: Access, count: int) -> None:
        self._taken = 0
        self._changed = asyncio.Event()
        self._tasks = [
            asyncio.create_task(
                Following(Client(access), PREFIX, take=self._take, heard=_nothing, failed=_failed).run()
            )
            for _ in range(count)
        ]

    def _take(self, _: Snapshot) -> None:
        self._taken += 1
        self._changed.set()

    async def have(self, count: int) -> None:
        """Wait until they have been told something so many times in all, since the beginning."""
        async with asyncio.timeout(60):
            while self._taken < count:
                self._changed.clear()
                await self._changed.wait()

    async def close(self) -> None:
        """End all of them."""
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _nothing() -> None:
    pass


def _failed(error: Exception, _: int) -> None:
    raise RuntimeError(error)


async def deliveries(store: Etcd, access: Access, size: int, watchers: int) -> Spent:
    """Return what one put of a key costs that so many directors follow."""
    client, listeners = Client(access), Listeners(access, watchers)
    await listeners.have(watchers)

    async def put_all() -> None:
        for number in range(PUTS):
            await client.put(PREFIX + b"lvs1", f"{number:09}".encode() + b"x" * (size - 9))
            await listeners.have((number + 2) * watchers)

    found = await spent(store, put_all)
    await listeners.close()
    await client.close()
    return Spent(found.etcd / PUTS, found.own / PUTS)


async def asks(store: Etcd, access: Access, size: int, keys: int, *, newest_only: bool) -> Spent:
    """Return what one question for the newest of so many keys, or for all of them, costs."""
    client = Client(access)
    for number in range(keys):
        await client.put(PREFIX + f"lvs{number}".encode(), b"x" * size)

    async def ask_all() -> None:
        for _ in range(count):
            await client.range(PREFIX, prefix_end(PREFIX), newest_only=newest_only, timeout_s=30)

    count = ASKS if newest_only else 10
    found = await spent(store, ask_all)
    await client.delete(PREFIX, prefix_end(PREFIX))
    await client.close()
    return Spent(found.etcd / count, found.own / count)


async def leases(store: Etcd, access: Access) -> Spent:
    """Return what keeping a lease alive costs."""
    client = Client(access)
    lease = (await client.grant(60)).ID

    async def keep() -> None:
        for _ in range(ASKS):
            await client.keep_alive(lease)

    found = await spent(store, keep)
    await client.close()
    return Spent(found.etcd / ASKS, found.own / ASKS)


async def measured(store: Etcd) -> None:
    """Measure everything, and print it."""
    access = Access((store.url,))
    for size in SIZES:
        for watchers in (1, WATCHERS):
            _tell(f"a put of {size} B to {watchers} watchers", await deliveries(store, access, size, watchers))
        for keys in KEYS:
            for newest_only in (True, False):
                what = "a beat" if newest_only else "a whole reading"
                _tell(
                    f"{what} of {keys} keys of {size} B", await asks(store, access, size, keys, newest_only=newest_only)
                )
    _tell("keeping a lease alive", await leases(store, access))


def _tell(what: str, found: Spent) -> None:
    print(f"{what}: etcd {found.etcd * 1e6:.0f} µs, the clients {found.own * 1e6:.0f} µs", flush=True)


def main() -> None:
    """Measure, with an etcd of our own."""
    with tempfile.TemporaryDirectory() as name, etcd(Path(name) / "etcd") as store:
        asyncio.run(measured(store))


if __name__ == "__main__":
    main()
