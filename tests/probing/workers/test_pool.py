"""Real worker processes: how they share the probes, and what happens when one is killed, hangs or sends nonsense."""

import asyncio
import os
import signal
import socket
import sys
import time

import pytest

from lvs_healthd.probes.outcome import NO_COURSE, Course, Outcome, OutcomeKind, Reason, up
from lvs_healthd.probing.workers import place as module
from lvs_healthd.probing.workers.framing import GarbledFrameError
from lvs_healthd.probing.workers.link import COMMAND, Link
from lvs_healthd.probing.workers.place import LATE_S, Place
from lvs_healthd.probing.workers.pool import Pool
from lvs_healthd.probing.workers.protocol import MOST_RECORDS, MOST_TEXTS, Fault, Hello, Report, Text, record
from tests.probes.peers import silent, stream_server
from tests.probing.workers.bench import Bench, Sink, closed_ports, running, tcp
from tests.probing.workers.talking import frame
from tests.processes import is_running, until_gone


async def test_outcomes_arrive_at_the_sinks_they_belong_to() -> None:
    async with stream_server(silent) as port, running([tcp(port), tcp(1)]) as bench:
        await bench.until(lambda: all(len(sink.outcomes) >= 3 for sink in bench.sinks.values()))
        assert {each.kind for each in bench.sink(tcp(port)).outcomes} == {OutcomeKind.UP}
        assert {each.reason for each in bench.sink(tcp(1)).outcomes} == {Reason.REFUSED}
        assert bench.pool.workers == 1
        assert bench.events == []


async def test_same_outcome_is_the_same_object_each_time() -> None:
    async with running(closed_ports(2)) as bench:
        await bench.until(lambda: all(len(sink.outcomes) >= 3 for sink in bench.sinks.values()))
        assert len({id(each) for sink in bench.sinks.values() for each in sink.outcomes}) == 1


async def test_workers_share_the_probes_by_a_hash_that_is_the_same_each_time() -> None:
    checks = closed_ports(40)
    async with running(checks, workers=2) as bench, running(checks, workers=2) as other:
        await bench.until_all(OutcomeKind.DOWN)
        shares = [set(place._checks.values()) for place in bench.pool._places]
        assert all(len(share) > 5 for share in shares)
        assert shares == [set(place._checks.values()) for place in other.pool._places]
        assert len(set(bench.pids)) == 2
        assert bench.pool.workers == 2


async def test_measurements_of_all_workers_are_handed_on() -> None:
    async with running(closed_ports(40), workers=2) as bench:
        await bench.until(lambda: all(len(sink.outcomes) >= 2 for sink in bench.sinks.values()))
        assert len(bench.lags) >= 40
        assert len(bench.loop_lags) >= 2
        assert bench.pool.take_worst_lag() == max(bench.lags)
        assert bench.pool.take_worst_lag() == 0.0


async def test_places_are_shared_and_never_none() -> None:
    async with running(workers=3) as bench:
        for most, share in ((100, 33), (1, 1)):
            bench.pool.max_in_flight = most
            bench.update([])
            assert [place.max_in_flight for place in bench.pool._places] == [share] * 3


async def test_killed_worker_makes_its_probes_unsure_and_is_replaced() -> None:
    async with running(closed_ports(40), workers=2) as bench:
        await bench.until_all(OutcomeKind.DOWN)
        killed, other = bench.pids
        before = [len(sink.outcomes) for sink in bench.sinks.values()]
        os.kill(killed, signal.SIGKILL)
        await bench.until(lambda: bench.failures)
        (failure,) = bench.failures
        share = set(bench.pool._places[0]._checks.values())
        assert (failure.worker, failure.pid, failure.probes) == (1, killed, len(share))
        assert failure.reason == "was killed by SIGKILL"
        await bench.until(lambda: all(bench.sink(check).unsure for check in share))
        assert {each for check in share for each in bench.sink(check).unsure} == {
            Outcome(OutcomeKind.UNSURE, Reason.STALLED, "its probe worker was killed by SIGKILL")
        }
        await bench.until_all(OutcomeKind.DOWN)
        assert not any(sink.unsure for check, sink in bench.sinks.items() if check not in share)
        assert bench.pids[1] == other
        assert bench.pids[0] not in (0, killed)
        assert all(len(sink.outcomes) > count for sink, count in zip(bench.sinks.values(), before, strict=True))


