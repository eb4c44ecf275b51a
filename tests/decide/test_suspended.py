"""Probes that are suspended tell nothing, and their verdicts stay."""

from lvs_healthd.decide.held import ProbeState
from lvs_healthd.health.machine import Verdict
from lvs_healthd.probes.targets import probe_key
from tests.decide.test_decisions import CHECK_A, CHECK_B, FAIL, PAIR, PASS, UNSURE, A, B, Bench, table_of

LONG_S = 100_000.0


def started() -> Bench:
    bench = Bench()
    bench.configure(PAIR, table_of(PAIR))
    return bench


def probes(bench: Bench) -> tuple[ProbeState, ProbeState]:
    return bench.decisions.probes[probe_key(CHECK_A)], bench.decisions.probes[probe_key(CHECK_B)]


async def told(bench: Bench) -> list[object]:
    return [each async for each in bench.decisions.stale.turn()]


async def test_verdicts_stay_and_are_never_stale_until_the_probes_have_had_their_time_again() -> None:
    bench = started()
    bench.feed(CHECK_A, PASS)
    bench.feed(CHECK_B, FAIL, FAIL, FAIL)
    for probe in probes(bench):
        bench.decisions.suspend(probe)
    bench.now += LONG_S
    assert await told(bench) == []
    assert [bench.verdict(each) for each in (A, B)] == [Verdict.UP, Verdict.DOWN]
    for probe in probes(bench):
        bench.decisions.resume(probe)
    assert await told(bench) == [], "they have just begun to be run"
    bench.now += 61.0
    assert len(await told(bench)) == 2


async def test_verdict_that_was_stale_is_not_told_as_renewed_when_it_is_suspended() -> None:
    bench = started()
    bench.feed(CHECK_B, PASS)
    bench.now += 61.0
    assert len(await told(bench)) == 2
    for probe in probes(bench):
        bench.decisions.suspend(probe)
    assert await told(bench) == []


def test_probe_that_could_not_tell_before_does_not_count_while_it_is_suspended() -> None:
    bench = started()
    bench.feed(CHECK_A, UNSURE)
    assert bench.decisions.unsure_probes()[0] == 1
    first, second = probes(bench)
    bench.decisions.suspend(first)
    assert bench.decisions.unsure_probes()[0] == 0
    bench.decisions.suspend(second)
    bench.decisions.resume(first)
    bench.feed(CHECK_A, UNSURE)
    assert bench.decisions.blindness.startswith("1 of 1 cannot tell"), "only those count that are run"


def test_probe_that_a_reload_drops_is_forgotten_with_its_suspension() -> None:
    bench = started()
    for probe in probes(bench):
        bench.decisions.suspend(probe)
    bench.configure(type(PAIR)(), {})
    assert bench.decisions._suspended == set()
    assert bench.decisions.blindness == ""
