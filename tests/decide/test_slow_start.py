"""A server that comes back gets its weight little by little, and no server does when the daemon starts."""

import msgspec
import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.model import Config, Damping
from lvs_healthd.health.damping import Flaps
from lvs_healthd.ipvs.records import Table
from lvs_healthd.probes.outcome import Outcome
from lvs_healthd.state.file import SavedVerdict
from lvs_healthd.state.overrides import Kind, Override
from tests.configs import config, server, service, tcp_check
from tests.decide.test_decisions import CHECK_A, CHECK_B, FAIL, PASS, A, B, Bench, table_of

DOWN, UP = (FAIL, FAIL, FAIL), (PASS, PASS)
C = "198.51.100.13"


def slow(seconds: float = 20.0, weight: int = 100, *more: str) -> Config:
    servers = (server(A, weight=weight), server(B, weight=weight), *(server(each, weight=weight) for each in more))
    return config(msgspec.structs.replace(service(*servers), slow_start=Seconds(seconds)))


SLOW = slow()


def started(given: Config = SLOW, actual: Table | None = None) -> Bench:
    bench = Bench()
    bench.configure(given, table_of(given) if actual is None else actual)
    return bench


def why(bench: Bench) -> str:
    """Return the reason of A's line in the wanted table."""
    wanted = bench.decisions.wanted({})
    (line,) = [each for each in wanted.why if each[1].address == A]
    return wanted.why[line].reason


async def later(bench: Bench, seconds: float) -> None:
    bench.now += seconds
    await bench.decisions.slow_starts.turn()


async def test_server_that_recovers_gets_its_weight_little_by_little() -> None:
    bench = started()
    bench.feed(CHECK_A, *DOWN, *UP)
    assert bench.weights() == {A: 5, B: 100}
    assert why(bench) == "slow start at 5%; connected"
    await later(bench, 5.0)
    assert bench.weights() == {A: 25, B: 100}
    await later(bench, 14.9)
    assert bench.weights() == {A: 95, B: 100}
    await later(bench, 0.2)
    assert bench.weights() == {A: 100, B: 100}
    assert why(bench) == "connected"


async def test_no_share_ever_shrinks_and_there_are_at_most_twenty_steps() -> None:
    bench = started(slow(7.0, 1000))
    bench.feed(CHECK_A, *DOWN, *UP)
    seen = [bench.weights()[A]]
    for _ in range(80):
        await later(bench, 0.1)
        seen.append(bench.weights()[A])
    assert seen == sorted(seen)
    assert seen[-1] == 1000
    assert len(set(seen)) == 20


async def test_weight_is_rounded_up_so_that_a_server_that_may_serve_does() -> None:
    bench = started(slow(20.0, 3))
    bench.feed(CHECK_A, *DOWN, *UP)
    assert bench.weights() == {A: 1, B: 3}


async def test_server_that_falls_again_begins_again() -> None:
    bench = started()
    bench.feed(CHECK_A, *DOWN, *UP)
    await later(bench, 10.0)
    bench.feed(CHECK_A, *DOWN)
    assert bench.weights() == {B: 100}
    bench.feed(CHECK_A, *UP)
    assert bench.weights() == {A: 5, B: 100}


async def test_nothing_starts_slowly_when_the_daemon_starts() -> None:
    bench = started(SLOW, {})
    bench.feed(CHECK_A, *UP)
    bench.feed(CHECK_B, *UP)
    assert bench.weights() == {A: 100, B: 100}
    bench.feed(CHECK_B, *DOWN, *UP)
    assert bench.weights() == {A: 100, B: 5}


async def test_server_that_was_down_before_the_restart_has_recovered() -> None:
    down = SavedVerdict(
        service="192.0.2.100:80/tcp", server=f"{A}:80", check="tcp", verdict="down", detail="refused", since=0.0
    )
    bench = Bench()
    bench.configure(SLOW, {}, [down])
    bench.feed(CHECK_A, *UP)
    bench.feed(CHECK_B, *UP)
    assert bench.weights() == {A: 5, B: 100}


async def test_slow_start_goes_on_after_a_restart() -> None:
    bench = started()
    bench.feed(CHECK_A, *DOWN, *UP)
    await later(bench, 5.0)
    saved = [*bench.decisions.saved_verdicts()]
    again = Bench()
    again.now = bench.now + 5.0
    again.configure(SLOW, table_of(SLOW), saved)
    assert again.weights() == {A: 50, B: 100}
    await later(again, 10.0)
    assert again.weights() == {A: 100, B: 100}


async def test_server_that_a_reload_brings_comes_slowly_and_an_edited_one_goes_on() -> None:
    bench = started()
    bench.feed(CHECK_A, *DOWN, *UP)
    await later(bench, 5.0)
    bench.configure(slow(20.0, 200, C))
    assert bench.weights() == {A: 50, B: 200}
    bench.feed(tcp_check(C, 80), *UP)
    assert bench.weights() == {A: 50, B: 200, C: 10}


