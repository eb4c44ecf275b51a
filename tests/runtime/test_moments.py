"""Common moments: where they are, and that whoever sleeps until one wakes up together with the others."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.probing.deadlines import TICK_S
from lvs_healthd.runtime.moments import moment_after, until_next_moment


@given(now=st.floats(0, 1e8), every_s=st.sampled_from((0.25, 0.5, 1.0, 5.0)))
def test_moment_comes_in_about_that_time(now: float, every_s: float) -> None:
    assert now + every_s / 2 <= moment_after(now, every_s) <= now + every_s * 1.5


@pytest.mark.parametrize("now", [0.0, 0.26, 17.49, 17.51, 86400.3])
@pytest.mark.parametrize("every_s", [0.5, 1.0, 5.0])
def test_moments_of_all_are_among_those_of_the_most_frequent_and_of_probes(now: float, every_s: float) -> None:
    moment = moment_after(now, every_s)
    assert (moment / 0.5).is_integer()
    assert moment / TICK_S == pytest.approx(round(moment / TICK_S), abs=1e-6)


def test_whoever_turns_again_and_again_keeps_the_distance() -> None:
    turns = [7.1]
    for _ in range(10):
        turns.append(moment_after(turns[-1], 1.0) + 0.003)  # and works for 3 ms
    assert {round(later - earlier, 6) for earlier, later in itertools.pairwise(turns[1:])} == {1.0}


async def test_sleepers_wake_up_together() -> None:
    woken = []

    async def sleeper(begins_after_s: float, every_s: float) -> None:
        await asyncio.sleep(begins_after_s)
        await until_next_moment(every_s)
        woken.append(turns)

    turns = 0

    def count() -> None:
        nonlocal turns
        turns += 1
        asyncio.get_running_loop().call_later(0.001, count)

    await until_next_moment(1.0)
    count()
    async with asyncio.TaskGroup() as group:
        for begins_after_s in (0.0, 0.003, 0.011):
            group.create_task(sleeper(begins_after_s, 1.0))
    assert max(woken) - min(woken) <= 1


async def test_sleeper_may_be_cancelled() -> None:
    sleeping = asyncio.create_task(until_next_moment(60.0))
    await asyncio.sleep(0)
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
