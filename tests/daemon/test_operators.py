"""What operators order about servers: who is meant, what is refused, what is kept, and when it ends."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lvs_healthd.api.peers import Peer
from lvs_healthd.config.basics import Protocol
from lvs_healthd.config.model import Below, Config, Damping, MinUp, Mode
from lvs_healthd.daemon.operators import OperatorsHand
from lvs_healthd.events.kinds import (
    CheckFailing,
    OverrideEnded,
    OverrideEnding,
    OverrideSet,
    RealServerDown,
    RealServerDrained,
    StateError,
    TableChanged,
)
from lvs_healthd.health.damping import Flaps
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.kernel.statistics import NOTHING, ServiceStatistics, Statistics, encoded
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.state.overrides import Kind, read_overrides
from lvs_healthd.view.override_values import OverrideOutcome, OverrideRequest
from tests.configs import config, server, service, tcp_check
from tests.daemon.no_fleet import NoFleet
from tests.decide.test_decisions import FAIL, PASS, Bench
from tests.reconciling import Counts

A, B, C = "198.51.100.11", "198.51.100.12", "198.51.100.13"
ROOT = Peer(1, 0, frozenset())
WALL = 1_000_000.0
"""What the bench's wall clock is ahead of its monotonic one."""


def given(*, weight: int = 2, **keys: Any) -> Config:
    return config(
        service(server(A, weight=weight), server(B), **keys),
        service(server(A, 81), server(C, 81), name="other", address="192.0.2.101", port=81),
    )


