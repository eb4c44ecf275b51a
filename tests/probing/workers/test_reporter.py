"""Reports made by hand: how a worker reports its probes, and what it keeps while the daemon does not listen."""

from array import array

from lvs_healthd.probes.outcome import Course, Outcome, Reason, down, up
from lvs_healthd.probing.workers.protocol import MOST_RECORDS, MOST_TEXTS, Report, recorded
from lvs_healthd.probing.workers.reporter import LEAST_KEPT, MOST_LAGS, Reporter

PASSED = up("connected")
REFUSED = down(Reason.REFUSED, "connection refused")


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.woken = 0
        self.reporter = Reporter(lambda: self.now, self._wake)
        self.outcomes: dict[int, Outcome] = {}

    def _wake(self) -> None:
        self.woken += 1

    def report(self) -> Report:
        return self.reporter.report(in_flight=3, waiting=2, kept=4)

    def read(self) -> list[tuple[int, Outcome, float, float]]:
        """Take one report, as the daemon does."""
        report = self.report()
        self.outcomes |= {text.number: text.outcome for text in report.texts}
        found = [
            (probe, self.outcomes[number], course.total_s, ended) for probe, number, course, ended in recorded(report)
        ]
        self.outcomes = {number: each for number, each in self.outcomes.items() if number >= report.forget}
        return found


def test_outcomes_come_in_order_with_their_times() -> None:
    bench = Bench()
    bench.reporter.found(7, PASSED, Course(0.25))
    bench.now = 101.0
    bench.reporter.found(8, REFUSED, Course(0.5))
    bench.reporter.found(7, REFUSED, Course(0.125))
    assert bench.read() == [(7, PASSED, 0.25, 100.0), (8, REFUSED, 0.5, 101.0), (7, REFUSED, 0.125, 101.0)]
    assert not bench.reporter.pending


def test_first_outcome_wakes_and_the_next_do_not() -> None:
    bench = Bench()
    bench.reporter.found(1, PASSED, Course(0.0))
    bench.reporter.found(2, PASSED, Course(0.0))
    assert bench.woken == 1
    bench.report()
    bench.reporter.found(1, PASSED, Course(0.0))
    assert bench.woken == 2


def test_text_is_told_once() -> None:
    bench = Bench()
    for _ in range(3):
        bench.reporter.found(1, up("connected"), Course(0.0))
    assert [text.outcome for text in bench.report().texts] == [PASSED]
    bench.reporter.found(1, up("connected"), Course(0.0))
    assert bench.report().texts == ()


def test_texts_without_end_are_forgotten_on_both_sides() -> None:
    bench = Bench()
    for number in range(3 * MOST_TEXTS):
        bench.reporter.found(1, up(f"answer {number}"), Course(0.0))
        if number % 500 == 0:
            while bench.reporter.pending:
                bench.read()
            assert len(bench.outcomes) <= MOST_TEXTS + MOST_RECORDS
    while bench.reporter.pending:
        bench.read()
    bench.reporter.found(2, up("answer 5"), Course(0.0))
    assert bench.read()[-1][1] == up("answer 5")


def test_report_is_bounded_and_the_rest_waits() -> None:
    bench = Bench()
    for probe in range(MOST_RECORDS + 5):
        bench.reporter.found(probe, PASSED, Course(0.0))
    assert len(bench.read()) == MOST_RECORDS
    assert bench.reporter.pending
    assert [probe for probe, *_ in bench.read()] == list(range(MOST_RECORDS, MOST_RECORDS + 5))


def test_while_nobody_listens_the_newest_outcome_of_each_probe_is_kept() -> None:
    bench = Bench()
    probes = 100
    for turn in range(50 * LEAST_KEPT // probes):
        for probe in range(probes):
            bench.reporter.found(probe, up(f"turn {turn}"), Course(0.0))
        assert len(bench.reporter._found) <= LEAST_KEPT
    last: dict[int, Outcome] = {}
    while bench.reporter.pending:
        last |= {probe: outcome for probe, outcome, *_ in bench.read()}
    assert last == dict.fromkeys(range(probes), up(f"turn {50 * LEAST_KEPT // probes - 1}"))


def test_many_probes_are_never_dropped_for_each_other() -> None:
    bench = Bench()
    probes = 3 * LEAST_KEPT
    for _ in range(4):
        for probe in range(probes):
            bench.reporter.found(probe, PASSED, Course(0.0))
    assert len(bench.reporter._found) <= 2 * probes
    seen = set()
    while bench.reporter.pending:
        seen |= {probe for probe, *_ in bench.read()}
    assert seen == set(range(probes))


def test_measurements_are_told_once_and_bounded() -> None:
    bench = Bench()
    bench.reporter.lag(0.25)
    bench.reporter.loop_lag(0.5)
    bench.reporter.skipped()
    bench.reporter.warned()
    report = bench.report()
    assert (array("f", report.lags).tolist(), array("f", report.loop_lags).tolist()) == ([0.25], [0.5])
    assert (report.skipped, report.warned) == (1, 1)
    assert (report.in_flight, report.waiting, report.kept) == (3, 2, 4)
    report = bench.report()
    assert (report.lags, report.loop_lags, report.skipped, report.warned) == (b"", b"", 0, 0)
    for _ in range(3 * MOST_LAGS):
        bench.reporter.lag(1.0)
        bench.reporter.found(1, PASSED, Course(0.0))
    assert len(bench.report().lags) <= 4 * (MOST_LAGS + LEAST_KEPT)
