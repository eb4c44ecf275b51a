"""How often a check wants its probe to run, over every state that its health can have."""

import itertools

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import TcpCheck
from lvs_healthd.health.machine import Health, Verdict, step
from lvs_healthd.health.pace import pace
from lvs_healthd.probes.outcome import Outcome, Reason, down, unsure, up
from tests.configs import tcp_check

USUAL, FAST, DOWN = 2.0, 0.5, 30.0
CHECK = tcp_check("192.0.2.1", 80, fast_interval=Seconds(FAST), down_interval=Seconds(DOWN))
OUTCOMES = (up("ok"), down(Reason.REFUSED, "refused"), unsure(Reason.LOCAL_LIMIT, "ours"))


def after(*outcomes: Outcome, begin: Verdict = Verdict.UNKNOWN, check: TcpCheck = CHECK) -> Health:
    health = Health(begin, 0.0)
    for number, outcome in enumerate(outcomes):
        health = step(health, outcome, rise=check.rise, fall=check.fall, now=float(number))
    return health


@pytest.mark.parametrize("begin", Verdict)
@pytest.mark.parametrize("length", range(7))
def test_pace_follows_the_streak_after_any_outcomes(begin: Verdict, length: int) -> None:
    """The streak is counted here once more, in the plainest way."""
    for outcomes in itertools.product(OUTCOMES, repeat=length):
        verdict, streak, last = begin, 0, None
        for outcome in (each for each in outcomes if each.kind is not OUTCOMES[2].kind):
            streak, last = (streak + 1 if outcome.kind is last else 1), outcome.kind
            if last is OUTCOMES[0].kind and streak >= CHECK.rise:
                verdict = Verdict.UP
            if last is OUTCOMES[1].kind and streak >= CHECK.fall:
                verdict = Verdict.DOWN
        proven = Verdict.UP if last is OUTCOMES[0].kind else Verdict.DOWN
        settled = DOWN if verdict is Verdict.DOWN else USUAL
        expected = FAST if last is not None and verdict is not proven else settled
        assert pace(after(*outcomes, begin=begin), CHECK) == expected


def test_interval_stands_for_what_is_not_set() -> None:
    check = tcp_check("192.0.2.1", 80)
    for outcomes in itertools.product(OUTCOMES, repeat=4):
        assert pace(after(*outcomes, check=check), check) == USUAL
