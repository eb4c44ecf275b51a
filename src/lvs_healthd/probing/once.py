"""Runs checks once, outside any schedule: for `lvs-healthd probe` and `lvs-healthd checks try`."""

import asyncio
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.probes.exchange import Sign, Target
from lvs_healthd.probes.outcome import Course, Outcome
from lvs_healthd.probes.targets import ProbeKey, probe_key, target
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.groups import Groups
from lvs_healthd.probing.probe import Probe


class ProbeResult(NamedTuple):
    """What one probe found, and how it went."""

    outcome: Outcome
    course: Course

    @property
    def latency_s(self) -> float:
        """The seconds from the probe's first packet to the outcome."""
        return self.course.total_s


async def run_once(checks: Iterable[AnyCheck], *, max_in_flight: int = 1000) -> dict[ProbeKey, ProbeResult]:
    """Run each distinct probe of `checks` once, and return what each found, by `probe_key`.

    max_in_flight: the maximum number of sockets open at once.

    Raises `OSError` when a check's `ca` cannot be read.
    """
    found: dict[ProbeKey, ProbeResult] = {}
    distinct = {probe_key(check): check for check in checks}
    probes = [Probe(check, target(check), 0.0, _Note(key, found)) for key, check in distinct.items()]
    runs, _ = Groups().replaced(probes, ())
    results = await run_targets({run.key: run.target for run in runs}, max_in_flight=max_in_flight)
    for run in runs:
        run.sink.outcome(*results[run.key])
    return found


async def run_targets(targets: Mapping[AnyCheck, Target], *, max_in_flight: int = 1000) -> dict[AnyCheck, ProbeResult]:
    """Run each of these targets once, and return what each found.

    max_in_flight: the maximum number of sockets open at once.
    """
    loop = asyncio.get_running_loop()
    engine = Engine(clock=loop.time, max_in_flight=max_in_flight)
    found: dict[AnyCheck, ProbeResult] = {}
    changed = asyncio.Event()
    failures: list[Exception] = []
    engine.wake = changed.set

    def note(key: AnyCheck, outcome: Outcome, course: Course) -> None:
        found[key] = ProbeResult(outcome, course)
        changed.set()

    def fail(error: Exception) -> None:
        failures.append(error)
        changed.set()

    engine.open(loop, fail)
    try:
        for key, ready in targets.items():
            engine.start(_Once(ready, functools.partial(note, key)))
        while len(found) < len(targets) or engine.parting:
            changed.clear()
            # A tick that is already due is not late: what is overdue ends in slices.
            tick = engine.next_tick
            due = None if tick is None else max(tick, loop.time())
            try:
                async with asyncio.timeout_at(due):
                    await changed.wait()
            except TimeoutError:
                engine.tick(max(0.0, loop.time() - (due or loop.time())))
            if failures:
                raise failures[0]
    finally:
        engine.close()
    return found


class _Note(NamedTuple):
    """Notes what a probe found."""

    key: ProbeKey
    found: dict[ProbeKey, ProbeResult]

    def outcome(self, outcome: Outcome, course: Course) -> None:
        """Note the outcome."""
        self.found[self.key] = ProbeResult(outcome, course)


class _Once:
    """One probe, in the form that the engine runs."""

    repeats = False

    def __init__(self, target: Target, ended: Callable[[Outcome, Course], None]) -> None:
        self.target = target
        self.ended = ended

    def started(self, now: float) -> None:
        """Ignore the start: nothing here depends on it."""

    def signalled(self, sign: Sign) -> None:
        """Ignore the end of an idle connection, because there is no other probe."""