class Counted(MemoryTable):
    """A table whose connections the test counts."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: dict[tuple[ServiceKey, DestinationKey], int] = {}
        self.asked = 0
        """How often the counts of a service were decoded."""

    def statistics(self, key: ServiceKey) -> ServiceStatistics | None:
        self.asked += 1
        entry = self.entries.get(key)
        if entry is None:
            return None
        rows = {
            each: encoded(msgspec.structs.replace(NO_COUNTS, active_connections=self.counts.get((key, each), 0)))
            for each in entry.destinations
        }
        return ServiceStatistics(tuple(rows), NOTHING + b"".join(rows.values()))


NO_COUNTS = Statistics(*[0] * 13)


class Site:
    """A daemon's decisions, with a table in memory, and the operators' hand on them."""

    def __init__(self, directory: Path) -> None:
        self.bench = Bench()
        self.file = directory / "overrides.json"
        self.table = Counted()
        self.shadow = False
        self.reconciler = Reconciler(
            self.table,
            self.bench.events.append,
            clock=lambda: self.bench.now,
            resync_s=10.0,
            shadow=False,
            observer=Counts(),
            suspects=list,
        )
        self.hand = OperatorsHand(
            self.bench.decisions,
            self.reconciler,
            self.bench.events.append,
            fleet=NoFleet(),
            file=lambda: None if self.shadow else self.file,
            replan=lambda: None,
            clock=lambda: self.bench.now,
            wall=lambda: self.bench.now + WALL,
        )

    async def start(self, configured: Config) -> None:
        await self.hand.load()
        await self.reconciler.open()
        self.bench.configure(configured, await self.reconciler.adopt())
        for probe in list(self.bench.decisions.probes.values()):
            self.bench.feed(probe.check, PASS, PASS)
        await self.settle()

    async def settle(self) -> None:
        """Write what is wanted, and read it back."""
        self.reconciler.want(self.bench.decisions.wanted(self.reconciler.actual), None)
        self.bench.now += 20.0
        await self.reconciler.turn()
        self.reconciler.want(self.bench.decisions.wanted(self.reconciler.actual), None)
        await self.reconciler.turn()

    async def order(self, verb: str, service: str = "", *servers: str, **keys: Any) -> OverrideOutcome:
        request = OverrideRequest(verb=verb, service=service, servers=servers, **keys)  # type: ignore[arg-type]
        return await self.hand.order(request, ROOT)

    def in_kernel(self, which: int = 0) -> dict[str, int]:
        key = self.bench.decisions.services[which].key
        entry = self.table.entries.get(key)
        return {each.address: record.weight for each, record in entry.destinations.items()} if entry else {}

    def connect(self, address: str, count: int) -> None:
        key = self.bench.decisions.services[0].key
        destination = next(each for each in self.table.entries[key].destinations if each.address == address)
        self.table.counts[key, destination] = count


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    made = Site(tmp_path)
    await made.start(given())
    assert made.in_kernel() == {A: 2, B: 1}
    return made


async def test_drained_server_keeps_its_connections_and_leaves_when_they_are_gone(site: Site) -> None:
    outcome = await site.order("drain", "web", A, reason="kernel update")
    assert [(each.server, each.state, each.was_changed) for each in outcome.servers] == [(f"{A}:80", "drained", True)]
    site.connect(A, 2)
    await site.settle()
    assert site.in_kernel() == {A: 0, B: 1}
    await site.hand.turn()
    await site.settle()
    assert site.in_kernel() == {A: 0, B: 1}
    site.connect(A, 0)
    await site.settle()
    await site.hand.turn()
    await site.settle()
    assert site.in_kernel() == {B: 1}
    (told,) = site.bench.of(RealServerDrained)
    assert isinstance(told, RealServerDrained)
    assert (told.service, told.server, told.reason) == ("web", f"{A}:80", "no connections left")
    await site.order("enable", "web", A)
    await site.settle()
    assert site.in_kernel() == {A: 2, B: 1}


async def test_count_from_before_the_drain_is_not_believed(site: Site) -> None:
    await site.order("drain", "web", A)
    await site.hand.turn()  # the table was read before, when the server had no connections
    assert not site.bench.of(RealServerDrained)


async def test_deadline_removes_a_server_with_connections(site: Site) -> None:
    await site.order("drain", "web", A, deadline=site.bench.now + WALL + 60)
    site.connect(A, 7)
    await site.settle()
    await site.hand.turn()
    assert not site.bench.of(RealServerDrained)
    site.bench.now += 60
    await site.settle()
    await site.hand.turn()
    await site.settle()
    assert site.in_kernel() == {B: 1}
    (told,) = site.bench.of(RealServerDrained)
    assert isinstance(told, RealServerDrained)
    assert told.reason == "deadline passed: 7 connections are cut off"


async def test_disabled_server_is_out_and_its_failures_alarm_nobody(site: Site) -> None:
    await site.order("disable", "web", A, reason="broken disk")
    await site.settle()
    assert site.in_kernel() == {B: 1}
    site.bench.feed(tcp_check(A, 80), FAIL, FAIL, FAIL)
    assert not [each for each in site.bench.of(CheckFailing) if each.server == f"{A}:80"]  # type: ignore[attr-defined]
    (down,) = site.bench.of(RealServerDown)
    assert down.level == "info"
    await site.order("enable", "web", A)
    await site.settle()
    assert site.in_kernel() == {B: 1}  # it is down all the same
    site.bench.feed(tcp_check(A, 80), PASS, PASS)
    await site.settle()
    assert site.in_kernel() == {A: 2, B: 1}


async def test_weight_is_the_operator_s_until_it_is_auto_again(site: Site) -> None:
    await site.order("weight", "web", A, weight=9, reason="new hardware")
    await site.settle()
    assert site.in_kernel() == {A: 9, B: 1}
    changed = site.bench.of(TableChanged)[-1]
    assert isinstance(changed, TableChanged)
    assert changed.reason == "weight 9 by uid 0: new hardware; connected"
    outcome = await site.order("weight", "web", A)
    await site.settle()
    assert site.in_kernel() == {A: 2, B: 1}
    assert outcome.servers[0].weight == 2


async def test_everywhere_means_one_machine_in_all_services_also_later_ones(site: Site) -> None:
    outcome = await site.order("drain", everywhere=A, reason="reboot")
    assert [(each.service, each.server) for each in outcome.servers] == [("web", f"{A}:80"), ("other", f"{A}:81")]
    refused = await site.order("enable", "web", A)
    assert refused.refused == (
        f"{A}:80 is drained in all services by uid 0: reboot; lvs-healthd enable --everywhere {A}"
    )
    third = service(server(A, 82), server(B, 82), name="third", address="192.0.2.102", port=82)
    site.bench.configure(msgspec.structs.replace(given(), services=(*given().services, third)))
    assert site.bench.decisions.services[2].servers[0].hand is not None
    await site.order("enable", everywhere=A)
    assert all(each.hand is None for each in site.bench.decisions.servers)


async def test_order_that_would_leave_a_service_with_nobody_needs_force(site: Site) -> None:
    outcome = await site.order("drain", "web")
    assert outcome.refused == 'this would leave "web" without a real server that may serve; --force if that is meant'
    await site.order("drain", "web", A)
    assert "without a real server" in (await site.order("disable", "web", B)).refused
    assert "without a real server" in (await site.order("weight", "web", B, weight=0)).refused
    assert not (await site.order("disable", "web", B, force=True)).refused
    # A service that has nobody anyway is left with no less.
    assert not (await site.order("drain", "web", B)).refused


@pytest.mark.parametrize(
    ("min_up", "lack"),
    [
        (MinUp(count=2), "1 that may serve, less than its min_up of 2"),
        (MinUp(weight=2), "a weight of 1 that may serve"),
    ],
)
async def test_order_that_would_leave_less_than_min_up_needs_force(tmp_path: Path, min_up: MinUp, lack: str) -> None:
    one, other = given().services
    site = Site(tmp_path)
    await site.start(config(msgspec.structs.replace(one, min_up=min_up), other))
    assert f'this would leave "web" with {lack}' in (await site.order("drain", "web", A)).refused
    assert not (await site.order("drain", "web", A, force=True)).refused
    # A service that has too few anyway may have fewer, but not none.
    assert "without a real server" in (await site.order("drain", "web", B)).refused


async def test_order_that_would_take_out_all_servers_of_a_service_that_fails_open_needs_force(tmp_path: Path) -> None:
    one, other = given().services
    site = Site(tmp_path)
    await site.start(config(msgspec.structs.replace(one, below=Below.FAIL_OPEN), other))
    for address in (A, B):
        site.bench.feed(tcp_check(address, 80), FAIL, FAIL, FAIL)
    await site.settle()
    assert site.in_kernel() == {A: 2, B: 1}
    assert not (await site.order("disable", "web", A)).refused
    assert 'would leave "web" without a server, while it fails open' in (await site.order("disable", "web", B)).refused
    await site.settle()
    assert site.in_kernel() == {B: 1}


async def test_orders_about_fallback_servers(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.start(config(service(server(A), fallback=(B,)), *given().services[1:]))
    # An order for the whole service is not about its fallback, and one for a machine is.
    assert [each.server for each in (await site.order("drain", "web", force=True)).servers] == [f"{A}:80"]
    await site.settle()
    assert "without a fallback server, while its fallback serves" in (await site.order("disable", "web", B)).refused
    outcome = await site.order("disable", everywhere=B, force=True)
    assert [(each.service, each.server) for each in outcome.servers] == [("web", f"{B}:80")]
    await site.settle()
    assert site.in_kernel() == {A: 0}
    await site.order("enable", everywhere=B)
    await site.settle()
    assert site.in_kernel() == {A: 0, B: 1}


@pytest.mark.parametrize(
    ("service_word", "words", "meant"),
    [
        ("web", (), [f"{A}:80", f"{B}:80"]),
        ("192.0.2.100:80", (A,), [f"{A}:80"]),
        ("*", ("*.11:*",), [f"{A}:80", f"{A}:81"]),
        ("w?b", (f"{B}:80", A), [f"{B}:80", f"{A}:80"]),
    ],
)
async def test_names_addresses_and_wildcards(
    site: Site, service_word: str, words: tuple[str, ...], meant: list[str]
) -> None:
    outcome = await site.order("weight", service_word, *words, weight=5)
    assert [each.server for each in outcome.servers] == meant


@pytest.mark.parametrize(
    ("keys", "refused"),
    [
        ({"service": "wbe"}, 'no service is called "wbe" or has that address'),
        ({"service": "web", "servers": ("192.0.2.9",)}, 'no real server of "web" has the address 192.0.2.9'),
        ({"everywhere": "192.0.2.9"}, "no service has a real server with the address 192.0.2.9"),
    ],
)
async def test_unknown_names_change_nothing(site: Site, keys: dict[str, Any], refused: str) -> None:
    outcome = await site.hand.order(OverrideRequest(verb="drain", **keys), ROOT)
    assert (outcome.refused, outcome.is_usage) == (refused, True)
    assert not site.file.exists()


async def test_orders_survive_a_restart_and_a_reload_that_takes_the_server_away(site: Site, tmp_path: Path) -> None:
    await site.order("drain", "web", A, reason="kernel update")
    await site.order("weight", "web", A, weight=7)
    site.bench.configure(config(service(server(B))))
    site.bench.configure(given())
    hand = site.bench.decisions.services[0].servers[0].hand
    assert hand is not None
    assert (hand.state, hand.weight) == ("drained", 7)
    after = Site(tmp_path)
    after.table.entries = site.table.entries
    await after.start(given())
    assert after.in_kernel().get(A, 0) == 0
    assert [(each.kind, each.server, each.uid) for each in after.bench.decisions.overrides] == [
        (Kind.DRAIN, f"{A}:80", 0),
        (Kind.WEIGHT, f"{A}:80", 0),
    ]


async def test_order_ends_by_itself_and_is_told_before(site: Site) -> None:
    until = site.bench.now + WALL + 7200
    await site.order("disable", "web", A, until=until, reason="tonight")
    await site.hand.turn()
    assert not site.bench.of(OverrideEnding)
    site.bench.now += 7200 - 500
    await site.hand.turn()
    await site.hand.turn()
    (ending,) = site.bench.of(OverrideEnding)
    assert isinstance(ending, OverrideEnding)
    assert (ending.in_s, ending.reason) == (500.0, "tonight")
    site.bench.now += 500
    await site.hand.turn()
    (ended,) = site.bench.of(OverrideEnded)
    assert isinstance(ended, OverrideEnded)
    assert (ended.why, ended.after_s) == ("its time is over", 7200.0)
    assert read_overrides(site.file) == ()
    await site.settle()
    assert site.in_kernel() == {A: 2, B: 1}


async def test_order_that_cannot_be_kept_is_not_carried_out(site: Site) -> None:
    site.file.mkdir()
    outcome = await site.order("disable", "web", A)
    assert "the order is not accepted" in outcome.refused
    await site.settle()
    assert site.in_kernel() == {A: 2, B: 1}
    assert not site.bench.of(OverrideSet)


async def test_shadow_mode_takes_no_orders(site: Site) -> None:
    site.shadow = True
    assert "shadow mode" in (await site.order("drain", "web", A)).refused


async def test_file_that_is_no_such_file_is_put_aside_and_told(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.file.write_text("{")
    await site.start(given())
    (error,) = site.bench.of(StateError)
    assert isinstance(error, StateError)
    assert "put aside" in error.error
    assert (tmp_path / "overrides.json.bad").exists()


async def test_what_a_newer_daemon_adds_is_passed_over_and_the_rest_is_kept(tmp_path: Path) -> None:
    site = Site(tmp_path)
    order = {"kind": "drain", "service": "192.0.2.100:80/tcp", "server": f"{A}:80", "uid": 0, "since": 5.0, "new": 1}
    site.file.write_text(json.dumps({"format": 2, "more": {}, "overrides": [order, order | {"kind": "park"}]}))
    await site.start(given())
    assert site.in_kernel() == {B: 1}


@pytest.mark.parametrize(
    ("keys", "advice"),
    [
        ({"persistence": 300.0}, "clients stay with their server for up to 300s"),
        ({"scheduler": "sh"}, "the scheduler sh refuses the new clients whose hash is that of the server, unless"),
        ({"scheduler": "dh"}, "the scheduler dh refuses the new clients"),
        ({"protocol": Protocol.UDP}, "a udp flow lasts as long as its client goes on sending"),
        ({"mode": Mode.SHADOW}, "its mode is shadow: nothing of it is written, so its servers go on serving"),
        ({}, ""),
    ],
)
async def test_drain_says_what_will_keep_feeding_the_server(tmp_path: Path, keys: dict[str, Any], advice: str) -> None:
    site = Site(tmp_path)
    await site.start(given(**keys))
    outcome = await site.order("drain", "web", A)
    assert len(outcome.advice) == bool(advice)
    assert advice in "".join(outcome.advice)


async def test_server_that_was_empty_in_an_ended_drain_keeps_its_connections_in_the_next_one(site: Site) -> None:
    """The first drain ends while the server is not configured."""
    await site.order("drain", "web", A, until=site.bench.now + WALL + 60)
    await site.settle()
    await site.hand.turn()
    assert len(site.bench.of(RealServerDrained)) == 1
    site.bench.configure(config(service(server(B))), site.reconciler.actual)
    site.bench.now += 60
    await site.hand.turn()
    assert len(site.bench.of(OverrideEnded)) == 1
    site.bench.configure(given(), site.reconciler.actual)
    for probe in list(site.bench.decisions.probes.values()):
        site.bench.feed(probe.check, PASS, PASS)
    await site.settle()
    assert site.in_kernel() == {A: 2, B: 1}
    site.connect(A, 3)
    await site.order("drain", "web", A)
    await site.settle()
    assert site.in_kernel() == {A: 0, B: 1}


async def test_order_that_ended_while_the_daemon_was_down_is_not_told_to_end_soon(site: Site, tmp_path: Path) -> None:
    await site.order("drain", "web", A, until=site.bench.now + WALL + 60)
    again = Site(tmp_path)
    again.bench.now = site.bench.now + 3600
    await again.start(given())
    await again.hand.turn()
    assert len(again.bench.of(OverrideEnded)) == 1
    assert not again.bench.of(OverrideEnding)


async def test_orders_move_to_another_file(site: Site, tmp_path: Path) -> None:
    await site.order("drain", "web", A)
    site.file = tmp_path / "elsewhere" / "overrides.json"
    await site.hand.move(site.file)
    assert [(each.kind, each.server) for each in read_overrides(site.file)] == [(Kind.DRAIN, f"{A}:80")]


async def test_orders_come_into_force_when_shadow_mode_ends(site: Site, tmp_path: Path) -> None:
    """Otherwise the server would be put back, and the next order would overwrite the others."""
    await site.order("disable", "web", A)
    again = Site(tmp_path)
    again.shadow = True
    await again.start(given())
    assert again.in_kernel() == {A: 2, B: 1}
    await again.hand.move(again.file)
    again.shadow = False
    await again.settle()
    assert again.in_kernel() == {B: 1}
    await again.order("drain", "other", A)
    assert [each.kind for each in read_overrides(again.file)] == [Kind.DISABLE, Kind.DRAIN]


async def test_reload_while_an_order_is_written_does_not_lose_it(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def written_late(*_: object, **__: object) -> None:
        site.bench.configure(given(weight=5), site.reconciler.actual)

    monkeypatch.setattr("lvs_healthd.daemon.orders_file.in_thread", written_late)
    outcome = await site.order("disable", "web", A)
    assert [(each.server, each.state) for each in outcome.servers] == [(f"{A}:80", "disabled")]
    for probe in [each for each in site.bench.decisions.probes.values() if each.key.address == A]:
        site.bench.feed(probe.check, *[FAIL] * 3, *[PASS] * 3)
    await site.settle()
    assert site.in_kernel() == {B: 1}


async def test_deadline_for_all_services_is_not_that_of_a_service_with_its_own_order(site: Site) -> None:
    await site.order("drain", everywhere=A, deadline=site.bench.now + WALL + 60)
    await site.order("drain", "web", A, deadline=site.bench.now + WALL + 3600)
    site.connect(A, 7)
    site.bench.now += 60
    await site.settle()
    await site.hand.turn()
    await site.settle()
    assert site.in_kernel() == {A: 0, B: 1}


@pytest.mark.parametrize("word", ["[2001:db8::*]:80", "[2001:db8::1]:*", "2001:db8::*", "[2001:DB8::1]:80", "*:80"])
async def test_wildcards_in_addresses_of_ipv6(tmp_path: Path, word: str) -> None:
    site = Site(tmp_path)
    await site.start(config(service(server("2001:db8::1"), server("2001:db9::1"), address="2001:db8::100")))
    outcome = await site.order("drain", "web", word, force=True)
    assert [each.server for each in outcome.servers][:1] == ["[2001:db8::1]:80"]


async def test_order_about_the_damped_servers_that_serve_because_no_other_may_needs_force(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.start(config(msgspec.structs.replace(service(server(A), server(B)), damping=Damping())))
    servers = list(site.bench.decisions.servers)
    for each in servers:
        until = site.bench.now + 3600
        site.bench.decisions.flapping.keep(each, Flaps(since=site.bench.now, last=site.bench.now, holds=1, until=until))
    site.bench.decisions.reconsider(servers)
    await site.settle()
    assert site.in_kernel() == {A: 1, B: 1}
    assert "without a real server" in (await site.order("disable", "web")).refused
    assert not (await site.order("disable", "web", A)).refused
    assert "without a real server" in (await site.order("drain", "web", B)).refused


@pytest.mark.parametrize(
    ("given_as", "taken_back_as"),
    [
        ({"service": "other", "servers": (C,)}, {"service": "other", "servers": (C,)}),
        ({"service": "other", "servers": (C,)}, {"service": "192.0.2.101:81", "servers": ("*.13:*",)}),
        ({"everywhere": C}, {"everywhere": C}),
    ],
)
@pytest.mark.parametrize("is_service_kept", [True, False])
async def test_order_about_a_server_that_has_left_the_configuration_can_be_taken_back(
    site: Site, given_as: dict[str, Any], taken_back_as: dict[str, Any], *, is_service_kept: bool
) -> None:
    await site.hand.order(OverrideRequest(verb="drain", **given_as), ROOT)
    web, other = given().services
    kept = [msgspec.structs.replace(other, real_servers=other.real_servers[:1])] if is_service_kept else []
    site.bench.configure(config(web, *kept), site.reconciler.actual)
    assert "no real server" in (await site.order("enable", "web", A, C)).refused
    asked = OverrideRequest(verb="enable", **taken_back_as)
    outcome = await site.hand.order(asked, ROOT)
    if not is_service_kept and taken_back_as.get("service") == "other":
        assert outcome.refused  # its name has gone with it
        return
    assert not outcome.refused
    (told,) = outcome.advice
    assert "is not configured now; it is not drained" in told
    assert read_overrides(site.file) == ()
    assert (await site.hand.order(asked, ROOT)).is_usage


async def test_disabling_for_a_while_does_not_end_a_drain_that_lasts_longer(site: Site) -> None:
    now = site.bench.now + WALL
    await site.order("drain", "web", A)
    refused = (await site.order("disable", "web", A, until=now + 60.0)).refused
    assert refused.startswith(f"{A}:80 is drained")
    assert "leave --for and --until out" in refused
    assert (await site.order("disable", "web", A)).refused == ""
    assert (await site.order("disable", "web", A, until=now + 60.0)).refused == ""  # the same order with an end
    assert (await site.order("drain", "web", A, until=now + 120.0)).refused == ""


async def test_large_service_is_drained_without_looking_at_all_its_servers_for_each_one(tmp_path: Path) -> None:
    site = Site(tmp_path)
    await site.start(config(service(*(server(f"198.51.{100 + each // 250}.{each % 250 + 1}") for each in range(500)))))
    outcome = await site.order("drain", "web", force=True)
    assert len(outcome.servers) == 500
    assert all(each.state == "drained" and each.was_changed for each in outcome.servers)
    await site.settle()
    site.table.asked = 0
    site.bench.now += 1.0
    await site.hand.turn()
    assert len(site.bench.of(RealServerDrained)) == 500
    assert site.table.asked == 1
    await site.settle()
    assert site.in_kernel() == {}
    await site.order("enable", "web")
    await site.settle()
    assert len(site.in_kernel()) == 500
