"""Servers that flap are told, and held out where the service damps that, but never all of them."""

import msgspec
import pytest

from lvs_healthd.config.model import Config, Damping
from lvs_healthd.events.kinds import (
    RealServerDamped,
    RealServerFlapping,
    RealServerReleased,
    ServiceFallback,
)
from lvs_healthd.health.machine import Verdict
from lvs_healthd.ipvs.records import Table
from lvs_healthd.plan.reasons import NOBODY_ELSE_REASON
from lvs_healthd.probes.outcome import Outcome
from lvs_healthd.state.file import SavedVerdict
from tests.configs import config, server, service
from tests.decide.test_decisions import CHECK_A, CHECK_B, FAIL, PASS, UNSURE, A, B, Bench, table_of

SPARE = "198.51.100.99"
DOWN, UP = (FAIL, FAIL, FAIL), (PASS, PASS)


def damped(damping: Damping | None, **keys: object) -> Config:
    given = service(server(A, weight=3), server(B), fallback=(SPARE,), **keys)  # type: ignore[arg-type]
    return config(msgspec.structs.replace(given, damping=damping))


DAMPED, PLAIN = damped(Damping()), damped(None)


def started(given: Config) -> Bench:
    bench = Bench()
    bench.configure(given, table_of(given))
    bench.feed(CHECK_B, PASS)
    return bench


def flap(bench: Bench, times: int) -> None:
    for _ in range(times):
        bench.feed(CHECK_A, *DOWN, *UP)


async def wait(bench: Bench, seconds: float) -> None:
    """Let time pass in which both servers are healthy."""
    end = bench.now + seconds
    while bench.now < end:
        bench.feed(CHECK_A, PASS)
        bench.feed(CHECK_B, PASS)
        await bench.decisions.flapping.turn()


def test_flapping_is_told_once_even_without_damping() -> None:
    bench = started(PLAIN)
    flap(bench, 3)
    assert bench.of(RealServerFlapping) == []
    flap(bench, 5)
    assert bench.of(RealServerFlapping) == [
        RealServerFlapping(service="web", server=f"{A}:80", reason="it fell 4 times within 10m", is_damped=False)
    ]
    assert bench.weights() == {A: 3, B: 1}
    assert bench.of(RealServerDamped) == []


async def test_damped_server_is_out_although_it_is_up_and_comes_back_when_it_is_steady() -> None:
    bench = started(DAMPED)
    flap(bench, 4)
    assert bench.verdict(A) is Verdict.UP
    assert bench.weights() == {B: 1}
    (told,) = bench.of(RealServerDamped)
    assert (told.for_s, told.times) == (60.0, 1)  # type: ignore[attr-defined]
    key = bench.decisions.services[0].key
    (why,) = (each.reason for line, each in bench.decisions.wanted({}).why.items() if line[1].address == A)
    assert why == "damped because it flaps, until it has been steady for 1m"
    await wait(bench, 50.0)
    assert bench.weights() == {B: 1}
    await wait(bench, 20.0)
    assert bench.weights() == {A: 3, B: 1}
    assert bench.of(RealServerReleased) == [RealServerReleased(service="web", server=f"{A}:80", verdict="up")]
    assert bench.decisions.service(key) is not None


async def test_next_hold_is_longer_and_the_episode_is_told_once() -> None:
    bench = started(DAMPED)
    flap(bench, 4)
    for times in (2, 3):
        await wait(bench, 60.0 * 2 ** (times - 1))
        assert bench.weights() == {A: 3, B: 1}
        flap(bench, 1)
        assert bench.weights() == {B: 1}
        told = bench.of(RealServerDamped)[-1]
        assert (told.for_s, told.times) == (60.0 * 2 ** (times - 1), times)  # type: ignore[attr-defined]
    assert len(bench.of(RealServerFlapping)) == 1
    await wait(bench, 240.0 + 610.0)
    flap(bench, 4)
    assert len(bench.of(RealServerFlapping)) == 2
    assert bench.of(RealServerDamped)[-1].times == 1  # type: ignore[attr-defined]


