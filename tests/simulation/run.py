"""Plays runs: each has a seed, from which everything follows. A run that fails is shrunk to the steps that matter."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from tests.simulation.chance import Chance
from tests.simulation.documents import first
from tests.simulation.world import InvariantError, Step, World

STEPS = 2000
"""How many steps a run has. Longer runs find little more, and take longer to shrink."""

RUNS_OF_SEED = 1_000_000
"""How far apart the runs of two seeds are, so that they have no run in common."""

MOST_TRIALS = 2000
"""How many shorter lists are tried while a run is shrunk."""


class Played(NamedTuple):
    """What came of a run."""

    seed: int
    steps: int
    """How many were taken."""
    writes: int
    """How many writes there were to the kernel's table."""
    trace: str
    """A digest of all steps, events and writes. The same seed always gives the same."""
    broken: str
    """The invariant that does not hold, and why; "" if all do."""


def seeds(seed: int, steps: int) -> range:
    """Return the seeds of as many runs as there must be for so many steps."""
    return range(seed * RUNS_OF_SEED, seed * RUNS_OF_SEED + -(-steps // STEPS))


def steps_of(seed: int, count: int = STEPS) -> list[Step]:
    """Return the steps of a run."""
    chance = Chance(random.Random(seed))
    return [chance.step() for _ in range(count)]


def play(seed: int, count: int = STEPS) -> Played:
    """Play a run of so many steps."""
    world, broken = _world(seed), ""
    try:
        world.run(steps_of(seed, count))
    except InvariantError as found:
        broken = str(found)
    return Played(seed, world.number + 1, world.eyes.writes, world.eyes.trace, broken)


def replay(seed: int, steps: Sequence[Step]) -> None:
    """Take these steps in the world of a seed. Raises `InvariantError` when an invariant does not hold."""
    _world(seed).run(steps)


def _world(seed: int) -> World:
    return World(first(random.Random(seed)))


def shrunk(seed: int, steps: Sequence[Step]) -> list[Step]:
    """Return a short list of steps, taken from `steps`, that breaks the same invariant; `steps` if they break none."""
    found = _found(seed, steps)
    if found is None:
        return list(steps)

    def breaks(shorter: Sequence[Step]) -> int | None:
        again = _found(seed, shorter)
        return again.number + 1 if again is not None and again.rule == found.rule else None

    return least(list(steps[: found.number + 1]), breaks)


def _found(seed: int, steps: Sequence[Step]) -> InvariantError | None:
    try:
        replay(seed, steps)
    except InvariantError as found:
        return found
    return None


def least(steps: list[Step], breaks: Callable[[Sequence[Step]], int | None]) -> list[Step]:
    """Return a list from which no single step can be left out, as far as `MOST_TRIALS` trials show.

    Larger and then smaller parts are left out (delta debugging: Zeller and Hildebrandt, "Simplifying and isolating
    failure-inducing input", 2002, without its tests of the parts alone).

    breaks: returns how many steps of a list are needed to break the same invariant; None if they do not break it.
    """
    size, trials = max(1, len(steps) // 2), 0
    while trials < MOST_TRIALS:
        start, was_shortened = len(steps) - size, False
        while start > -size and trials < MOST_TRIALS:
            shorter = steps[: max(0, start)] + steps[start + size :]
            trials += 1
            needed = breaks(shorter) if len(shorter) < len(steps) else None
            if needed is not None:
                steps, was_shortened = shorter[:needed], True
            start = min(start, len(steps)) - size
        if size == 1 and not was_shortened:
            break
        size = max(1, size // 2)
    return steps


def snippet(seed: int, steps: Sequence[Step], broken: str) -> str:
    """Write a test that takes these steps."""
    lines = "\n".join(f"            {step!r}," for step in steps)
    return (
        f"def test_found_by_seed_{seed}() -> None:\n"
        f'    """{broken}"""\n'
        f"    replay(\n        {seed},\n        [\n{lines}\n        ],\n    )\n"
    )
