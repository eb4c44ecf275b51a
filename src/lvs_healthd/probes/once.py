"""Runs checks once, outside any schedule: for `lvs-healthd probe`."""

import asyncio
from collections.abc import Iterable

from lvs_healthd.config.model import AnyCheck
from lvs_healthd.probes.engine import Engine
from lvs_healthd.probes.outcome import Outcome
from lvs_healthd.probes.targets import probe_key, target


async def run_once(checks: Iterable[AnyCheck], *, max_in_flight: int = 1000) -> dict[AnyCheck, Outcome]:
    """Run each distinct probe of `checks` once and return its outcome by `probe_key`.

    Raises `OSError` when a check's `ca` cannot be read.
    """
    loop = asyncio.get_running_loop()
    engine = Engine(clock=loop.time, max_in_flight=max_in_flight)
    targets = {key: target(key) for key in map(probe_key, checks)}
    outcomes: dict[AnyCheck, Outcome] = {}
    changed = asyncio.Event()
    failures: list[Exception] = []
    engine.wake = changed.set

    def note(key: AnyCheck, outcome: Outcome) -> None:
        outcomes[key] = outcome
        changed.set()

    def fail(error: Exception) -> None:
        failures.append(error)
        changed.set()

    engine.open(loop, fail)
    try:
        for key, ready in targets.items():
            engine.start(ready, lambda outcome, key=key: note(key, outcome))  # type: ignore[misc]  # binds the loop's key
        while len(outcomes) < len(targets):
            due = engine.next_tick
            changed.clear()
            try:
                async with asyncio.timeout_at(due):
                    await changed.wait()
            except TimeoutError:
                engine.tick(max(0.0, loop.time() - (due or loop.time())))
            if failures:
                raise failures[0]
    finally:
        engine.close()
    return outcomes