async def test_hung_worker_is_given_up_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_S", 2.0)
    async with running(closed_ports(3)) as bench:
        await bench.until_all(OutcomeKind.DOWN)
        (hung,) = bench.pids
        os.kill(hung, signal.SIGSTOP)
        await bench.until(lambda: bench.failures)
        assert bench.failures[0].reason == "said nothing for 2s"
        await bench.until_all(OutcomeKind.UNSURE)
        await bench.until_all(OutcomeKind.DOWN)
        assert bench.pids != [hung]
        assert not is_running(hung)


async def test_worker_is_not_blamed_for_a_pause_of_the_daemon() -> None:
    async with running(closed_ports(3)) as bench:
        await bench.until_all(OutcomeKind.DOWN)
        (place,) = bench.pool._places
        assert place._link is not None
        place._link.heard -= 2 * module.SILENT_S
        place.watch(excused=True)
        place.watch(excused=False)
        before = len(bench.sink(tcp(1)).outcomes)
        await bench.until(lambda: len(bench.sink(tcp(1)).outcomes) > before)
        assert bench.failures == []


async def test_probe_added_while_no_worker_is_there_is_unsure_at_once() -> None:
    async with running(command=("/nonexistent/worker",)) as bench:
        await bench.until(lambda: bench.failures)
        assert (bench.failures[0].pid, bench.failures[0].worker) == (0, 1)
        assert bench.failures[0].reason == "could not be started: No such file or directory"
        bench.update([tcp(1)])
        assert [each.reason for each in bench.sink(tcp(1)).unsure] == [Reason.STALLED]
        assert bench.pool.workers == 0


async def test_worker_that_keeps_failing_is_started_ever_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.01)
    monkeypatch.setattr(module, "LAST_RETRY_S", 0.05)
    async with running(command=("/bin/false",)) as bench:
        await bench.until(lambda: len(bench.failures) >= 5)
        assert [each.retry_s for each in bench.failures[:5]] == [0.01, 0.02, 0.04, 0.05, 0.05]
        assert bench.failures[0].reason == "ended with status 1"


def saying(data: bytes) -> tuple[str, ...]:
    """Return the command of a worker that sends only this, and then waits for its end."""
    script = f"import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.sendall({data!r}); s.recv(1)"
    return (sys.executable, "-c", script)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no frame of ours", "garbled its report: a message of"),
        (frame(Report())[:4] + bytes(len(frame(Report())) - 4), "garbled its report: not a message"),
        (frame(Report(records=record(0, 7, NO_COURSE, 1e9))), "garbled its report: an outcome numbered 7"),
        (frame(Hello("0.0.0")), "is version 0.0.0 and this daemon is"),
        (frame(Fault("KeyError('x')")), "ended by a fault of its own: KeyError('x')"),
    ],
    ids=["length", "payload", "outcome", "version", "fault"],
)
async def test_nonsense_is_a_failure_of_the_worker_and_of_nobody_else(data: bytes, reason: str) -> None:
    async with running([tcp(1)], command=saying(data)) as bench:
        if reason.startswith("ended"):
            await bench.until(lambda: bench.pool.workers or bench.failures)
        await bench.until(lambda: bench.failures)
        assert bench.failures[0].reason.startswith(reason)
        await bench.until(lambda: bench.sink(tcp(1)).unsure)


async def test_sink_that_raises_ends_the_pool() -> None:
    class Broken(Sink):
        def outcome(self, outcome: Outcome, course: Course) -> None:
            raise ZeroDivisionError

    bench = Bench(2, COMMAND)
    bench.sinks[tcp(1)] = Broken(bench.changed)
    bench.update([tcp(1)])
    with pytest.raises(ExceptionGroup) as raised:
        await bench.pool.run()
    assert raised.group_contains(ZeroDivisionError)
    assert bench.failures == []


async def test_update_keeps_the_turns_of_the_others_and_drops_what_is_gone() -> None:
    seldom, dropped, often = tcp(1, interval_s=3600), tcp(2), tcp(3)
    async with running([seldom, dropped]) as bench:
        await bench.until_all(OutcomeKind.DOWN)
        bench.update([often], [dropped])
        count = len(bench.sink(dropped).outcomes)
        # A probe that lost its turn would have a new first turn, at most half a second from now.
        begun = time.monotonic()
        await bench.until(lambda: len(bench.sink(often).outcomes) >= 3 and time.monotonic() > begun + 1.0)
        assert len(bench.sink(seldom).outcomes) == 1
        assert len(bench.sink(dropped).outcomes) == count


