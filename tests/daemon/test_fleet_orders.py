"""What is ordered for the whole fleet counts on each director. Here, a dictionary stands for etcd."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lvs_healthd.api.peers import Peer
from lvs_healthd.config.model import Config
from lvs_healthd.daemon.fleet_orders import FleetOrders
from lvs_healthd.daemon.operators import OperatorsHand
from lvs_healthd.daemon.order_changes import Change
from lvs_healthd.events.kinds import OverrideEnded, OverrideError, OverrideLost, OverrideSet
from lvs_healthd.state.fleet_orders import FOLDER, key_of, written
from lvs_healthd.store.errors import UnansweredError
from lvs_healthd.store.following import Snapshot
from lvs_healthd.view.override_values import OverrideOutcome, OverrideRequest
from tests.daemon.test_operators import WALL, A, B, Site, given

PREFIX = "lvs-healthd/"
ROOT = Peer(pid=1, uid=0, groups=frozenset())


class Store:
    """Stands for etcd: keeps what directors write, and tells all of them."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.revision = 10
        self.cluster = 7
        self.is_away = False
        self.directors: list[FleetOrders] = []

    async def write(self, change: Change) -> int:
        if self.is_away:
            raise UnansweredError("http://127.0.0.1:2379: no connection")
        for each in change.put:
            self.values[self.key(key_of(each))] = written(each)
        for each in change.removed:
            self.values.pop(self.key(key_of(each)), None)
        self.tell()
        return self.revision

    def key(self, name: str) -> bytes:
        return f"{PREFIX}{FOLDER}{name}".encode()

    def tell(self) -> None:
        self.revision += 1
        for each in self.directors:
            each.take(Snapshot(dict(self.values), self.revision, self.cluster))


class Director(Site):
    """One of the directors of the fleet."""

    def __init__(self, folder: Path, name: str, store: Store) -> None:
        super().__init__(folder)
        self.name, self.store = name, store
        self.fleet = FleetOrders(
            self.bench.events.append,
            share=lambda orders, why_of: self.hand.share(orders, why_of),  # noqa: PLW0108  # it does not exist yet
            clock=lambda: self.bench.now,
            wall=lambda: self.bench.now + WALL,
        )
        self.fleet._write = store.write  # type: ignore[method-assign]
        self.hand = OperatorsHand(
            self.bench.decisions,
            self.reconciler,
            self.bench.events.append,
            fleet=self.fleet,
            file=lambda: self.file,
            replan=lambda: None,
            clock=lambda: self.bench.now,
            wall=lambda: self.bench.now + WALL,
        )
        self.config = self.of_fleet(given())

    def of_fleet(self, config: Config, store: str = "http://127.0.0.1:1", prefix: str = PREFIX) -> Config:
        fleet = msgspec.structs.replace(config.fleet, store=(store,) if store else (), prefix=prefix, name=self.name)
        daemon = msgspec.structs.replace(config.daemon, state=str(self.file.with_name("state.json")))
        return msgspec.structs.replace(config, fleet=fleet, daemon=daemon)

    async def begin(self) -> None:
        for each in await self.fleet.load(self.config):
            self.bench.decisions.overrides.put(each)
        self.fleet.configured(self.config, shadow=False)
        await self.start(self.config)
        self.store.directors.append(self.fleet)
        self.fleet.take(Snapshot(dict(self.store.values), self.store.revision, self.store.cluster))
        await self.turn()

    async def turn(self) -> None:
        await self.fleet.turn()
        await self.settle()

    async def order(self, verb: str, service: str = "", *servers: str, **keys: Any) -> OverrideOutcome:
        request = OverrideRequest(verb=verb, service=service, servers=servers, **keys)  # type: ignore[arg-type]
        ordering = asyncio.create_task(self.hand.order(request, ROOT))
        while not ordering.done():
            await asyncio.sleep(0)
            await self.fleet.turn()
        return ordering.result()


