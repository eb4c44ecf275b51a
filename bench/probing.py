"""Measures what a probe costs a contender: its processor time over a few seconds per probe that the kernel counted."""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from bench.contenders import Contender
from bench.figures import Figure
from bench.healthd import Load, folder
from bench.outcome import MeasurementError
from bench.processes import Cpu, Program
from bench.real_servers import KEPT, RealServers

TOLERANCE = 0.05
"""How much the rate of probes may differ from the rate due. With a larger difference, the run is invalid."""

STEADY_ROUNDS = 2
"""How many rounds with the right number of probes end the warm-up: the start and the first probes are over then."""

WARM_TOLERANCE = 0.1
"""Like `TOLERANCE`, for one round of the warm-up. It is larger, because a round is short and the starts have jitter."""

WARM_DEADLINE_S = 120.0
"""How long a warm-up may take. An emulated machine takes a while to start an interpreter."""

MICROSECONDS = 1e6


class Cost(NamedTuple):
    """What one run cost."""

    per_probe: Cpu
    """Seconds of processor time per probe."""
    rate: float
    """Probes per second."""
    resident_bytes: int
    share: float
    """Share of one processor, 0 to 1."""

    def keeps_up(self, load: Load) -> bool:
        """Whether the program made as many probes as were due."""
        return self.rate >= (1 - TOLERANCE) * load.rate


class Costs(NamedTuple):
    """The costs of repeated runs of one contender."""

    runs: list[Cost]

    @property
    def total(self) -> Figure:
        """Processor time per probe, microseconds."""
        return Figure(tuple(run.per_probe.total * MICROSECONDS for run in self.runs))

    @property
    def user(self) -> Figure:
        """Processor time per probe in the program itself, microseconds."""
        return Figure(tuple(run.per_probe.user * MICROSECONDS for run in self.runs))

    @property
    def system(self) -> Figure:
        """Processor time per probe in the kernel, microseconds."""
        return Figure(tuple(run.per_probe.system * MICROSECONDS for run in self.runs))

    @property
    def rate(self) -> Figure:
        """Probes per second."""
        return Figure(tuple(run.rate for run in self.runs))


def counter(load: Load, program: Program) -> Callable[[], int]:
    """Return a function that counts the probes a program sends, without asking the program."""
    if load.kind == "udp":
        return RealServers.datagrams
    if load.kind in KEPT:
        return RealServers.requests

    def connections() -> int:
        try:
            return RealServers.connections(program.pid)
        except OSError as error:
            raise MeasurementError(f"it has ended:\n{program.last_words()}") from error

    return connections


def cost(program: Program, load: Load, seconds: float, *, may_fall_behind: bool = False) -> Cost:
    """Measure a running program for some seconds. Raises `MeasurementError` when it does not probe at the right rate.

    may_fall_behind: whether to allow fewer probes than are due; the caller then looks at `Cost.rate`.
    """
    count = counter(load, program)
    probes, cpu, began = count(), program.cpu(), time.monotonic()
    time.sleep(seconds)
    probes, cpu, took = count() - probes, program.cpu().since(cpu), time.monotonic() - began
    if not program.alive():
        raise MeasurementError(f"it has ended:\n{program.last_words()}")
    rate = probes / took
    if not (may_fall_behind and rate <= load.rate) and abs(rate - load.rate) > TOLERANCE * load.rate:
        raise MeasurementError(f"{rate:.0f} probes/s seen, {load.rate:.0f} due; it said:\n{program.last_words()}")
    per_probe = Cpu(*(part / probes for part in cpu))
    return Cost(per_probe, rate, program.resident_bytes(), cpu.total / took)


def warm_up(program: Program, load: Load, *, steady_rounds: int = STEADY_ROUNDS) -> None:
    """Wait until a program has probed at the rate due for some rounds. Raises `MeasurementError` if it never does."""
    count = counter(load, program)
    deadline = time.monotonic() + WARM_DEADLINE_S
    steady = 0
    rate = 0.0
    while steady < steady_rounds:
        if not program.alive():
            raise MeasurementError(f"it has ended:\n{program.last_words()}")
        if time.monotonic() > deadline:
            raise MeasurementError(
                f"{rate:.0f} probes/s after {WARM_DEADLINE_S:g} s, {load.rate:.0f} due; it said:\n"
                f"{program.last_words()}"
            )
        before, began = count(), time.monotonic()
        time.sleep(load.interval_s)
        rate = (count() - before) / (time.monotonic() - began)
        steady = steady + 1 if abs(rate - load.rate) <= WARM_TOLERANCE * load.rate else 0
    program.calm_from = time.time()


def compare(
    say: Callable[[str], None],
    contenders: Mapping[str, Contender],
    common: Load,
    *,
    rounds: int,
    seconds: float,
    windows: int = 1,
    steady_rounds: int = STEADY_ROUNDS,
    loads: Mapping[str, Load] | None = None,
) -> dict[str, Costs]:
    """Measure contenders in turns: A B C A B C, so that both sides of a ratio are from the same minute.

    common: what they probe, unless `loads` says another.
    loads: those of contenders that have another.

    windows: measurements per run; more than one if a start takes longer than a measurement.
    seconds: length of a measurement.
    """
    runs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, contender in contenders.items():
            load = (loads or {}).get(name, common)
            with folder() as place, contextlib.ExitStack() as stack:
                program = stack.enter_context(contender(load, place))
                warm_up(program, load, steady_rounds=steady_rounds)
                found = [cost(program, load, seconds) for _ in range(windows)]
            runs[name] += found
            spent = ", ".join(f"{each.per_probe.total * MICROSECONDS:.1f}" for each in found)
            say(f"{load.kind} {name}: {spent} µs/probe at {found[-1].rate:.0f}/s")
    return {name: Costs(found) for name, found in runs.items()}
