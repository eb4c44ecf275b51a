"""Fallback servers with checks: what their outcomes change, what is told, and what a start, a reload and orders do."""

import msgspec

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.model import Below, Config, Damping, FallbackServer, MinUp
from lvs_healthd.events.kinds import (
    Event,
    FallbackDown,
    FallbackUp,
    RealServerDown,
    RealServerFlapping,
    ServiceFallback,
)
from lvs_healthd.health.machine import Verdict
from lvs_healthd.state.overrides import EVERYWHERE, Kind, Override
from tests.configs import config, server, service, tcp_check
from tests.decide.test_decisions import CHECK_A, CHECK_B, FAIL, PASS, A, B, Bench, table_of

NEAR, FAR, LAST = "198.51.100.91", "198.51.100.92", "198.51.100.93"
CHECK_NEAR, CHECK_FAR = tcp_check(NEAR, 80), tcp_check(FAR, 80)
DOWN, UP = (FAIL, FAIL, FAIL), (PASS, PASS)


def spare(address: str, tier: int, *checks: AnyCheck) -> FallbackServer:
    return FallbackServer(endpoint=Endpoint(address, 80), tier=tier, checks=checks)


SPARES = (spare(NEAR, 1, CHECK_NEAR), spare(FAR, 2, CHECK_FAR), spare(LAST, 3))


def given(*spares: FallbackServer) -> Config:
    plain = service(server(A), server(B))
    return config(msgspec.structs.replace(plain, fallback=spares or SPARES, damping=Damping(falls=2)))


def started() -> Bench:
    bench = Bench()
    both = config(service(server(A), server(B)))
    bench.configure(given(), table_of(both))
    bench.feed(CHECK_NEAR, *UP)
    bench.feed(CHECK_FAR, *UP)
    bench.weights()
    bench.events.clear()
    return bench


def fail_all(bench: Bench) -> None:
    bench.feed(CHECK_A, *DOWN)
    bench.feed(CHECK_B, *DOWN)


def test_lowest_tier_that_is_up_serves() -> None:
    bench = started()
    assert bench.weights() == {A: 1, B: 1}
    fail_all(bench)
    assert bench.weights() == {NEAR: 1}
    bench.feed(CHECK_NEAR, *DOWN)
    assert bench.weights() == {FAR: 1}
    bench.feed(CHECK_FAR, *DOWN)
    assert bench.weights() == {LAST: 1}
    bench.feed(CHECK_NEAR, *UP)
    assert bench.weights() == {NEAR: 1}
    bench.feed(CHECK_B, *UP)
    assert bench.weights() == {B: 1}


def test_only_fallback_servers_that_serve_are_told_to_be_in_use() -> None:
    bench = started()
    fail_all(bench)
    bench.weights()
    assert bench.of(ServiceFallback) == [ServiceFallback(service="web", fallback=(f"{NEAR}:80",))]


def test_fallback_of_which_all_are_down_is_not_told_to_be_in_use() -> None:
    bench = started()
    bench.configure(given(spare(NEAR, 1, CHECK_NEAR)))
    bench.feed(CHECK_NEAR, *DOWN)
    fail_all(bench)
    assert bench.weights() == {}
    assert bench.of(ServiceFallback) == [ServiceFallback(service="web", fallback=())]


def test_fallback_that_goes_down_is_told_but_is_no_real_server() -> None:
    bench = started()
    bench.feed(CHECK_NEAR, *DOWN, *UP, *DOWN)
    told: list[Event] = [*bench.of(FallbackDown), *bench.of(FallbackUp)]
    assert [(event.name, getattr(event, "server", "")) for event in told] == [
        ("fallback.down", f"{NEAR}:80"),
        ("fallback.down", f"{NEAR}:80"),
        ("fallback.up", f"{NEAR}:80"),
    ]
    assert bench.of(RealServerDown) == bench.of(RealServerFlapping) == []
    assert [each.key.address for each in bench.decisions.servers] == [A, B]
    assert bench.decisions.server_count == 2


def test_fallback_that_serves_at_a_start_goes_on_until_it_fails() -> None:
    bench = started()
    fail_all(bench)
    table = bench.decisions.wanted({}).table
    again = Bench()
    again.configure(given(), table)
    assert again.weights() == {NEAR: 1}
    again.feed(CHECK_NEAR, FAIL, FAIL)
    assert again.weights() == {NEAR: 1}
    again.feed(CHECK_NEAR, FAIL)
    assert again.weights() == {LAST: 1}  # the second tier has not been proven yet
    again.feed(CHECK_FAR, *UP)
    assert again.weights() == {FAR: 1}


def test_saved_verdict_of_a_fallback_is_remembered() -> None:
    bench = started()
    bench.feed(CHECK_NEAR, *DOWN)
    again = Bench()
    again.configure(given(), {}, [*bench.decisions.saved_verdicts()])
    (near, _, last) = again.decisions.services[0].spares
    assert (near.health.verdict, last.health.verdict) == (Verdict.DOWN, Verdict.UP)


def test_reload_keeps_what_is_known_of_a_fallback_and_drops_the_rest() -> None:
    bench = started()
    fail_all(bench)
    bench.feed(CHECK_NEAR, *DOWN)
    bench.configure(given(spare(NEAR, 1, CHECK_NEAR), spare(FAR, 1, CHECK_FAR), spare(LAST, 1)))
    assert bench.weights() == {FAR: 1, LAST: 1}
    bench.configure(given(spare(LAST, 1)))
    assert bench.weights() == {LAST: 1}
    assert {check.address for check in bench.decisions.probes} == {A, B}


def test_real_server_that_becomes_a_fallback_keeps_its_verdict() -> None:
    bench = started()
    bench.feed(CHECK_B, *DOWN)
    moved = msgspec.structs.replace(service(server(A)), fallback=(spare(B, 1, CHECK_B), spare(LAST, 2)))
    bench.configure(config(moved))
    bench.feed(CHECK_A, *DOWN)
    assert bench.weights() == {LAST: 1}


def test_machine_that_is_disabled_everywhere_is_no_fallback_either() -> None:
    bench = started()
    fail_all(bench)
    order = Override(kind=Kind.DISABLE, service=EVERYWHERE, server=NEAR, uid=0, since=0.0)
    bench.decisions.overrides.put(order)
    bench.decisions.reconsider(bench.decisions.services[0].members)
    assert bench.weights() == {FAR: 1}
    bench.decisions.overrides.remove(order)
    bench.decisions.reconsider(bench.decisions.services[0].members)
    assert bench.weights() == {NEAR: 1}


def test_fallback_that_a_reload_adds_takes_the_place_of_servers_that_are_up_only_once_it_is_proven() -> None:
    def needing_both(*spares: FallbackServer) -> Config:
        plain = service(server(A), server(B))
        below = Below.FALLBACK if spares else Below.NONE
        return config(msgspec.structs.replace(plain, fallback=spares, min_up=MinUp(count=2), below=below))

    bench = Bench()
    bench.configure(needing_both(), table_of(needing_both()))
    bench.feed(CHECK_A, *DOWN)
    assert bench.weights() == {B: 1}
    bench.configure(needing_both(spare(NEAR, 1, CHECK_NEAR)))
    assert bench.weights() == {B: 1}
    bench.feed(CHECK_NEAR, *UP)
    assert bench.weights() == {B: 0, NEAR: 1}
