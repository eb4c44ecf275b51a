"""What is ordered for the whole fleet counts on each director. Here, a dictionary stands for etcd."""

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lvs_healthd.api.peers import Peer
from lvs_healthd.config.model import Config
from lvs_healthd.daemon import fleet_orders, fleet_writes
from lvs_healthd.daemon.fleet_orders import FleetOrders
from lvs_healthd.daemon.fleet_writes import PERHAPS, Seen
from lvs_healthd.daemon.operators import ALSO_LOST, OperatorsHand
from lvs_healthd.events.kinds import (
    OverrideEnded,
    OverrideError,
    OverrideLost,
    OverrideSet,
    StateError,
    StoreFailed,
    StoreRecovered,
)
from lvs_healthd.runtime.threads import HungError
from lvs_healthd.state.fleet_orders import FOLDER
from lvs_healthd.store.answers import Header, Lease, Transaction
from lvs_healthd.store.client import Compare, Delete, Put
from lvs_healthd.store.errors import RefusedError, StoreError, UnansweredError, UnreachedError
from lvs_healthd.store.following import Snapshot
from lvs_healthd.view.override_values import OverrideOutcome, OverrideRequest
from tests.daemon.test_operators import WALL, A, B, Site, given

PREFIX = "lvs-healthd/"
DRAIN_A = f"state/192.0.2.100:80/tcp/{A}:80"
WRONG = {DRAIN_A: b"{", "state/x y": b"drain", "state/x\ny": b"", "z" * 300: b"{}"}
"""Keys that cannot be understood."""
ROOT = Peer(pid=1, uid=0, groups=frozenset())