async def test_replaced_worker_runs_what_was_changed_meanwhile() -> None:
    async with running([tcp(1), tcp(2)]) as bench:
        await bench.until_all(OutcomeKind.DOWN)
        os.kill(bench.pids[0], signal.SIGKILL)
        await bench.until(lambda: bench.failures)
        bench.update([tcp(3)], [tcp(1)])
        del bench.sinks[tcp(1)]
        await bench.until_all(OutcomeKind.DOWN)


async def test_worker_is_told_how_often_a_probe_is_to_run_and_so_is_the_one_that_replaces_it() -> None:
    seldom, other = tcp(1, interval_s=3600), tcp(2, interval_s=3600)
    async with running([seldom, other]) as bench:
        await bench.until_all(OutcomeKind.DOWN)
        bench.pool.pace(seldom, 0.1)
        await bench.until(lambda: len(bench.sink(seldom).outcomes) >= 5)
        os.kill(bench.pids[0], signal.SIGKILL)
        await bench.until(lambda: bench.failures)
        count = len(bench.sink(seldom).outcomes)
        await bench.until(lambda: len(bench.sink(seldom).outcomes) >= count + 5)
        bench.pool.pace(seldom, 3600)
        bench.pool.pace(tcp(3), 0.1)  # nobody knows it
        assert len(bench.sink(other).outcomes) <= 3  # its first, unsure at the worker's end, and first again


async def test_end_leaves_no_process_even_of_one_that_is_stopped() -> None:
    async with running(closed_ports(3), workers=2) as bench:
        await bench.until(lambda: bench.pool.workers == 2)
        pids = bench.pids
        os.kill(pids[0], signal.SIGSTOP)
        begun = time.monotonic()
    assert time.monotonic() - begun < 1.5
    await until_gone(*pids)


async def test_a_thousand_probes_are_told_in_parts_and_all_run() -> None:
    checks = [tcp(port, interval_s=3600) for port in range(1, 1001)]
    async with running(checks, workers=2) as bench:
        await bench.until(lambda: all(sink.outcomes for sink in bench.sinks.values()))


def test_outcome_that_comes_too_late_is_not_judged() -> None:
    now = 1000.0
    (place,) = Pool(1, clock=lambda: now, observer=_Nobody(), emit=lambda _: None, max_in_flight=1)._places
    sink = Sink(asyncio.Event())
    place._sinks[4] = sink.outcome
    report(place, up("connected"), [(4, now - LATE_S - 1), (4, now - 1), (5, now)])
    assert [each.reason for each in sink.outcomes] == [Reason.STALLED, Reason.PASSED]


def test_forgotten_numbers_are_dropped() -> None:
    (place,) = Pool(1, clock=lambda: 0.0, observer=_Nobody(), emit=lambda _: None, max_in_flight=1)._places
    place._take(Report(texts=(Text(0, up("a")), Text(1, up("b")), Text(2, up("c"))), forget=2))
    assert place._outcomes == {2: up("c")}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGRTMIN + 1])
async def test_worker_may_be_killed_by_any_signal(number: int) -> None:
    process = await asyncio.create_subprocess_exec("/bin/sleep", "60")
    ours, theirs = socket.socketpair()
    with theirs:
        link = Link(process, ours, lambda _: None)
        process.send_signal(number)
        await process.wait()
    name = "SIGKILL" if number == signal.SIGKILL else f"signal {number}"
    assert await link.lost() == f"was killed by {name}"
    link.close()


def test_worker_that_describes_more_and_more_outcomes_is_refused() -> None:
    (place,) = Pool(1, clock=lambda: 0.0, observer=_Nobody(), emit=lambda _: None, max_in_flight=1)._places
    most = MOST_TEXTS + MOST_RECORDS
    place._take(Report(texts=tuple(Text(number, up("a")) for number in range(most))))
    place._take(Report(texts=(Text(most - 1, up("b")),)))
    with pytest.raises(GarbledFrameError, match=f"more than {most} outcomes"):
        place._take(Report(texts=(Text(most, up("a")),)))


def report(place: Place, outcome: Outcome, found: list[tuple[int, float]]) -> None:
    records = b"".join(record(probe, 0, NO_COURSE, ended) for probe, ended in found)
    place._take(Report(texts=(Text(0, outcome),), records=records))


class _Nobody:
    def lag(self, seconds: float) -> None:
        pass

    def loop_lag(self, seconds: float) -> None:
        pass

    def skipped(self) -> None:
        pass

    def warned(self) -> None:
        pass
