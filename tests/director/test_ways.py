"""Which way leads to which target, and that it is remembered when the network breaks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from lvs_healthd.config.check_model import TcpCheck
from lvs_healthd.config.check_ways import Way
from lvs_healthd.director import ways
from lvs_healthd.director.ways import Hop, Ways

NEAR, FAR, HERE, NOWHERE = "198.51.100.11", "203.0.113.1", "127.0.0.1", "192.0.2.66"
ROUTER = "198.51.100.1"


def check(address: str, **way: object) -> TcpCheck:
    return TcpCheck(name="tcp", address=address, port=80, way=Way(**way) if way else None)  # type: ignore[arg-type]


class Kernel:
    """The routing table."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.routes: dict[str, Hop | None] = {
            NEAR: Hop("eth1", 5, ""),
            FAR: Hop("eth1", 5, ROUTER),
            HERE: Hop("", 1, ""),
        }
        self.asked = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        monkeypatch.setattr(ways, "hops", self._hops)
        monkeypatch.setattr(ways, "EVERY_S", 0.01)
        monkeypatch.setattr(ways, "CYCLE_S", 0.01)

    def _hops(self, addresses: tuple[str, ...]) -> dict[str, Hop | None]:
        return {address: self.routes.get(address) for address in addresses}


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


@contextlib.asynccontextmanager
async def running(given: Ways) -> AsyncIterator[None]:
    task = asyncio.create_task(given.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(given: Ways, address: str, names: tuple[str, ...]) -> None:
    async with asyncio.timeout(10.0):
        while given.of(check(address)) != names:
            await asyncio.sleep(0.005)


async def test_interface_and_next_hop_are_known_and_new_targets_are_asked_for(kernel: Kernel) -> None:
    del kernel
    checks = [check(NEAR), check(HERE), check(NOWHERE)]
    given = Ways(lambda: checks)
    assert given.of(check(NEAR)) == ()
    async with running(given):
        await until(given, NEAR, ("eth1",))
        checks.append(check(FAR))
        given.configured()
        await until(given, FAR, ("eth1", f"eth1 via {ROUTER}"))
        assert given.of(check(HERE)) == given.of(check(NOWHERE)) == ()
        assert given.hop("eth1") == Hop("eth1", 5, "")
        assert given.hop(f"eth1 via {ROUTER}") == Hop("eth1", 5, ROUTER)
        assert given.hop("eth9") is None


async def test_check_with_an_interface_of_its_own_leaves_there_and_one_with_a_mark_is_not_known(kernel: Kernel) -> None:
    del kernel
    given = Ways(lambda: [check(NEAR)])
    async with running(given):
        await until(given, NEAR, ("eth1",))
    assert given.of(check(NEAR, interface="eth7")) == ("eth7",)
    assert given.of(check(NEAR, mark=7)) == ()
    assert given.of(check(NEAR, dscp=7)) == ("eth1",)


async def test_route_that_is_gone_is_remembered(kernel: Kernel) -> None:
    given = Ways(lambda: [check(NEAR), check(FAR)])
    async with running(given):
        await until(given, FAR, ("eth1", f"eth1 via {ROUTER}"))
        kernel.routes.clear()
        await asyncio.sleep(0.1)
        assert given.of(check(NEAR)) == ("eth1",)


async def test_another_route_counts_when_it_lasts_and_not_while_the_network_may_be_broken(kernel: Kernel) -> None:
    given = Ways(lambda: [check(NEAR)])
    async with running(given):
        await until(given, NEAR, ("eth1",))
        given.is_frozen = True
        kernel.routes[NEAR] = Hop("eth0", 2, "192.0.2.1")
        await asyncio.sleep(0.1)
        assert given.of(check(NEAR)) == ("eth1",)
        given.is_frozen = False
        await until(given, NEAR, ("eth0", "eth0 via 192.0.2.1"))


def test_the_kernels_own_answer_for_an_address_of_this_host() -> None:
    """This asks the real kernel."""
    assert ways.hops(["127.0.0.1"]) == {"127.0.0.1": Hop("", 1, "")}
