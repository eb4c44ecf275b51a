"""A probe runs more often or less often for a while, and the schedule of all others does not notice."""

import itertools
from collections import Counter
from collections.abc import Hashable

import pytest

from lvs_healthd.probes.outcome import Course, Reason, down
from lvs_healthd.probing.deadlines import TICK_S
from lvs_healthd.probing.hurry import HURRIED_PER_S
from lvs_healthd.probing.lag import LAG_S
from lvs_healthd.probing.scheduler import JITTER_SHARE
from tests.probing.turns import Bench

CLOSE = TICK_S + 1e-6


@pytest.fixture
def bench() -> Bench:
    return Bench()


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


def places(times: list[float], interval_s: float) -> list[float]:
    """Return how far each start is from the place in the interval that the last one has, seconds."""
    found = [(at - times[-1]) % interval_s for at in times]
    return [min(each, interval_s - each) for each in found]


def test_faster_pace_gives_turns_between_the_regular_ones(bench: Bench) -> None:
    bench.probes("a", interval_s=2.0)
    bench.run(10.0)
    bench.scheduler.pace("a", 0.5)
    begun = bench.now
    bench.run(6.0)
    hurried = [at for at in bench.times("a") if at > begun]
    assert hurried[0] - begun <= 0.5 + CLOSE
    assert all(0.5 - 1e-6 <= gap <= 0.5 + CLOSE for gap in gaps(hurried))


def test_faster_pace_counts_from_the_last_start(bench: Bench) -> None:
    """An outcome that comes late, as a timeout does, is followed by the next probe at once."""
    bench.engine.answers_at_once = False
    bench.probes("a", interval_s=2.0)
    bench.run(2.0)
    (run,) = bench.engine.under_way
    bench.came = lambda _: bench.scheduler.pace("a", 0.5)
    bench.engine.under_way.clear()
    run.ended(down(Reason.TIMEOUT, "no answer"), Course(1.0))
    bench.run(CLOSE)
    assert len(bench.engine.under_way) == 1


@pytest.mark.parametrize("pace_s", [0.5, 0.7, 1.9, 3.0, 10.0])
def test_probe_goes_back_to_its_own_place_in_the_interval(bench: Bench, pace_s: float) -> None:
    keys = [f"check {n}" for n in range(50)]
    bench.probes(*keys, interval_s=2.0)
    bench.run(20.0)
    before = {key: bench.times(key)[-1] for key in keys}
    for key in keys:
        bench.scheduler.pace(key, pace_s)
    bench.run(33.3)
    for key in keys:
        bench.scheduler.pace(key, 2.0)
    begun = bench.now
    bench.run(20.0)
    for key in keys:
        again = [at for at in bench.times(key) if at > begun]
        assert again[0] - begun <= 2.0 + min(pace_s, 2.0) + CLOSE
        assert all(gap == pytest.approx(2.0, abs=CLOSE) for gap in gaps(again))
        assert max(places([before[key], *again], 2.0)) <= CLOSE


def test_slower_pace_skips_whole_turns_and_ends_at_once(bench: Bench) -> None:
    bench.probes("a", interval_s=2.0)
    bench.run(20.0)
    place = bench.times("a")[-1]
    bench.scheduler.pace("a", 7.0)
    begun = bench.now
    bench.run(60.0)
    slow = [at for at in bench.times("a") if at > begun]
    assert slow[0] - begun <= 8.0 + CLOSE
    assert all(gap == pytest.approx(8.0, abs=CLOSE) for gap in gaps(slow))
    assert max(places([place, *slow], 2.0)) <= CLOSE
    bench.scheduler.pace("a", 0.5)
    begun = bench.now
    bench.run(1.0)
    assert next(at for at in bench.times("a") if at > begun) - begun <= 0.5 + CLOSE


def test_pace_of_a_whole_number_of_intervals_is_kept_exactly(bench: Bench) -> None:
    bench.probes("a", interval_s=0.1)
    bench.run(2.0)
    bench.scheduler.pace("a", 0.3)
    bench.run(1.0)
    count = len(bench.times("a"))
    bench.run(30.0)
    assert len(bench.times("a")) - count == pytest.approx(100, abs=1)


def test_no_two_starts_are_closer_than_the_pace_that_the_server_tolerates() -> None:
    bench = Bench(jitter=0.5)
    bench.probes("a", interval_s=12.0)
    bench.run(60.0)
    for _ in range(40):
        bench.scheduler.pace("a", 5.0)
        bench.run(17.3)
        bench.scheduler.pace("a", 12.0)
        bench.run(31.7)
    assert min(gaps(bench.times("a")[2:])) >= 5.0 - 1e-6