@pytest.fixture
async def two() -> AsyncIterator[tuple[Director, Director, Store]]:
    store = Store()
    with contextlib.ExitStack() as stack:
        one, other = (
            Director(Path(stack.enter_context(tempfile.TemporaryDirectory())), name, store) for name in ("lvs1", "lvs2")
        )
        for each in (one, other):
            await each.begin()
            assert each.in_kernel() == {A: 2, B: 1}
        yield one, other, store


Two = tuple[Director, Director, Store]


async def test_an_order_counts_on_all_directors_until_any_of_them_ends_it(two: Two) -> None:
    one, other, store = two
    outcome = await one.order("drain", "web", A, reason="kernel update", fleet=True)
    assert [(each.server, each.state, each.was_changed) for each in outcome.servers] == [(f"{A}:80", "drained", True)]
    await other.turn()
    for each in (one, other):
        await each.settle()
        assert each.in_kernel() == {A: 0, B: 1}
        (told,) = each.bench.of(OverrideSet)
        assert isinstance(told, OverrideSet)
        assert (told.server, told.reason, told.director) == (f"{A}:80", "kernel update", "lvs1")

    outcome = await other.order("enable", "web", A, fleet=True)
    assert not outcome.refused
    assert not outcome.advice
    assert not store.values
    for each, why in ((one, "ended for the whole fleet"), (other, "enable by uid 0")):
        await each.turn()
        assert each.in_kernel() == {A: 2, B: 1}
        (ended,) = each.bench.of(OverrideEnded)
        assert isinstance(ended, OverrideEnded)
        assert (ended.why, ended.director) == (why, "lvs1")


async def test_an_order_for_this_director_alone_counts_before_one_of_the_fleet(two: Two) -> None:
    one, other, _ = two
    await one.order("weight", "web", A, weight=7, fleet=True)
    await other.turn()
    await other.order("weight", "web", A, weight=5)
    for each, weight in ((one, 7), (other, 5)):
        await each.settle()
        assert each.in_kernel() == {A: weight, B: 1}
    outcome = await other.order("weight", "web", A)
    assert outcome.advice == (
        f"{A}:80 is still weight 7 by uid 0 on lvs1 for the fleet; lvs-healthd weight web {A}:80 auto --fleet",
    )
    await other.settle()
    assert other.in_kernel() == {A: 7, B: 1}


async def test_an_order_of_the_fleet_is_not_ended_by_accident_for_this_director_alone(two: Two) -> None:
    one, _, store = two
    await one.order("disable", everywhere=A, fleet=True)
    outcome = await one.order("enable", everywhere=A)
    ordered = f"{A}:80 is disabled in all services by uid 0 on lvs1 for the fleet"
    assert outcome.refused == f"{ordered}; lvs-healthd enable --everywhere {A} --fleet"
    assert list(store.values) == [store.key(f"state/*/{A}")]


async def test_what_this_director_ordered_for_itself_is_named_when_the_fleets_order_ends(two: Two) -> None:
    one, _, _ = two
    await one.order("drain", "web", A, fleet=True)
    await one.order("drain", "web", A)
    outcome = await one.order("enable", "web", A, fleet=True)
    assert outcome.advice == (f"{A}:80 is still drained by uid 0; lvs-healthd enable web {A}:80",)


async def test_an_order_that_leaves_nobody_is_refused_before_etcd_hears_of_it(two: Two) -> None:
    one, _, store = two
    outcome = await one.order("disable", "web", fleet=True)
    assert outcome.refused.startswith('this would leave "web" without a real server')
    assert not store.values


async def test_while_etcd_is_away_nothing_can_be_ordered_for_the_fleet_and_all_that_was_stays(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, fleet=True)
    store.is_away = True
    assert "no connection" in (await one.order("enable", "web", A, fleet=True)).refused
    await one.settle()
    assert one.in_kernel() == {A: 0, B: 1}


