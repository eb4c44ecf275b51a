"""The schedule, driven by hand: spread, absolute times, no overlap, lag."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.probes.outcome import Course, up
from lvs_healthd.probing.deadlines import TICK_S
from lvs_healthd.probing.flight import Run
from lvs_healthd.probing.scheduler import JITTER_SHARE, next_due, stable_share
from lvs_healthd.runtime.pace import LONG_SLICE_S, SLICE_S
from tests.probing.turns import Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_each_probe_runs_once_an_interval(bench: Bench) -> None:
    bench.probes("a", "b")
    bench.run(20.0)
    for key in ("a", "b"):
        times = bench.times(key)
        assert 19 <= len(times) <= 21
        gaps = [after - before for before, after in itertools.pairwise(times[1:])]
        assert all(math.isclose(gap, 1.0, abs_tol=TICK_S + 1e-6) for gap in gaps)


def test_due_times_are_absolute_and_do_not_drift(bench: Bench) -> None:
    bench.probes("a")
    bench.run(1000.0)
    assert 999 <= len(bench.times("a")) <= 1001


def test_starts_are_spread_over_the_interval(bench: Bench) -> None:
    bench.probes(*[f"check {n}" for n in range(1000)], interval_s=2.0)
    bench.run(10.0)
    begin = bench.now - 4.0
    per_tick = [0] * 40
    for at, _ in bench.starts:
        if begin <= at < begin + 2.0:
            per_tick[int((at - begin) / TICK_S)] += 1
    assert max(per_tick) < 3 * 1000 / 40
    assert min(per_tick) > 0


def test_first_probes_do_not_wait_a_long_interval(bench: Bench) -> None:
    bench.probes(*[f"check {n}" for n in range(20)], interval_s=60.0)
    bench.run(0.6)
    assert len({key for _, key in bench.starts}) == 20


def test_second_turn_is_not_on_the_heels_of_the_early_first_one(bench: Bench) -> None:
    bench.probes(*[f"check {n}" for n in range(200)], interval_s=4.0)
    bench.run(12.0)
    gaps = [bench.times(f"check {n}")[1] - bench.times(f"check {n}")[0] for n in range(200)]
    assert min(gaps) >= 2.0 - TICK_S
    assert max(gaps) <= 6.0 + TICK_S


def test_spread_is_the_same_after_a_restart() -> None:
    """Phases depend on the clock and the key, not on the process."""
    first, second = Bench(), Bench()
    first.probes("a", interval_s=7.0)
    first.run(70.0)
    second.now += 20.0
    second.probes("a", interval_s=7.0)
    second.run(50.0)
    assert first.times("a")[-1] == second.times("a")[-1]


def test_probe_still_under_way_is_not_started_again(bench: Bench) -> None:
    bench.engine.answers_at_once = False
    bench.probes("slow")
    bench.run(5.0)
    assert len(bench.engine.under_way) == 1
    assert bench.skips >= 4
    bench.engine.under_way.pop().ended(up("at last"), Course(0.0))
    bench.run(1.1)
    assert len(bench.engine.under_way) == 1


def test_missed_turn_is_made_up_for_as_soon_as_the_slow_probe_has_ended(bench: Bench) -> None:
    """Otherwise a timeout a little above the interval would halve the rate and double the time to detection."""
    bench.engine.answers_at_once = False
    bench.probes("slow")
    begun = bench.now
    ends: list[float] = []
    while len(ends) < 10:
        bench.run(TICK_S)
        for run in list(bench.engine.under_way):
            if not ends or bench.now - ends[-1] >= 1.2:
                bench.engine.under_way.remove(run)
                ends.append(bench.now)
                run.ended(up("slowly"), Course(1.2))
    assert bench.now - begun <= 1.0 + 10 * (1.2 + 2 * TICK_S)
    assert len(bench.engine.under_way) <= 1


def test_fast_probe_after_slow_ones_runs_at_its_interval_again(bench: Bench) -> None:
    bench.engine.answers_at_once = False
    bench.probes("a")
    bench.run(5.0)
    bench.engine.answers_at_once = True
    bench.engine.under_way.pop().ended(up("at last"), Course(0.0))
    count = len(bench.times("a"))
    bench.run(20.0)
    assert 20 <= len(bench.times("a")) - count <= 22


def test_late_loop_runs_each_probe_once_not_once_per_missed_turn(bench: Bench) -> None:
    bench.probes("a")
    bench.run(3.0)
    count = len(bench.times("a"))
    bench.now += 30.0
    bench.scheduler.tick()
    assert len(bench.times("a")) == count + 1
    assert bench.lags[-1] > 28.0
    bench.run(1.0)
    assert len(bench.times("a")) <= count + 2


def test_ticks_in_time_are_not_late_however_much_they_do(bench: Bench) -> None:
    engine = bench.engine
    real = engine.start

    def slow(run: Run) -> None:
        bench.now += 0.001
        engine.wake()  # as when the first probe of all is under way
        real(run)

    engine.start = slow  # type: ignore[method-assign]
    bench.probes(*[f"check {n}" for n in range(20)], interval_s=5.0)
    for _ in range(200):
        bench.now = max(bench.now, bench.scheduler.next_wake)
        bench.scheduler.tick()
    assert max(bench.late) == 0.0


def test_a_reload_hides_no_pause(bench: Bench) -> None:
    bench.probes("a")
    bench.run(3.0)
    bench.late.clear()
    bench.now += 7.0  # the reload itself takes this long
    bench.probes("a", "b")
    bench.scheduler.tick()
    bench.scheduler.tick()
    assert bench.late[0] > 5.0
    assert bench.late[1] == 0.0


def test_lag_on_time_is_within_a_tick(bench: Bench) -> None:
    bench.probes(*[f"check {n}" for n in range(50)])
    bench.run(10.0)
    assert bench.lags
    assert max(bench.lags) <= TICK_S + 1e-6


def test_reload_keeps_the_turn_of_a_known_probe_and_drops_others(bench: Bench) -> None:
    bench.probes("a", "b", interval_s=10.0)
    bench.run(25.0)
    before = bench.times("a")[-1]
    for _ in range(5):
        bench.probes("a", interval_s=10.0)
        bench.run(0.2)
    assert bench.times("a")[-1] == before
    bench.run(20.0)
    assert bench.times("a")[-1] - before == pytest.approx(20.0, abs=TICK_S)
    assert max(bench.times("b")) <= 5025.0


def test_constant_reloads_do_not_starve_a_check(bench: Bench) -> None:
    """keepalived restarts its timers at each reload, so constant reloads keep it from noticing a dead server."""
    for turn in range(40):
        bench.probes("a", f"other {turn}", interval_s=2.0)
        bench.run(0.8)
    assert len(bench.times("a")) >= 15


def test_outcome_of_a_dropped_probe_is_not_reported(bench: Bench) -> None:
    bench.engine.answers_at_once = False
    bench.probes("a")
    bench.run(1.0)
    bench.probes()
    bench.engine.under_way.pop().ended(up("too late"), Course(0.0))
    assert bench.starts == []


def test_nothing_to_do_needs_no_wake_up(bench: Bench) -> None:
    bench.probes()
    assert bench.scheduler.next_wake == math.inf


def test_jitter_stays_within_its_share() -> None:
    steady, shaken = Bench(), Bench(jitter=0.999)
    for each in (steady, shaken):
        each.probes("a", interval_s=10.0)
        each.run(100.0)
    moved = [late - on_time for on_time, late in zip(steady.times("a")[1:], shaken.times("a")[1:], strict=True)]
    assert all(0 < each <= 10.0 * JITTER_SHARE + TICK_S for each in moved)


def test_share_does_not_depend_on_the_process() -> None:
    assert stable_share("tcp 192.0.2.1:80") == pytest.approx(0.7785904535102023)


@given(st.floats(0, 1e7), st.floats(0.05, 3600), st.floats(0, 1))
def test_next_due_is_after_now_and_within_one_interval(now: float, interval_s: float, share: float) -> None:
    due = next_due(now, interval_s, share * interval_s)
    assert now - 1e-6 <= due <= now + interval_s + 1e-6


def starts_of_each_tick(bench: Bench, cost_s: float) -> list[int]:
    """Tick until nothing is due, with starts that take `cost_s` seconds. Return how many each tick started."""
    bench.cost_s = cost_s
    found = []
    while bench.scheduler.next_wake <= bench.now:
        before = len(bench.starts)
        bench.scheduler.tick()
        found.append(len(bench.starts) - before)
    return found


def test_many_starts_at_once_leave_the_loop_its_turns(bench: Bench) -> None:
    bench.probes(*[f"check {n}" for n in range(10_000)])
    bench.run(20.0)
    bench.starts.clear()
    bench.now += TICK_S
    started = starts_of_each_tick(bench, SLICE_S / 50)
    assert sum(started) > 200
    assert 49 <= max(started) <= 51


def test_turns_are_longer_while_probes_wait(bench: Bench) -> None:
    bench.probes(*[f"check {n}" for n in range(1000)])
    bench.run(5.0)
    bench.starts.clear()
    bench.now += 3.0
    started = starts_of_each_tick(bench, SLICE_S / 50)
    assert sum(started) >= 1000
    longest = round(50 * LONG_SLICE_S / SLICE_S)
    assert longest - 1 <= max(started) <= longest + 1
