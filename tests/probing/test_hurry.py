"""Who may run more often than usual, when not everybody can."""

from lvs_healthd.probing.hurry import HURRIED_PER_S, TURN_S, Hurry

PACE_S = 0.5
MOST = int(HURRIED_PER_S * PACE_S)


class Bench:
    def __init__(self) -> None:
        self.now = 100.0
        self.hurry: Hurry[int] = Hurry(lambda: self.now)

    def enter(self, *jobs: int, pace_s: float = PACE_S) -> list[int]:
        return [each for job in jobs for each in self.hurry.enter(job, pace_s)]

    def leave(self, job: int) -> list[int]:
        return list(self.hurry.leave(job))

    def turn(self) -> list[int]:
        return list(self.hurry.turn(self.now))


def test_all_hurry_who_fit_and_the_rest_wait() -> None:
    bench = Bench()
    assert bench.enter(*range(MOST + 3)) == list(range(MOST))
    assert bench.hurry.waiting == 3
    assert (MOST - 1 in bench.hurry, MOST in bench.hurry) == (True, False)


def test_share_that_comes_free_goes_to_who_has_waited_longest() -> None:
    bench = Bench()
    bench.enter(*range(MOST + 3))
    assert bench.leave(7) == [MOST]
    assert bench.leave(MOST + 1) == []  # it waited, and had no share
    assert bench.leave(MOST) == [MOST + 2]
    assert bench.leave(12345) == []


def test_rate_counts_and_not_the_number() -> None:
    bench = Bench()
    assert len(bench.enter(*range(10_000), pace_s=2.0)) == HURRIED_PER_S * 2.0
    fast = Bench()
    assert len(fast.enter(*range(10_000), pace_s=0.05)) == HURRIED_PER_S * 0.05


def test_other_pace_keeps_the_share_if_it_fits() -> None:
    bench = Bench()
    bench.enter(*range(MOST + 1))
    assert bench.enter(0, pace_s=1.0) == [0]
    assert bench.enter(0, pace_s=PACE_S) == [0]
    assert bench.enter(0, pace_s=0.1) == [MOST]
    assert 0 not in bench.hurry


def test_who_hurries_for_long_goes_to_the_end_when_others_wait() -> None:
    bench = Bench()
    bench.enter(*range(MOST))
    bench.now += TURN_S + 1
    assert bench.turn() == []
    bench.enter(1000, 1001)
    assert bench.turn() == [1000, 1001]
    assert (0 in bench.hurry, 1 in bench.hurry, 2 in bench.hurry) == (False, False, True)
    assert bench.leave(500 - 1) == [0]


def test_one_probe_may_always_hurry() -> None:
    bench = Bench()
    assert bench.enter(1, pace_s=0.0001) == [1]
    assert bench.enter(2) == []
    assert bench.leave(1) == [2]


def test_nobody_hurries_for_ever_by_rounding() -> None:
    bench = Bench()
    for _ in range(3):
        for job in range(1000):
            bench.enter(job, pace_s=0.3 + job / 1000)
        for job in range(1000):
            bench.leave(job)
    assert len(bench.enter(*range(MOST + 3))) == MOST
