"""Probes that share a run: who takes part, what is scheduled, and who gets which outcome."""

import itertools

import msgspec
import pytest

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.check_model import AnyCheck, Convention, ExecCheck, MonNames, Per, TcpCheck
from lvs_healthd.probes.outcome import Course, Outcome, Reason, Share, down, unsure, up
from lvs_healthd.probes.targets import target
from lvs_healthd.probing.groups import MOST_SERVERS, Groups
from lvs_healthd.probing.probe import Probe

WEB = MonNames(group="web", service="http")


class Sink:
    def __init__(self) -> None:
        self.found: list[tuple[Outcome, float]] = []

    def outcome(self, outcome: Outcome, course: Course) -> None:
        self.found.append((outcome, course.total_s))


def check(last: int, port: int = 80, *words: str, per: Per = Per.GROUP, mon: MonNames = WEB) -> ExecCheck:
    return ExecCheck(
        name="",
        address=f"192.0.2.{last}",
        port=port,
        command=("/m", *words),
        convention=Convention.MON,
        per=per,
        mon=mon,
        helper="/none",
    )


def probe(key: AnyCheck, sink: Sink | None = None) -> Probe[AnyCheck]:
    return Probe(key, target(key), key.interval, sink or Sink())


def servers(probes: list[Probe[AnyCheck]]) -> list[list[str]]:
    """Return the servers of each scheduled run."""
    return [[str(each) for each in one.key.servers] for one in probes if isinstance(one.key, ExecCheck)]


def test_everything_else_is_scheduled_as_it_is() -> None:
    alone: list[Probe[AnyCheck]] = [
        probe(TcpCheck(name="", address="192.0.2.1", port=80)),
        probe(check(1, per=Per.SERVER)),
    ]
    gone = [TcpCheck(name="", address="192.0.2.2", port=80)]
    assert Groups().replaced(alone, gone) == (alone, gone)


def test_servers_with_the_same_check_share_one_run_and_get_their_own_outcomes() -> None:
    groups, sinks = Groups(), [Sink() for _ in range(3)]
    (run,), gone = groups.replaced([probe(check(last), sinks[last]) for last in range(3)], ())
    assert (servers([run]), gone) == ([["192.0.2.0:80", "192.0.2.1:80", "192.0.2.2:80"]], [])
    bad = down(Reason.BAD_ANSWER, "192.0.2.1")
    others = up("others")
    run.sink.outcome(msgspec.structs.replace(others, apart=(Share(Endpoint("192.0.2.1", 80), bad),)), Course(0.5))
    assert [sink.found for sink in sinks] == [[(others, 0.5)], [(bad, 0.5)], [(others, 0.5)]]
    ours = unsure(Reason.LOCAL_LIMIT, "x")
    run.sink.outcome(ours, Course(0.1))
    assert all(sink.found[-1][0] is ours for sink in sinks)  # the same object, which is what makes it cheap


@pytest.mark.parametrize(
    ("checks", "runs"),
    [
        ((check(1), check(2, mon=MonNames(group="mail", service="http"))), 2),
        ((check(1), check(2, 81)), 1),  # nobody tells the program the port
        ((check(1, 80, "{port}"), check(2, 81, "{port}"), check(3, 80, "{port}")), 2),
        ((check(1), check(1, 81)), 1),
        ((check(1), check(2, 80, "-v")), 2),
    ],
)
def test_what_a_run_is_shared_by(checks: tuple[ExecCheck, ...], runs: int) -> None:
    made, _ = Groups().replaced(map(probe, checks), ())
    assert len(made) == runs
    assert sorted(itertools.chain(*servers(made))) == sorted(f"{each.address}:{each.port}" for each in checks)


def test_change_of_the_servers_is_another_run_and_the_last_one_ends_it() -> None:
    groups, kept = Groups(), Sink()
    (first,), _ = groups.replaced([probe(check(1), kept), probe(check(2))], ())
    (second,), gone = groups.replaced([probe(check(3))], [check(2)])
    assert gone == [first.key]
    assert servers([second]) == [["192.0.2.1:80", "192.0.2.3:80"]]
    second.sink.outcome(up("x"), Course(0.0))
    assert len(kept.found) == 1
    assert groups.replaced((), [check(1), check(3)]) == ([], [second.key])
    (again,), gone = groups.replaced([probe(check(1))], ())
    assert (servers([again]), gone) == ([["192.0.2.1:80"]], [])


def test_other_receiver_of_the_same_probe_changes_no_run() -> None:
    groups, other = Groups(), Sink()
    (run,), _ = groups.replaced([probe(check(1))], ())
    assert groups.replaced([probe(check(1), other)], ()) == ([], [])
    run.sink.outcome(up("x"), Course(0.0))
    assert other.found == [(up("x"), 0.0)]


def test_probe_that_is_dropped_and_added_in_one_change_stays() -> None:
    groups = Groups()
    groups.replaced([probe(check(1))], ())
    assert groups.replaced([probe(check(1))], [check(1)]) == ([], [])


def test_large_group_has_several_runs_and_a_new_server_takes_a_free_place() -> None:
    many = [
        msgspec.structs.replace(check(1), address=f"10.0.{number // 250}.{number % 250}")
        for number in range(2 * MOST_SERVERS + 1)
    ]
    groups = Groups()
    made, _ = groups.replaced(map(probe, many), ())
    assert list(map(len, servers(made))) == [MOST_SERVERS, MOST_SERVERS, 1]
    made, gone = groups.replaced([probe(check(9))], [many[0]])
    assert len(gone) == 1
    assert servers(made)[0][-1] == "192.0.2.9:80"


def test_run_has_the_shortest_pace_of_its_servers() -> None:
    groups = Groups()
    (run,), _ = groups.replaced([probe(check(last)) for last in range(3)], ())
    assert run.pace_s == run.interval_s == 2.0
    assert groups.paced(check(1), 0.5) == (run.key, 0.5)
    assert groups.paced(check(2), 1.0) is None
    assert groups.paced(check(1), 60.0) == (run.key, 1.0)
    assert groups.paced(check(2), 60.0) == (run.key, 2.0)
    (run,), _ = groups.replaced((), [check(0)])
    assert run.pace_s == 60.0
    alone = check(4, per=Per.SERVER)
    assert groups.paced(alone, 3.0) == (alone, 3.0)