class Store:
    """Stands for etcd: keeps what directors write, and tells all of them. As its client, it takes one transaction."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.changed: dict[bytes, int] = {}
        """The revision at which each key was written last."""
        self.revision = 10
        self.cluster = 7
        self.errors: list[StoreError] = []
        """What the next transactions fail with."""
        self.is_done = False
        """Whether one that fails is done all the same."""
        self.is_told = True
        self.leases: list[int] = []
        self.directors: list[FleetOrders] = []

    async def grant(self, ttl_s: int) -> Lease:
        self.leases.append(ttl_s)
        return Lease(ID=len(self.leases))

    async def transact(self, compares: Sequence[Compare], operations: Sequence[Put | Delete]) -> Transaction:
        error = self.errors.pop(0) if self.errors else None
        if error is not None and not self.is_done:
            raise error
        for each in compares:
            assert each.range_end
            for key in self.values:
                if each.key <= key < each.range_end and self.changed[key] > each.revision:
                    return Transaction(header=Header(revision=self.revision), succeeded=False)
        self.revision += 1
        for one in operations:
            if isinstance(one, Put):
                self.values[one.key], self.changed[one.key] = one.value, self.revision
            else:
                self.values.pop(one.key, None)
        if self.is_told:
            self.tell()
        if error is not None:
            raise error
        return Transaction(header=Header(revision=self.revision), succeeded=True)

    def go_on(self) -> None:
        """Ask the next server, which is the same here."""

    async def close(self) -> None:
        """Do nothing."""

    def key(self, name: str) -> bytes:
        return f"{PREFIX}{FOLDER}{name}".encode()

    @property
    def names(self) -> list[str]:
        """The orders in it."""
        begin = len(self.key(""))
        return sorted(key[begin:].decode() for key in self.values if key != self.key("id"))

    def put(self, name: str, value: bytes) -> None:
        """Write a key by hand."""
        self.revision += 1
        self.values[self.key(name)], self.changed[self.key(name)] = value, self.revision

    def tell(self, *directors: FleetOrders) -> None:
        """Tell all directors, or only these, what there is."""
        for each in directors or self.directors:
            each.take(Snapshot(dict(self.values), self.revision, self.cluster))

    def lose_everything(self) -> None:
        """Be another etcd with the same name from now on, to which others have written much already."""
        self.values.clear()
        self.changed.clear()
        self.revision += 100


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
        for each in await self.fleet.load(self.config, shadow=False):
            self.bench.decisions.overrides.put(each)
        self.fleet.configured(self.config, shadow=False)
        await self.start(self.config)
        self.store.directors.append(self.fleet)
        self.store.tell(self.fleet)
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
async def two(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Director, Director, Store]]:
    store = Store()
    monkeypatch.setattr(fleet_writes, "client_of", lambda _: store)
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
    assert store.names == []
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
    assert store.names == [f"state/*/{A}"]


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
    store.errors = [UnreachedError("http://127.0.0.1:1: no connection")]
    assert (await one.order("enable", "web", A, fleet=True)).refused == "http://127.0.0.1:1: no connection"
    await one.settle()
    assert one.in_kernel() == {A: 0, B: 1}


async def test_a_restart_while_etcd_is_away_keeps_what_was_ordered(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, fleet=True)
    await one.fleet.save()
    again = Director(one.file.parent, "lvs1", store)
    kept = await again.fleet.load(again.config, shadow=False)
    assert [(each.server, each.director) for each in kept] == [(f"{A}:80", "lvs1")]
    assert await again.fleet.load(again.of_fleet(again.config, prefix="other/"), shadow=False) == []


async def test_orders_of_this_director_and_of_the_fleet_are_kept_apart(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, fleet=True)
    await one.order("weight", "web", B, weight=9)
    assert b"drain" not in one.file.read_bytes()
    assert store.names == [DRAIN_A]


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
    for name, value in WRONG.items():
        store.put(name, value)
    for _ in range(2):
        store.tell()
        await one.turn()
    told = {each.key: each.todo for each in one.bench.of(OverrideError) if isinstance(each, OverrideError)}
    begin = f"{PREFIX}{FOLDER}"
    search = f"etcdctl get --prefix --keys-only {begin}"
    assert told == {
        f"{begin}{DRAIN_A}": f"etcdctl del {begin}{DRAIN_A}",
        f"{begin}state/x y": f"etcdctl del '{begin}state/x y'",
        f"{begin}state/x\\ny": search,
        f"{begin}{'z' * 300}"[:200]: search,
    }
    assert len(one.bench.of(OverrideError)) == len(WRONG)
    assert one.in_kernel() == {A: 0, B: 1}


async def lost_by(what: str, store: Store) -> None:
    store.values.pop(store.key(DRAIN_A))
    if what == "older":
        store.revision, store.changed = 2, dict.fromkeys(store.changed, 1)
    elif what == "another":
        store.cluster = 8
    else:
        store.lose_everything()
    store.tell()


@pytest.mark.parametrize("what", ["older", "another", "the same by name"])
async def test_orders_that_etcd_has_lost_stay_in_force_on_each_director_until_they_are_ended_there(
    two: Two, what: str
) -> None:
    one, other, store = two
    await one.order("drain", "web", A, fleet=True)
    await other.turn()
    await lost_by(what, store)
    for each in (one, other):
        await each.turn()
        (lost,) = each.bench.of(OverrideLost)
        assert isinstance(lost, OverrideLost)
        assert (lost.orders, lost.count) == ((DRAIN_A,), 1)
        (order,) = each.bench.decisions.overrides.shared
        assert each.fleet.is_lost(order)
    store.put("state/somebody/else", b"")
    store.tell()
    await one.turn()
    await one.fleet.save()
    again = Director(one.file.parent, "lvs1", store)
    await again.begin()
    assert again.in_kernel() == {B: 1}  # whose table is another one
    assert not again.bench.of(OverrideEnded)
    store.directors.remove(again.fleet)

    outcome = await other.order("enable", "web", A, fleet=True)
    assert outcome.advice == (ALSO_LOST,)
    await other.settle()
    assert (other.in_kernel(), one.in_kernel()) == ({A: 2, B: 1}, {A: 0, B: 1})
    await one.order("enable", "web", A, fleet=True)
    await one.settle()
    assert one.in_kernel() == {A: 2, B: 1}


async def test_lost_order_is_not_ended_by_an_enable_that_is_refused(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, fleet=True)
    store.lose_everything()
    store.tell()
    store.errors = [UnreachedError("no connection")]
    assert (await one.order("enable", "web", A, fleet=True)).refused
    await one.turn()
    assert one.in_kernel() == {A: 0, B: 1}


async def test_a_lost_order_that_is_given_again_counts_as_any_other(two: Two) -> None:
    one, other, store = two
    await one.order("drain", "web", A, fleet=True)
    await other.turn()
    store.lose_everything()
    store.tell()
    await one.order("drain", "web", A, fleet=True)
    await other.turn()
    await other.order("enable", "web", A, fleet=True)
    for each in (one, other):
        await each.turn()
        assert each.in_kernel() == {A: 2, B: 1}


async def test_an_order_does_not_undo_what_its_operator_could_not_see(two: Two) -> None:
    one, other, store = two
    await one.order("drain", "web", A, fleet=True)
    await other.turn()
    store.directors.remove(one.fleet)
    await other.order("disable", "web", A, reason="disk dead", fleet=True)
    ordering = asyncio.create_task(
        one.hand.order(OverrideRequest(verb="weight", service="web", servers=(A,), weight=3, fleet=True), ROOT)
    )
    for _ in range(20):
        await asyncio.sleep(0)
    assert not ordering.done()
    store.directors.append(one.fleet)
    store.tell()
    while not ordering.done():
        await asyncio.sleep(0)
        await one.fleet.turn()
    assert ordering.result().servers[0].state == "disabled"
    assert store.names == [DRAIN_A, DRAIN_A.replace("state", "weight")]


async def test_an_order_is_refused_if_others_order_again_and_again(two: Two) -> None:
    one, other, store = two

    async def meanwhile(seen: Seen) -> None:
        assert seen
        await catch_up(seen)
        store.directors.remove(one.fleet)
        await other.order("disable", "web", A, fleet=True)

    store.directors.remove(one.fleet)
    await other.order("drain", "web", A, fleet=True)
    catch_up, one.fleet.catch_up = one.fleet.catch_up, meanwhile  # type: ignore[method-assign]
    ordering = asyncio.create_task(one.hand.order(OverrideRequest(verb="enable", service="web", fleet=True), ROOT))
    await asyncio.sleep(0)
    store.directors.append(one.fleet)
    store.tell()
    while not ordering.done():
        await asyncio.sleep(0)
        await one.fleet.turn()
    assert ordering.result().refused.startswith("somebody has ordered something meanwhile")


async def test_the_next_server_is_asked_and_an_unanswered_order_may_have_been_taken(two: Two) -> None:
    one, _, store = two
    store.errors = [UnansweredError("http://127.0.0.1:1: no answer in 5s")]
    refused = (await one.order("drain", "web", A, fleet=True)).refused
    assert refused == f"http://127.0.0.1:1: no answer in 5s; {PERHAPS}"
    fleet = msgspec.structs.replace(one.config.fleet, store=("http://127.0.0.1:1", "http://127.0.0.1:2"))
    one.fleet.configured(msgspec.structs.replace(one.config, fleet=fleet), shadow=False)
    store.errors, store.is_done = [UnansweredError("http://127.0.0.1:1: no answer in 5s")], True
    assert not (await one.order("drain", "web", A, fleet=True)).refused
    await one.settle()
    assert one.in_kernel() == {A: 0, B: 1}


async def test_an_order_of_which_nothing_is_heard_is_told_as_such(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_orders, "ORDER_S", 0.05)
    one, _, store = two
    store.is_told = False
    assert (await one.order("drain", "web", A, fleet=True)).refused == f"nothing was heard of it in 0.05s; {PERHAPS}"


async def test_an_order_about_too_many_servers_is_refused(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_writes, "MOST_AT_ONCE", 1)
    one, _, store = two
    assert "order it in parts" in (await one.order("weight", "web", weight=3, fleet=True)).refused
    assert store.values == {}


async def test_an_order_that_ends_has_a_lease_until_then(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, until=one.bench.now + WALL + 100.4, fleet=True)
    await one.order("weight", "web", A, weight=3, fleet=True)
    assert store.leases == [101]


async def test_an_order_that_ended_while_the_daemon_was_off_is_told_as_ended(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, until=one.bench.now + WALL + 100.0, fleet=True)
    await one.fleet.save()
    again = Director(one.file.parent, "lvs1", store)
    again.bench.now = one.bench.now + 200.0
    store.values.pop(store.key(DRAIN_A))
    await again.begin()
    (ended,) = again.bench.of(OverrideEnded)
    assert isinstance(ended, OverrideEnded)
    assert ended.why == "its time is over"
    assert again.in_kernel()[A] == 2


async def test_a_lease_that_ends_a_little_early_is_told_as_the_end_of_its_time(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, until=one.bench.now + WALL + 100.0, fleet=True)
    one.bench.now += 99.0
    store.values.pop(store.key(DRAIN_A))
    store.tell()
    await one.turn()
    (ended,) = one.bench.of(OverrideEnded)
    assert isinstance(ended, OverrideEnded)
    assert ended.why == "its time is over"


async def test_a_file_that_cannot_be_read_is_put_aside_and_told(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, fleet=True)
    await one.fleet.save()
    file = one.file.with_name("fleet-overrides.json")
    file.write_bytes(file.read_bytes()[:-9])
    again = Director(one.file.parent, "lvs1", store)
    assert await again.fleet.load(again.config, shadow=False) == []
    (error,) = again.bench.of(StateError)
    assert "put aside as" in str(error)
    assert file.with_name("fleet-overrides.json.bad").exists()


async def test_a_file_that_hangs_lets_no_daemon_start(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _, _ = two
    monkeypatch.setattr(fleet_orders, "READ_S", 0.05)
    monkeypatch.setattr(fleet_orders, "read_orders", lambda *_, **__: time.sleep(0.3))
    with pytest.raises(HungError):
        await one.fleet.load(one.config, shadow=False)


async def test_etcd_that_refuses_to_say_what_is_ordered_is_told(two: Two) -> None:
    one, _, _ = two
    error = RefusedError("http://127.0.0.1:1", 7, "permission denied")
    for failures in range(4):
        one.fleet.fail(error, failures)
    (failed,) = one.bench.of(StoreFailed)
    assert "etcdctl role grant-permission" in str(failed)
    assert one.fleet.error
    one.fleet.hear()
    assert len(one.bench.of(StoreRecovered)) == 1
    assert not one.fleet.error


async def test_a_fleets_order_ends_though_a_wider_one_of_this_director_counts(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, fleet=True)
    await one.order("drain", everywhere=A)
    outcome = await one.order("enable", "web", A, fleet=True)
    assert not outcome.refused
    assert store.names == []


async def test_a_reload_without_etcd_ends_what_has_not_come_into_force_yet(two: Two) -> None:
    one, other, store = two
    await one.order("drain", "web", A, fleet=True)
    await other.turn()
    await other.order("enable", "web", A, fleet=True)
    assert one.bench.decisions.overrides.shared  # it has heard of the end, and not had its turn
    one.fleet.configured(one.of_fleet(one.config, store=""), shadow=False)
    await one.turn()
    assert not one.bench.decisions.overrides.shared
    assert store.names == []


async def test_orders_of_another_prefix_end_when_that_is_heard_and_are_not_lost(two: Two) -> None:
    one, _, store = two
    await one.order("drain", "web", A, fleet=True)
    one.fleet.configured(one.of_fleet(one.config, prefix="other/"), shadow=False)
    await one.turn()
    assert one.bench.decisions.overrides.shared
    one.fleet.take(Snapshot({}, 3, store.cluster))
    await one.turn()
    assert not one.bench.of(OverrideLost)
    (ended,) = one.bench.of(OverrideEnded)
    assert isinstance(ended, OverrideEnded)
    assert ended.why == "this director follows other orders now"


async def test_without_etcd_in_the_configuration_nothing_is_ordered_by_the_fleet(two: Two) -> None:
    one, _, _ = two
    await one.order("drain", "web", A, fleet=True)
    one.fleet.configured(one.of_fleet(one.config, store=""), shadow=False)
    await one.turn()
    assert one.in_kernel() == {A: 2, B: 1}
    assert "leave --fleet out" in (await one.order("drain", "web", A, fleet=True)).refused
