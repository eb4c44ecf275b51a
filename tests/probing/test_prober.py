"""The prober is chosen by the number of workers, and both kinds have the same interface."""

from lvs_healthd.probing.prober import Prober, prober
from lvs_healthd.probing.scheduler import Scheduler
from lvs_healthd.probing.workers.pool import Pool


class _Nobody:
    def lag(self, seconds: float) -> None:
        pass

    def loop_lag(self, seconds: float) -> None:
        pass

    def skipped(self) -> None:
        pass

    def warned(self) -> None:
        pass


def make(workers: int) -> Prober:
    return prober(workers, clock=lambda: 5.0, observer=_Nobody(), emit=lambda _: None, max_in_flight=7)


def test_one_worker_is_this_process_and_more_are_processes() -> None:
    assert isinstance(make(1), Scheduler)
    assert isinstance(make(2), Pool)


def test_both_begin_with_nothing_to_do() -> None:
    for workers, alive in ((1, 1), (2, 0)):
        made = make(workers)
        assert (made.max_in_flight, made.in_flight, made.waiting, made.workers) == (7, 0, 0, alive)
        assert made.next_wake > 1e9
        assert made.take_worst_lag() == 0.0
        made.max_in_flight = 9
        assert made.max_in_flight == 9
        made.close()
        made.close()
