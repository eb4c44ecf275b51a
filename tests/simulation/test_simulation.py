"""The daemon in a simulated world: nothing that happens to it may break an invariant (docs/simulation.md)."""

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from lvs_healthd.health import machine
from lvs_healthd.health.machine import Health
from lvs_healthd.probes.outcome import Outcome, OutcomeKind
from tests.simulation.run import least, play, replay, seeds, shrunk, snippet, steps_of
from tests.simulation.world import InvariantError, Step

PARTS = 7
STEPS_OF_PART = 5_000
"""A slow machine takes 6 s for a part: less than a minute for all of them."""


def played(seed: int, steps: int) -> None:
    for each in seeds(seed, steps):
        if broken := play(each).broken:
            steps_that_matter = shrunk(each, steps_of(each))
            pytest.fail(f"{broken}\n\n{snippet(each, steps_that_matter, broken)}", pytrace=False)


@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_that_happens_breaks_an_invariant(part: int) -> None:
    played(1000 + part, STEPS_OF_PART)


def test_nothing_that_happens_today_breaks_an_invariant() -> None:
    """Other runs each day."""
    played(dt.datetime.now(tz=dt.UTC).toordinal(), STEPS_OF_PART)


@pytest.mark.long
def test_same_seed_gives_the_same_run() -> None:
    code = "from tests.simulation.run import play; print(*(play(seed) for seed in range(5)), sep='\\n')"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": number},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for number in ("1", "2")
    }
    assert found == {"".join(f"{play(seed)}\n" for seed in range(5))}


@pytest.fixture
def unsure_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an unsure outcome count as a failure."""
    right = machine.step

    def wrong(health: Health, outcome: Outcome, **keys: float) -> Health:
        if outcome.kind is OutcomeKind.UNSURE:
            outcome = Outcome(OutcomeKind.DOWN, outcome.reason, outcome.detail)
        return right(health, outcome, **keys)  # type: ignore[arg-type]

    monkeypatch.setattr(machine, "step", wrong)


@pytest.mark.usefixtures("unsure_fails")
def test_failing_run_is_shrunk_to_a_test_that_fails_for_the_same_reason() -> None:
    seed = next(seed for seed in range(20) if play(seed).broken)
    steps = shrunk(seed, steps_of(seed))
    assert len(steps) <= 6
    test = snippet(seed, steps, "unsure outcomes count")
    names: dict[str, object] = {"replay": replay}
    exec(test, names)  # noqa: S102  # it is the text that a person would paste
    with pytest.raises(InvariantError, match="judges by what probes find"):
        names[f"test_found_by_seed_{seed}"]()  # type: ignore[operator]


def test_shrinking_leaves_out_all_that_does_not_matter() -> None:
    """It breaks with a 7 that comes after a 3."""

    def breaks(steps: Sequence[Step]) -> int | None:
        numbers = [number for (number,) in steps]
        if 3 not in numbers or 7 not in numbers[numbers.index(3) :]:
            return None
        return numbers.index(7, numbers.index(3)) + 1

    assert least([(number,) for number in (7, 1, 3, 4, 3, 9, 7, 3, 7, 2)], breaks) == [(3,), (7,)]