@pytest.mark.parametrize("seconds", [0.0, 20.0])
async def test_slow_start_that_is_taken_away_or_given_by_a_reload(seconds: float) -> None:
    bench = started(slow(20.0 - seconds))
    bench.feed(CHECK_A, *DOWN, *UP)
    bench.feed(CHECK_B, *DOWN)
    bench.configure(slow(seconds))
    await later(bench, 0.5)
    assert bench.weights() == {A: 100}
    bench.feed(CHECK_B, *UP)
    assert bench.weights() == {A: 100, B: 5 if seconds else 100}


def order(kind: Kind, weight: int | None = None) -> Override:
    return Override(kind=kind, service="192.0.2.100:80/tcp", server=f"{A}:80", weight=weight, uid=0, since=0.0)


async def test_server_that_an_operator_enables_comes_back_slowly() -> None:
    bench = started()
    drain = order(Kind.DRAIN)
    bench.decisions.overrides.put(drain)
    bench.decisions.reconsider(bench.decisions.servers)
    assert bench.weights() == {B: 100}
    bench.decisions.overrides.remove(drain)
    bench.decisions.reconsider(bench.decisions.servers)
    assert bench.weights() == {A: 5, B: 100}


async def test_an_operators_weight_is_shared_out_too() -> None:
    bench = started()
    bench.decisions.overrides.put(order(Kind.WEIGHT, 40))
    bench.decisions.reconsider(bench.decisions.servers)
    assert bench.weights() == {A: 40, B: 100}
    bench.feed(CHECK_A, *DOWN, *UP)
    assert bench.weights() == {A: 2, B: 100}
    assert why(bench) == "slow start at 5%; weight 40 by uid 0; connected"


async def test_dropped_servers_are_forgotten() -> None:
    bench = started()
    bench.feed(CHECK_A, *DOWN)
    bench.feed(CHECK_B, *DOWN, *UP)
    bench.configure(config())
    assert bench.decisions.slow_starts.is_idle


async def test_service_without_slow_start_notes_nothing() -> None:
    bench = started(slow(0.0))
    bench.feed(CHECK_A, *DOWN, *UP)
    assert bench.weights() == {A: 100, B: 100}
    assert bench.decisions.slow_starts.is_idle


@pytest.mark.parametrize(("b_finds", "after"), [(DOWN, {A: 100}), (UP, {A: 5, B: 100})])
async def test_server_that_is_not_damped_any_more_comes_slowly_unless_it_has_served_all_the_time(
    b_finds: tuple[Outcome, ...], after: dict[str, int]
) -> None:
    given = slow()
    damps = msgspec.structs.replace(given.services[0], damping=Damping())
    bench = started(msgspec.structs.replace(given, services=(damps,)))
    held = next(each for each in bench.decisions.servers if each.key.address == A)
    bench.decisions.flapping.keep(held, Flaps(since=bench.now, last=bench.now, holds=1, until=bench.now + 60.0))
    bench.decisions.reconsider([held])
    bench.feed(CHECK_B, *b_finds)
    assert bench.weights() == ({A: 100} if b_finds is DOWN else {B: 100})
    bench.now += 61.0
    await bench.decisions.flapping.turn()
    assert held.special is None or held.special.state is None
    assert bench.weights() == after


async def test_server_whose_weight_a_reload_raises_from_0_comes_back_slowly() -> None:
    def given(weight: int) -> Config:
        return config(
            msgspec.structs.replace(service(server(A, weight=weight), server(B, weight=100)), slow_start=Seconds(20.0))
        )

    bench = started(given(0))
    assert bench.weights() == {A: 0, B: 100}
    bench.configure(given(100))
    assert bench.weights() == {A: 5, B: 100}
    await later(bench, 10.0)
    bench.configure(given(200))
    assert bench.weights() == {A: 100, B: 100}


async def test_server_without_a_weight_that_an_operator_gives_one_comes_slowly() -> None:
    given = config(
        msgspec.structs.replace(service(server(A, weight=0), server(B, weight=100)), slow_start=Seconds(20.0))
    )
    bench = started(given)
    bench.decisions.overrides.put(order(Kind.WEIGHT, 100))
    bench.decisions.reconsider(bench.decisions.servers)
    assert bench.weights() == {A: 5, B: 100}


async def test_what_is_ordered_or_asked_before_the_first_passes_makes_no_start_slow() -> None:
    bench = started(SLOW, {})
    bench.decisions.overrides.put(order(Kind.WEIGHT, 40))
    bench.decisions.reconsider(bench.decisions.servers)
    bench.feed(CHECK_A, *UP)
    bench.feed(CHECK_B, *UP)
    assert bench.weights() == {A: 40, B: 100}
