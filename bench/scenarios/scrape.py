"""Measures GET /metrics: how long it takes, how long the loop stands still, and what many clients at once cost."""

import json
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

from bench.context import Context, Scenario
from bench.figures import figure, number
from bench.healthd import LISTEN, Healthd, folder
from bench.outcome import Claim, MeasurementError, Outcome
from bench.processes import PEER_CPU, PYTHON, resident_bytes, running
from bench.steady import steady_daemon

SERVERS = 10_000
INTERVAL_S = 2.0

TIME_LIMIT_S = 0.075
STALL_LIMIT_S = 0.02
"""How long the event loop may stand still because of a scrape, seconds."""
STATUS_LIMIT_S = 0.3
"""How long `lvs-healthd status` may take, seconds, from its start to its end."""

CROWD_SERVERS = 5000
CROWD = 40
"""How many clients scrape at the same moment."""
CROWD_STALL_LIMIT_S = 0.02
"""How long a turn of the event loop may take meanwhile, seconds."""
CROWD_MEMORY_LIMIT = 10_000_000
"""By how many bytes resident memory may rise at its highest point. The daemon has been scraped once before."""

_ASK_EVERY_S = 0.005
_PAUSE_S = 0.7
_APART_S = 2.5
"""The pause before each burst, seconds. It is so long that the daemon does not answer from the scrape before."""
_CROWD_S = 60.0


def run(context: Context) -> Outcome:
    """Scrape a busy daemon a few times."""
    load = context.load("http", SERVERS, INTERVAL_S)
    took: list[float] = []
    windows: list[tuple[float, float]] = []
    body = b""
    with steady_daemon(load) as healthd:
        for _ in range(context.pick(10, 4)):
            time.sleep(_PAUSE_S)
            began = time.monotonic()
            body = healthd.scrape()
            took.append(time.monotonic() - began)
        # Scrape again with the observer, whose requests take their share of the daemon's time.
        with healthd.observed(_ASK_EVERY_S) as observer:
            for _ in range(context.pick(10, 4)):
                time.sleep(_PAUSE_S)
                began = time.monotonic()
                healthd.scrape()
                windows.append((began, time.monotonic()))
        status = figure(*(_status_s(healthd) for _ in range(context.pick(10, 4)))).scaled(1000)
        answer = figure(*(_answer_s(healthd) for _ in range(context.pick(10, 4)))).scaled(1000)
        healthd.check_quiet()
    stalls = [max(observer.between(begin - _ASK_EVERY_S, end), default=0.0) for begin, end in windows]
    found, stalled = figure(*took).scaled(1000), figure(*stalls).scaled(1000)
    claim = Claim(
        what=f"scrape, {SERVERS} servers, {number(len(body) / 1e6)} MB",
        measured=f"{found.text('ms')}; loop stalled {stalled.text('ms')}",
        beside=f"joining as many ready lines: {number(_floor_s(body) * 1000)} ms",
        target=f"<= {TIME_LIMIT_S * 1000:g} ms, no stall > {STALL_LIMIT_S * 1000:g} ms",
        holds=found.median <= TIME_LIMIT_S * 1000 and stalled.high <= STALL_LIMIT_S * 1000,
    )
    told = Claim(
        what=f"lvs-healthd status, {SERVERS} servers",
        measured=status.text("ms"),
        beside=f"the client on the other core; the daemon's answer alone: {answer.text('ms')}",
        target=f"<= {STATUS_LIMIT_S * 1000:g} ms",
        holds=status.median <= STATUS_LIMIT_S * 1000,
    )
    return Outcome([claim, told])


def _status_s(healthd: Healthd) -> float:
    """Return how long `lvs-healthd status` takes, seconds."""
    began = time.monotonic()
    status = [str(Path(PYTHON).with_name("lvs-healthd")), "status", "--control", str(healthd.control)]
    shown = subprocess.run(status, check=True, capture_output=True).stdout
    took = time.monotonic() - began
    if shown.count(b"\n") < SERVERS:
        raise MeasurementError(f"status has shown only this:\n{shown[:1000].decode()}")
    return took


