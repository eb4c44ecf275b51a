"""What follows from the end of a kept connection, and how much of it, without a network."""

import socket

from lvs_healthd.probes.exchange import Keeping, Sign, Target
from lvs_healthd.probes.outcome import Outcome, Reason, down, unsure, up
from lvs_healthd.probing.early_warnings import MOST_SIGNS, SIGNS_PER_S, EarlyWarnings
from lvs_healthd.probing.hurry import Budget
from lvs_healthd.probing.job import Job
from lvs_healthd.probing.probe import Probe

REFUSED = down(Reason.REFUSED, "connection refused")


class _Nobody:
    def outcome(self, outcome: Outcome, course: object) -> None: ...


class Bench:
    """Notes which turns are given."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.warned = 0
        self.owed: list[float] = []
        self.begun: list[float] = []
        self.warnings = EarlyWarnings(
            lambda: self.now,
            lambda: 0.5,
            warned=self._warn,
            owe=lambda _job, due: self.owed.append(due),
            begin=lambda _job, due, _gap_s: self.begun.append(due),
        )

    def _warn(self) -> None:
        self.warned += 1

    def job(self, *, interval_s: float = 2.0, confirm_s: float = 0.05, confirms: int = 2, kept: bool = True) -> Job:
        keeping = Keeping(interval_s, 10.0, confirm_s, confirms) if kept else None
        target = Target(socket.SOCK_STREAM, socket.AF_INET, ("127.0.0.1", 1), 1.0, begin=None, keeping=keeping)  # type: ignore[arg-type]
        job = Job(None, Probe("key", target, interval_s, _Nobody()), 0.0, self.now)  # type: ignore[arg-type]
        job.turn = self.now - interval_s / 2
        return job


def test_urgent_sign_starts_a_probe_at_once_and_an_orderly_one_within_a_second() -> None:
    bench = Bench()
    bench.warnings.signalled(bench.job(), Sign.URGENT)
    assert (bench.begun, bench.owed, bench.warned) == ([1000.0], [], 1)
    bench.warnings.signalled(bench.job(), Sign.ORDERLY)
    bench.warnings.signalled(bench.job(interval_s=0.2), Sign.ORDERLY)
    assert (bench.begun, bench.owed, bench.warned) == ([1000.0], [1000.5, 1000.1], 1)
    bench.warnings.signalled(bench.job(), Sign.SPENT)
    bench.warnings.signalled(bench.job(kept=False), Sign.URGENT)
    assert (len(bench.begun), len(bench.owed)) == (1, 2)


def test_probe_of_a_moment_ago_makes_the_next_wait_for_the_confirm_interval() -> None:
    bench = Bench()
    job = bench.job(confirm_s=2.0)
    bench.warnings.signalled(job, Sign.URGENT)
    assert (bench.begun, bench.owed) == ([], [job.turn + 2.0])


def test_one_sign_of_a_target_counts_in_each_interval_and_in_each_second() -> None:
    for interval_s, deaf_s in ((2.0, 2.0), (0.1, 1.0)):
        bench = Bench()
        job = bench.job(interval_s=interval_s)
        for tenths in range(50):
            bench.now = 1000.0 + tenths / 10
            bench.warnings.signalled(job, Sign.URGENT)
        assert bench.begun == [1000.0 + deaf_s * number for number in range(int(5.0 / deaf_s) + (deaf_s == 2.0))]


def test_sign_during_a_probe_only_makes_the_next_ones_soon() -> None:
    bench = Bench()
    job = bench.job()
    job.running = True
    bench.warnings.signalled(job, Sign.ORDERLY)
    assert job.confirms == 0
    bench.warnings.signalled(job, Sign.URGENT)
    assert (job.confirms, bench.begun, bench.owed, bench.warned) == (2, [], [], 0)


def test_dropped_probe_hears_nothing() -> None:
    bench = Bench()
    job = bench.job()
    job.sink = None
    bench.warnings.signalled(job, Sign.URGENT)
    assert (bench.begun, bench.warned) == ([], 0)


def test_series_goes_on_while_the_target_is_gone_and_ends_with_the_verdict() -> None:
    bench = Bench()
    job = bench.job(confirms=2)
    bench.warnings.signalled(job, Sign.URGENT)
    job.turn = bench.now
    for left in (1, 0):
        bench.warnings.confirm(job, REFUSED)
        assert job.confirms == left
    assert bench.owed == [1000.05, 1000.05]
    for other in (up("ok"), down(Reason.TIMEOUT, "x"), down(Reason.BAD_STATUS, "x"), unsure(Reason.STALLED, "x")):
        job.confirms = 2
        bench.warnings.confirm(job, other)
        assert job.confirms == 0
    assert len(bench.owed) == 2


def test_all_targets_together_have_a_budget() -> None:
    bench = Bench()
    for _ in range(3 * MOST_SIGNS):
        bench.warnings.signalled(bench.job(), Sign.URGENT)
    assert len(bench.begun) == bench.warned == MOST_SIGNS
    bench.now += 1.0
    for _ in range(3 * MOST_SIGNS):
        bench.warnings.signalled(bench.job(), Sign.URGENT)
    assert len(bench.begun) == MOST_SIGNS + SIGNS_PER_S
    # Those that confirm have one of their own.
    for _ in range(3 * MOST_SIGNS):
        job = bench.job()
        job.confirms = 2
        bench.warnings.confirm(job, REFUSED)
    assert len(bench.owed) == MOST_SIGNS


def test_budget_fills_up_with_time_to_its_bound() -> None:
    budget = Budget(3, 2.0)
    assert [budget.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.take(100.5) for _ in range(2)] == [True, False]
    assert [budget.take(900.0) for _ in range(4)] == [True, True, True, False]
