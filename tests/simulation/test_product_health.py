"""Every state of the rise/fall machine with every outcome, against what the whole history of outcomes says."""

import itertools
from collections import deque

import pytest

from lvs_healthd.config.check_model import TcpCheck
from lvs_healthd.health.machine import Health, Verdict, combined, seen, step
from lvs_healthd.health.pace import pace
from lvs_healthd.probes.outcome import Outcome, Reason, down, unsure, up
from tests.configs import tcp_check

MOST = 4
"""The largest `rise` and `fall`."""

P, F, G, U = "P", "F", "G", "U"
"""A pass, a failure, a failure for another reason, and an unsure outcome."""
OUTCOMES: dict[str, Outcome] = {
    P: up("ok"),
    F: down(Reason.REFUSED, "refused"),
    G: down(Reason.TIMEOUT, "timeout"),
    U: unsure(Reason.LOCAL_LIMIT, "no descriptors"),
}

EVERY = [(rise, fall) for rise in range(1, MOST + 1) for fall in range(1, MOST + 1)]


def verdict_of(history: str, begun: Verdict, rise: int, fall: int) -> Verdict:
    """Return what a history of outcomes means: the last run of `rise` passes or `fall` failures decides."""
    sure = history.replace(U, "").replace(G, F)
    for end in range(len(sure), 0, -1):
        if sure[:end].endswith(P * rise):
            return Verdict.UP
        if sure[:end].endswith(F * fall):
            return Verdict.DOWN
    return begun


def run_of(history: str, what: str) -> int:
    """Return how many outcomes of one kind a history ends with, not counting those that are unsure."""
    sure = history.replace(U, "").replace(G, F)
    return len(sure) - len(sure.rstrip(what))


@pytest.mark.parametrize(("rise", "fall"), EVERY)
@pytest.mark.parametrize("begun", list(Verdict))
def test_every_state_with_every_outcome_gives_the_verdict_of_the_history(begun: Verdict, rise: int, fall: int) -> None:
    """All states that can be reached, each with one history that leads there."""
    known: dict[tuple[object, ...], None] = {}
    left: deque[tuple[Health, str]] = deque([(Health(begun, since=0.0), "")])
    while left:
        health, history = left.popleft()
        for what, outcome in OUTCOMES.items():
            now, longer = len(history) + 1.0, history + what
            after = step(health, outcome, rise=rise, fall=fall, now=now, latency_s=0.25)
            assert after.verdict is verdict_of(longer, begun, rise, fall), longer
            if what == U:
                assert after is health, longer
                continue
            assert (after.reason, after.detail) == (outcome.reason, outcome.detail) or after is health, longer
            assert after.since == (now if after.verdict is not health.verdict else health.since) or (
                after.verdict is Verdict.UP and what == P
            ), longer
            failures = min(run_of(longer, F), fall)
            assert after.failures == failures or (after.verdict is Verdict.DOWN and 0 < after.failures <= fall), longer
            if after.failures and after.verdict is not Verdict.DOWN:
                assert after.first_failure == now - run_of(longer, F) + 1 - 0.25, longer
            if after is health:
                assert step(after, outcome, rise=rise, fall=fall, now=now + 1) is after, longer
            state = (after.verdict, after.passes, after.failures, after.reason)
            if state not in known and what != U:
                known[state] = None
                left.append((after, longer))
    assert len(known) >= rise + fall


@pytest.mark.parametrize(("rise", "fall"), EVERY)
def test_all_short_histories_give_the_verdict_of_the_history(rise: int, fall: int) -> None:
    for length in range(1, 8):
        for letters in itertools.product((P, F, U), repeat=length):
            health = Health(Verdict.UNKNOWN, since=0.0)
            for now, what in enumerate(letters):
                health = step(health, OUTCOMES[what], rise=rise, fall=fall, now=float(now))
            assert health.verdict is verdict_of("".join(letters), Verdict.UNKNOWN, rise, fall), letters


@pytest.mark.parametrize(("rise", "fall"), EVERY)
@pytest.mark.parametrize("what", [P, F])
def test_check_that_joins_a_probe_has_the_verdict_of_its_streak(what: str, rise: int, fall: int) -> None:
    for streak in range(1, 2 * MOST):
        joined = seen(OUTCOMES[what], streak, rise=rise, fall=fall, now=5.0)
        assert joined.verdict is verdict_of(what * streak, Verdict.UNKNOWN, rise, fall)
        for more in range(1, MOST + 1):
            joined = step(joined, OUTCOMES[what], rise=rise, fall=fall, now=5.0 + more)
            assert joined.verdict is verdict_of(what * (streak + more), Verdict.UNKNOWN, rise, fall)


def test_server_is_as_bad_as_its_worst_check_and_the_last_to_change_tells() -> None:
    badness = [Verdict.UP, Verdict.UNKNOWN, Verdict.DOWN]
    for verdicts in itertools.product(badness, repeat=3):
        for since in itertools.permutations((1.0, 2.0, 3.0)):
            checks = [Health(verdict, at) for verdict, at in zip(verdicts, since, strict=True)]
            found = combined(checks)
            worst = max(verdicts, key=badness.index)
            assert found.verdict is worst
            assert found.since == max(each.since for each in checks if each.verdict is worst)


def test_probe_hurries_exactly_while_the_verdict_is_in_doubt() -> None:
    check = tcp_check("198.51.100.1", 80)
    paces = {"interval": 8.0, "fast_interval": 1.0, "down_interval": 30.0}
    check = TcpCheck(**{name: getattr(check, name) for name in check.__struct_fields__} | paces)
    for verdict, passes, failures in itertools.product(Verdict, range(MOST), range(MOST)):
        health = Health(verdict, since=0.0, passes=passes, failures=failures)
        is_doubted = (passes and verdict is not Verdict.UP) or (failures and verdict is not Verdict.DOWN)
        expected = 1.0 if is_doubted else 30.0 if verdict is Verdict.DOWN else 8.0
        assert pace(health, check) == expected