def test_hurried_probe_never_overlaps_itself(bench: Bench) -> None:
    bench.engine.answers_at_once = False
    bench.probes("slow", interval_s=2.0)
    bench.run(2.0)
    bench.scheduler.pace("slow", 0.1)
    for _ in range(100):
        bench.run(1.3)
        (run,) = bench.engine.under_way
        bench.engine.under_way.clear()
        run.ended(down(Reason.TIMEOUT, "no answer"), Course(1.3))
        assert len(bench.engine.under_way) == 0
        bench.run(CLOSE)
        assert len(bench.engine.under_way) == 1


def test_paces_that_change_all_the_time_give_no_more_turns_than_the_fastest(bench: Bench) -> None:
    bench.probes("a", interval_s=2.0)
    bench.run(10.0)
    begun = bench.now
    for pace_s in itertools.islice(itertools.cycle([0.5, 2.0, 0.5, 6.0, 1.0]), 500):
        bench.scheduler.pace("a", pace_s)
        bench.run(0.11)
    found = [at for at in bench.times("a") if at > begun]
    assert min(gaps(found)) >= 0.5 - 1e-6
    assert len(found) > 55.0 / 2.0 - 2


def test_unknown_and_dropped_probes_are_ignored(bench: Bench) -> None:
    bench.probes("a")
    bench.run(3.0)
    bench.scheduler.pace("never heard of", 0.1)
    bench.scheduler.pace("a", 0.1)
    bench.probes()
    bench.starts.clear()
    bench.run(3.0)
    assert bench.starts == []


def test_reload_keeps_the_pace_that_it_brings(bench: Bench) -> None:
    bench.probes("a", interval_s=2.0)
    bench.run(10.0)
    bench.scheduler.pace("a", 0.5)
    bench.probes("a", interval_s=2.0)  # in which the pace is the interval
    bench.run(4.0)
    bench.starts.clear()
    bench.run(20.0)
    assert len(bench.times("a")) == 10


def test_ten_thousand_servers_in_doubt_share_a_rate_and_regular_turns_stay_on_time() -> None:
    """Every probe fails and its verdict stays in doubt for ever: the worst that can be."""
    bench, interval_s = Bench(jitter=0.3), 2.0
    keys = [f"check {n}" for n in range(10_000)]
    bench.probes(*keys, interval_s=interval_s)
    bench.run(10.0)
    bench.came = lambda key: bench.scheduler.pace(str(key), 0.5)
    bench.starts.clear()
    bench.lags.clear()
    bench.cost_s = 0.0001  # of the size of what a real start takes
    bench.run(20.0)
    hurried = HURRIED_PER_S * 0.5 * (1 / 0.5 - 1 / interval_s)  # a hurried probe needs no regular turns
    assert len(bench.starts) / 20.0 == pytest.approx(len(keys) / interval_s + hurried, rel=0.02)
    assert max(bench.lags) < LAG_S / 2  # without any hurry, it is 0.08 s
    for key in keys[::100]:
        assert max(gaps(bench.times(key))) <= interval_s * (1 + JITTER_SHARE) + 0.5 + CLOSE


def test_mass_failure_gives_every_verdict_in_time_and_some_early() -> None:
    """Each server is out after three failures. Those that need not wait for their share are out in half the time."""
    bench, interval_s = Bench(jitter=0.3), 2.0
    keys = [f"check {n}" for n in range(10_000)]
    bench.probes(*keys, interval_s=interval_s)
    bench.run(10.0)
    bench.starts.clear()
    begun, failures, took = bench.now, Counter[Hashable](), dict[Hashable, float]()

    def failed(key: Hashable) -> None:
        failures[key] += 1
        if failures[key] == 3:
            took[key] = bench.now - begun
        bench.scheduler.pace(str(key), 0.5 if failures[key] < 3 else interval_s)

    bench.came = failed
    bench.run(10.0)
    assert len(took) == len(keys)
    assert max(took.values()) <= 3 * interval_s * (1 + JITTER_SHARE) + CLOSE
    assert sum(each < 0.6 * 3 * interval_s for each in took.values()) > 1000
    assert max(bench.lags) <= CLOSE


def test_hurried_turns_wait_while_regular_ones_are_late(bench: Bench) -> None:
    hurried = [f"in doubt {n}" for n in range(20)]
    bench.probes(*hurried, *[f"check {n}" for n in range(1000)], interval_s=1.0)
    bench.run(10.0)
    for key in hurried:
        bench.scheduler.pace(key, 0.1)
    bench.run(1.0)
    bench.starts.clear()
    bench.cost_s = 0.003  # three times what a core can do
    end = bench.now + 10.0
    while bench.now < end:
        bench.now = max(bench.now, bench.scheduler.next_wake)
        bench.scheduler.tick()
    per_key = Counter(key for _, key in bench.starts)
    assert sum(per_key[key] for key in hurried) / 20 <= 1.5 * sum(per_key.values()) / 1020
