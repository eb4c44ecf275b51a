"""How often a probe is to run follows from all the verdicts that rest on it."""

import msgspec

from lvs_healthd.config.basics import Seconds
from lvs_healthd.decide.held import ProbeState
from lvs_healthd.probes.targets import probe_key
from tests.configs import config, server, service, tcp_check
from tests.decide.test_decisions import FAIL, PASS, UNSURE, A, Bench, table_of

CHECK = tcp_check(A, 80, fast_interval=Seconds(0.5), down_interval=Seconds(30.0))
ONE = config(service(server(A, checks=(CHECK,))))


def paced(bench: Bench) -> list[float]:
    """Note every change of a pace from now on."""
    found: list[float] = []

    def note(probe: ProbeState) -> None:
        found.append(probe.pace_s)

    bench.decisions.verdicts.paced = note
    return found


def test_probe_hurries_while_the_verdict_is_in_doubt_and_is_slow_while_down() -> None:
    bench = Bench()
    bench.configure(ONE, table_of(ONE))
    found = paced(bench)
    bench.feed(CHECK, PASS)
    assert found == []
    bench.feed(CHECK, FAIL)
    assert found == [0.5]
    bench.feed(CHECK, FAIL)
    assert found == [0.5]
    bench.feed(CHECK, FAIL)
    assert found == [0.5, 30.0]
    bench.feed(CHECK, FAIL, FAIL, PASS)
    assert found == [0.5, 30.0, 0.5]
    bench.feed(CHECK, PASS, PASS, PASS)
    assert found == [0.5, 30.0, 0.5, 2.0]


def test_failure_that_was_nothing_ends_the_hurry() -> None:
    bench = Bench()
    bench.configure(ONE, table_of(ONE))
    found = paced(bench)
    bench.feed(CHECK, FAIL, PASS)
    assert found == [0.5, 2.0]


def test_unsure_probe_does_not_hurry_and_keeps_its_doubt() -> None:
    bench = Bench()
    bench.configure(ONE, table_of(ONE))
    found = paced(bench)
    bench.feed(CHECK, FAIL, UNSURE)
    assert found == [0.5, 2.0]
    bench.feed(CHECK, UNSURE, FAIL)
    assert found == [0.5, 2.0, 0.5]


def test_shared_probe_has_the_shortest_pace_that_anybody_wants() -> None:
    """The checks share one probe, though they differ in rise, fall and paces."""
    patient = msgspec.structs.replace(CHECK, name="patient", fall=10, fast_interval=Seconds(1.0))
    hasty = msgspec.structs.replace(CHECK, name="hasty", fall=2, down_interval=Seconds(5.0))
    both = config(service(server(A, checks=(patient,))), service(server(A, checks=(hasty,)), name="two", port=81))
    bench = Bench()
    bench.configure(both, table_of(both))
    assert len(bench.decisions.probes) == 1
    found = paced(bench)
    bench.feed(CHECK, FAIL)
    assert found == [0.5]
    bench.feed(CHECK, FAIL)  # hasty is down now
    assert found == [0.5, 1.0]
    bench.feed(CHECK, *[FAIL] * 8)  # and now patient is too
    assert found == [0.5, 1.0, 5.0]


def test_pace_follows_a_reload() -> None:
    bench = Bench()
    bench.configure(ONE, table_of(ONE))
    bench.feed(CHECK, FAIL, FAIL, FAIL)
    probe = bench.decisions.probes[probe_key(CHECK)]
    found = paced(bench)
    soon = msgspec.structs.replace(CHECK, down_interval=Seconds(1.0))
    bench.configure(config(service(server(A, checks=(soon,)))))
    assert found == [1.0]
    assert bench.decisions.probes[probe_key(CHECK)] is probe


def test_verdict_of_a_slow_probe_is_taken_over_by_another_check() -> None:
    """An outcome that is older than the interval is not old while the probe runs less often."""
    bench = Bench()
    bench.configure(ONE, table_of(ONE))
    bench.feed(CHECK, FAIL, FAIL, FAIL)
    bench.now += 20.0
    two = config(*ONE.services, service(server(A, checks=(CHECK,)), name="two", port=81))
    bench.configure(two)
    assert [each.health.verdict for each in bench.decisions.servers] == ["down", "down"]
