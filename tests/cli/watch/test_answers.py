"""What the live screen knows of the daemon while it answers, is away, and comes back."""

import time
from collections.abc import Callable

import pytest

from lvs_healthd.cli.asking import UnreachableError
from lvs_healthd.cli.watch.answers import Answer, Answers
from lvs_healthd.view.status_values import Status
from tests import statuses


def until(answers: Answers, condition: Callable[[Answer], bool]) -> Answer:
    limit = time.monotonic() + 20
    while not condition(found := answers.latest()):
        assert time.monotonic() < limit, found
        time.sleep(0.01)
    return found


def test_an_answer_stays_while_the_daemon_is_away_and_since_is_the_first_failure() -> None:
    fails: list[str] = []

    def ask() -> Status:
        if fails:
            raise UnreachableError(fails[0])
        return statuses.status()

    answers = Answers(ask, 0.01)
    assert answers.latest() == Answer()
    answers.start()
    try:
        before = until(answers, lambda found: found.status is not None)
        began = time.time()
        fails.append("gone")
        away = until(answers, lambda found: found.error == "gone")
        assert away.status == before.status
        assert began <= away.away_since <= time.time()
        fails[0] = "still gone"
        assert until(answers, lambda found: found.error == "still gone").away_since == away.away_since
        fails.clear()
        back = until(answers, lambda found: not found.error)
        assert back.away_since == 0.0
        assert back.at > before.at
    finally:
        answers.stop()


def test_a_bug_ends_the_screen() -> None:
    def ask() -> Status:
        raise ZeroDivisionError

    answers = Answers(ask, 0.01)
    answers.start()
    with pytest.raises(ZeroDivisionError):
        until(answers, lambda _: False)
    answers.stop()
