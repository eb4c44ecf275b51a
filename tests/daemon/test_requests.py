"""Who waits for which reload."""

import asyncio

from lvs_healthd.daemon.requests import ReloadRequests
from lvs_healthd.view.reload_values import ReloadOutcome


async def test_all_who_ask_before_a_reload_get_its_outcome_and_those_who_ask_meanwhile_the_next() -> None:
    requests = ReloadRequests()
    early = [asyncio.create_task(requests.outcome()) for _ in range(2)]
    await asyncio.sleep(0)
    first = await requests.taken()
    late = asyncio.create_task(requests.outcome())
    await asyncio.sleep(0)
    for future in first:
        future.set_result(ReloadOutcome(file="first"))
    assert [(await each).file for each in early] == ["first", "first"]
    (second,) = await requests.taken()
    second.set_result(ReloadOutcome(file="second"))
    assert (await late).file == "second"


async def test_signal_asks_too_and_nobody_waits() -> None:
    requests = ReloadRequests()
    requests.ask()
    assert await requests.taken() == []
