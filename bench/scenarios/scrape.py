"""Measures, with 10 000 servers, how long GET /metrics takes and how long the event loop stands still meanwhile."""

import time

from bench.context import Context, Scenario
from bench.figures import figure, number
from bench.outcome import Claim, Outcome
from bench.steady import steady_daemon

SERVERS = 10_000
INTERVAL_S = 2.0

TIME_LIMIT_S = 0.15
STALL_LIMIT_S = 0.05

_ASK_EVERY_S = 0.005
_PAUSE_S = 0.7


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
    return Outcome([claim])


def _floor_s(body: bytes) -> float:
    """Return how long Python takes to write these samples from names, labels and values that are ready."""
    samples = [line.rpartition(" ") for line in body.decode().splitlines()]
    ready = [(head, float(value) if head[0] != "#" else 0.0) for head, _, value in samples]
    began = time.monotonic()
    "".join([f"{head} {value!r}\n" for head, value in ready]).encode()
    return time.monotonic() - began


SCENARIOS = (Scenario("scrape", "a scrape", run),)