async def test_server_that_is_bad_every_other_second_and_never_falls_is_held_out() -> None:
    bench = started(DAMPED)
    for _ in range(40):
        bench.feed(CHECK_A, FAIL, PASS)
    assert bench.verdict(A) is Verdict.UP
    (told,) = bench.of(RealServerFlapping)
    assert "% of the probes of tcp fail" in told.reason  # type: ignore[attr-defined]
    assert bench.weights() == {B: 1}
    assert len(bench.of(RealServerDamped)) == 1
    await wait(bench, 70.0)
    assert bench.weights() == {A: 3, B: 1}


def test_unsure_outcomes_do_not_make_a_server_unsteady() -> None:
    """The passes before an unsure outcome still count."""
    bench = started(DAMPED)
    for _ in range(60):
        bench.feed(CHECK_A, *[PASS] * 9, UNSURE, FAIL, UNSURE)
    assert bench.of(RealServerFlapping) == []


def test_damping_never_empties_a_service_and_says_so() -> None:
    bench = started(DAMPED)
    flap(bench, 4)
    assert bench.weights() == {B: 1}
    bench.feed(CHECK_B, *DOWN)
    assert bench.weights() == {A: 3}
    (why,) = (each.reason for line, each in bench.decisions.wanted({}).why.items() if line[1].address == A)
    assert why.startswith(NOBODY_ELSE_REASON)
    assert bench.of(ServiceFallback) == []
    bench.feed(CHECK_B, *UP)
    assert bench.weights() == {B: 1}
    bench.feed(CHECK_B, *DOWN)
    bench.feed(CHECK_A, *DOWN)
    assert bench.weights() == {SPARE: 1}
    assert len(bench.of(ServiceFallback)) == 1


def test_all_servers_that_flap_serve_when_nobody_else_does() -> None:
    bench = started(DAMPED)
    for _ in range(4):
        bench.feed(CHECK_A, *DOWN, *UP)
        bench.feed(CHECK_B, *DOWN, *UP)
    assert bench.weights() == {A: 3, B: 1}


@pytest.mark.parametrize("outcomes", [(), DOWN])
def test_reload_keeps_what_is_known_and_follows_the_new_rule(outcomes: tuple[Outcome, ...]) -> None:
    bench = started(DAMPED)
    flap(bench, 4)
    bench.feed(CHECK_A, *outcomes)
    other = config(
        msgspec.structs.replace(service(server(A, weight=9), server(B), fallback=(SPARE,)), damping=Damping())
    )
    bench.configure(other)
    assert bench.weights() == {B: 1}


async def test_reload_without_damping_lets_go() -> None:
    bench = started(DAMPED)
    flap(bench, 4)
    bench.configure(PLAIN)
    await bench.decisions.flapping.turn()
    assert bench.weights() == {A: 3, B: 1}
    assert len(bench.of(RealServerReleased)) == 1


async def test_damped_server_stays_out_over_a_restart() -> None:
    bench = started(DAMPED)
    flap(bench, 4)
    table: Table = bench.decisions.wanted({}).table
    saved = [
        msgspec.json.decode(msgspec.json.encode(each), type=SavedVerdict) for each in bench.decisions.saved_verdicts()
    ]
    again = Bench()
    again.now = bench.now
    again.configure(DAMPED, table, saved)
    again.feed(CHECK_A, *UP)
    assert again.verdict(A) is Verdict.UP
    assert again.weights() == {B: 1}
    await wait(again, 60.0)
    assert again.weights() == {A: 3, B: 1}
    await wait(again, 700.0)
    assert all(server.flaps is None for server in again.decisions.servers)


async def test_nothing_is_remembered_of_a_server_that_has_been_healthy_for_long() -> None:
    bench = started(PLAIN)
    bench.feed(CHECK_A, FAIL, PASS)
    flap(bench, 1)
    await wait(bench, 610.0)
    assert all(
        watch.rate is None and server.flaps is None for server in bench.decisions.servers for watch in server.watches
    )
    assert len(bench.decisions.flapping._known) == 0


async def test_server_that_leaves_the_configuration_is_forgotten() -> None:
    bench = started(DAMPED)
    flap(bench, 4)
    bench.configure(config(service(server(B))))
    await bench.decisions.flapping.turn()
    assert len(bench.decisions.flapping._known) == 0
