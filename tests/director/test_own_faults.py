"""The faults of the director's own network: who is told of them, and how a route is asked for."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lvs_healthd.director import links, own_faults
from lvs_healthd.director.own_faults import OwnFaults
from lvs_healthd.events.kinds import Event, NetworkImpaired, NetworkRecovered, NetworkUnwatched
from tests.director.test_links import ETH0, FAR, SERVER, address, link


class Watching:
    """Own faults that run on interfaces made up here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[Event] = []
        self.asked: list[str] = []
        self.dumps = 0
        self.found: dict[str, int] | OSError = {}
        ours, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self._ours = ours
        monkeypatch.setattr(links, "listener", ours.dup)
        monkeypatch.setattr(links, "dump", self._dump)
        monkeypatch.setattr(links, "routes", self._routes)
        monkeypatch.setattr(own_faults, "EVERY_S", 0.01)
        monkeypatch.setattr(own_faults, "RETRY_S", 0.01)
        self.faults = OwnFaults(self.events.append, clock=asyncio.get_running_loop().time)

    def _dump(self) -> list[bytes]:
        self.dumps += 1
        return [link(ETH0) + address(ETH0, "198.51.100.1", 24)]

    def _routes(self, addresses: tuple[str, ...]) -> dict[str, int]:
        self.asked.extend(addresses)
        if isinstance(self.found, OSError):
            raise self.found
        return self.found

    def close(self) -> None:
        self._ours.close()
        self.kernel.close()

    def report(self, data: bytes) -> None:
        self.kernel.send(data)

    async def link_of(self, target: str) -> str:
        """Return what is wrong towards `target`, asking for its route if need be."""
        now = asyncio.get_running_loop().time()
        found = self.faults.link(target, now)
        if found is None:
            known = asyncio.Event()
            self.faults.ask(target, known.set)
            await asyncio.wait_for(known.wait(), 10)
            found = self.faults.link(target, now)
        assert found is not None
        return found

    async def until(self, kind: type[Event]) -> Event:
        async with asyncio.timeout(10):
            while True:
                for event in self.events:
                    if isinstance(event, kind):
                        return event
                await asyncio.sleep(0.005)

    async def until_link_of(self, target: str, *, broken: bool) -> str:
        async with asyncio.timeout(10):
            while True:
                found = await self.link_of(target)
                if bool(found) is broken:
                    return found
                await asyncio.sleep(0.005)


@pytest_asyncio.fixture
async def watching(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watching]:
    made = Watching(monkeypatch)
    running = asyncio.create_task(made.faults.run())
    async with asyncio.timeout(10):
        while not made.faults.is_ours("198.51.100.1"):
            await asyncio.sleep(0.005)
    yield made
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    made.close()


async def test_while_all_interfaces_are_good_nobody_asks_for_routes(watching: Watching) -> None:
    assert await watching.link_of(FAR) == ""
    assert await watching.link_of(SERVER) == ""
    assert watching.asked == []


async def test_broken_interface_is_told_once_a_probe_meets_it_and_again_when_it_is_good(watching: Watching) -> None:
    watching.report(link(ETH0, "DOWN"))
    assert "eth0 has no carrier" in await watching.until_link_of(SERVER, broken=True)
    told = await watching.until(NetworkImpaired)
    assert "eth0 has no carrier" in told.fault  # type: ignore[attr-defined]
    assert "eth0 has no carrier" in "".join(watching.faults.ongoing)
    watching.report(link(ETH0))
    await watching.until(NetworkRecovered)
    assert not watching.faults.ongoing


async def test_broken_interface_that_no_probe_needs_is_not_told(watching: Watching) -> None:
    watching.report(link(9) + address(9, "172.17.0.1", 16) + link(9, "DOWN"))
    assert await watching.until_link_of("172.17.0.9", broken=True)
    watching.events.clear()
    watching.report(link(10) + address(10, "172.18.0.1", 16) + link(10, "DOWN"))
    await asyncio.sleep(0.1)
    assert not [each for each in watching.events if "eth8" in str(each)]


async def test_route_tells_the_interface_of_a_distant_target_and_is_remembered(watching: Watching) -> None:
    watching.found = {FAR: ETH0}
    watching.report(link(ETH0, "DOWN"))
    await watching.until_link_of(SERVER, broken=True)
    assert "eth0 has no carrier" in await watching.link_of(FAR)
    assert "eth0 has no carrier" in await watching.link_of(FAR)
    assert watching.asked == [FAR]


async def test_interface_that_a_check_names_counts_instead_of_the_route_s(watching: Watching) -> None:
    watching.report(link(9) + address(9, "172.17.0.1", 16) + link(9, "DOWN"))
    broken = await watching.until_link_of("172.17.0.9", broken=True)
    began = asyncio.get_running_loop().time()
    assert watching.faults.link(SERVER, began, f"eth{9 - ETH0}") == broken
    assert watching.faults.link("172.17.0.9", began, "eth0") == ""
    assert watching.faults.link(SERVER, began, "none0") == ""
    assert watching.asked == []


@pytest.mark.parametrize("found", [{}, OSError(105, "No buffer space available")])
async def test_target_whose_route_the_kernel_does_not_tell_is_not_excused(
    watching: Watching, found: dict[str, int] | OSError
) -> None:
    watching.found = found
    watching.report(link(ETH0, "DOWN"))
    await watching.until_link_of(SERVER, broken=True)
    assert await watching.link_of(FAR) == ""


async def test_interfaces_are_listed_again_after_reports_were_lost(
    watching: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()

    async def lost(opened: object, size: int) -> bytes:
        del opened, size
        raise OSError(105, "No buffer space available")

    monkeypatch.setattr(loop, "sock_recv", lost)
    watching.report(link(ETH0))
    told = await watching.until(NetworkUnwatched)
    assert "No buffer space" in told.error  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        while watching.dumps < 2:
            await asyncio.sleep(0.005)