async def test_a_restart_while_etcd_is_away_keeps_what_was_ordered(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, fleet=True)
    await one.fleet.save()
    again = Director(one.file.parent, "lvs1", store)
    kept = await again.fleet.load(again.config)
    assert [(each.server, each.director) for each in kept] == [(f"{A}:80", "lvs1")]
    assert await again.fleet.load(again.of_fleet(again.config, prefix="other/")) == []


async def test_orders_of_this_director_and_of_the_fleet_are_kept_apart(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, fleet=True)
    await one.order("weight", "web", B, weight=9)
    assert b"drain" not in one.file.read_bytes()
    assert list(store.values) == [store.key(f"state/192.0.2.100:80/tcp/{A}:80")]


async def test_each_director_ends_an_order_by_its_own_clock_though_the_key_is_there_still(two: Two) -> None:
    one, other, store = two
    await one.order("drain", "web", A, until=one.bench.now + WALL + 100.0, fleet=True)
    await other.turn()
    other.bench.now += 100.0
    await other.hand.turn()
    await other.settle()
    assert other.in_kernel() == {A: 2, B: 1}
    store.tell()
    await other.turn()
    assert other.in_kernel() == {A: 2, B: 1}
    assert len(other.bench.of(OverrideEnded)) == 1
    await one.settle()
    assert one.in_kernel() == {A: 0, B: 1}


async def test_a_key_that_cannot_be_understood_changes_nothing_and_is_told_once(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, fleet=True)
    (key,) = store.values
    store.values[key] = b"{"
    store.values[store.key("state/x/y")] = b"drain"
    for _ in range(2):
        store.tell()
        await one.turn()
    told = [each.key for each in one.bench.of(OverrideError) if isinstance(each, OverrideError)]
    assert told == [key.decode(), f"{PREFIX}{FOLDER}state/x/y"]
    assert one.in_kernel() == {A: 0, B: 1}


@pytest.mark.parametrize("what", ["older", "another"])
async def test_orders_that_etcd_has_lost_stay_in_force_until_that_is_meant(two: Two, what: str) -> None:
    one, other, store = two
    await one.order("drain", "web", A, fleet=True)
    await other.turn()
    store.values.clear()
    if what == "older":
        store.revision = 2
    else:
        store.cluster = 8
    store.tell()
    for each in (one, other):
        await each.turn()
        (lost,) = each.bench.of(OverrideLost)
        assert isinstance(lost, OverrideLost)
        assert (lost.orders, lost.count) == ((f"state/192.0.2.100:80/tcp/{A}:80",), 1)
        assert each.in_kernel() == {A: 0, B: 1}
    store.tell()
    await one.turn()
    assert one.in_kernel() == {A: 0, B: 1}
    one.fleet.configured(one.config, shadow=False, force=True)
    await one.turn()
    assert one.in_kernel() == {A: 2, B: 1}
    await other.order("enable", "web", A, fleet=True)
    await other.turn()
    assert other.in_kernel() == {A: 2, B: 1}


async def test_a_lost_order_that_is_given_again_counts_as_any_other(two: Two) -> None:
    one, other, store = two
    await one.order("drain", "web", A, fleet=True)
    await other.turn()
    store.values.clear()
    store.cluster = 8
    store.tell()
    await one.order("drain", "web", A, fleet=True)
    await other.turn()
    await other.order("enable", "web", A, fleet=True)
    for each in (one, other):
        await each.turn()
        assert each.in_kernel() == {A: 2, B: 1}


async def test_without_etcd_in_the_configuration_nothing_is_ordered_by_the_fleet(two: Two) -> None:
    one, _, _ = two
    await one.order("drain", "web", A, fleet=True)
    one.fleet.configured(one.of_fleet(one.config, store=""), shadow=False)
    await one.turn()
    assert one.in_kernel() == {A: 2, B: 1}
    assert "leave --fleet out" in (await one.order("drain", "web", A, fleet=True)).refused