def _answer_s(healthd: Healthd) -> float:
    """Return how long the daemon takes to answer with its status, seconds."""
    began = time.monotonic()
    healthd.get("/api/v1/status")
    return time.monotonic() - began


def _floor_s(body: bytes) -> float:
    """Return how long Python takes to write these samples, seconds, when names, labels and values are ready."""
    samples = [line.rpartition(" ") for line in body.decode().splitlines()]
    ready = [(head, float(value) if head[0] != "#" else 0.0) for head, _, value in samples]
    began = time.monotonic()
    "".join([f"{head} {value!r}\n" for head, value in ready]).encode()
    return time.monotonic() - began


class _Burst(NamedTuple):
    """What one burst of scrapes cost. `began` and `ended` are seconds on CLOCK_MONOTONIC."""

    began: float
    ended: float
    answer_bytes: int
    """The length of the shortest answer."""
    more_bytes: int
    """By how much resident memory at its highest point exceeded that before the first burst."""


def crowd(context: Context) -> Outcome:
    """Let many clients scrape at the same moment, a few times."""
    load = context.load("http", CROWD_SERVERS, INTERVAL_S)
    with folder() as place:
        turns_file = place / "turns"
        with steady_daemon(load, command=[PYTHON, "-m", "bench.daemon_with_turns", turns_file]) as healthd:
            healthd.scrape()
            time.sleep(_APART_S)
            calm = resident_bytes(healthd.program.pid)
            bursts = []
            for _ in range(context.pick(10, 4)):
                time.sleep(_APART_S)
                bursts.append(_burst(healthd, calm))
            healthd.check_quiet()
        try:
            turns: list[list[float]] = json.loads(turns_file.read_text(encoding="ascii"))
        except (OSError, ValueError) as error:
            raise MeasurementError(f"no turns of the event loop: {error}") from error
    stalled, own = (
        figure(
            *(
                max((turn[at] for turn in turns if burst.began <= turn[0] <= burst.ended), default=0.0)
                for burst in bursts
            )
        ).scaled(1000)
        for at in (1, 2)
    )
    took = figure(*(burst.ended - burst.began for burst in bursts)).scaled(1000)
    memory = figure(*(burst.more_bytes / 1e6 for burst in bursts))
    claim = Claim(
        what=f"{CROWD} clients scrape at once, {CROWD_SERVERS} servers, {number(bursts[0].answer_bytes / 1e6)} MB each",
        measured=f"longest turn of the loop {stalled.text('ms')}; memory +{memory.text('MB')}",
        beside=f"most processor time in one turn {own.text('ms')}; all answered in {took.text('ms')}",
        target=f"no turn > {CROWD_STALL_LIMIT_S * 1000:g} ms, memory <= +{CROWD_MEMORY_LIMIT / 1e6:g} MB",
        holds=stalled.high <= CROWD_STALL_LIMIT_S * 1000 and memory.high <= CROWD_MEMORY_LIMIT / 1e6,
    )
    return Outcome([claim])


def _burst(healthd: Healthd, calm_bytes: int) -> _Burst:
    """Let each client scrape once. Raises `MeasurementError` when a client does not get its whole answer.

    calm_bytes: the daemon's resident memory before the first burst.
    """
    pid = healthd.program.pid
    # This makes the kernel forget the highest resident memory so far (proc(5)).
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    scrapers = Path(__file__).parent.parent / "scrapers.py"
    command = [PYTHON, "-I", "-S", scrapers, *LISTEN, "/metrics", CROWD]
    with running(command, cpu=PEER_CPU) as program:
        healthd.wait_while_alive(lambda: not program.alive(), timeout_s=_CROWD_S, what="all answers")
        try:
            began, ended, counts = json.loads(program.output())
        except ValueError as error:
            raise MeasurementError(f"the clients failed:\n{program.last_words()}") from error
    return _Burst(began, ended, min(counts), _highest_bytes(pid) - calm_bytes)


def _highest_bytes(pid: int) -> int:
    """Return the highest resident memory of a process since it was last reset, bytes."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


SCENARIOS = (
    Scenario("scrape", "a scrape", run),
    Scenario("scrapers", "many scrapes at once", crowd),
)
