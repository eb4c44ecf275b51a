"""Measures, with 10 000 servers at 1 s, how late probes start and how long the event loop stands still."""

import json
import time

from bench import contenders
from bench.context import Context, Scenario
from bench.figures import number, quantile
from bench.healthd import Load, folder
from bench.outcome import Claim, MeasurementError, Outcome, Plot, Series, Table
from bench.probing import cost
from bench.steady import LAG, LOOP_LAG, SKIPPED, steady_daemon

SERVERS = 10_000
INTERVAL_S = 1.0

LAG_LIMIT_S = 0.1
STALL_LIMIT_S = 0.02
STALL_SHARE = 0.999

_ASK_EVERY_S = 0.01
_POINTS = 400


def lag(context: Context) -> Outcome:
    """Measure how late probes start."""
    load = context.load("http", SERVERS, INTERVAL_S)
    seconds = context.pick(15.0, 6.0)
    with steady_daemon(load) as healthd:
        before = healthd.metrics()
        found = cost(healthd.program, load, seconds, may_fall_behind=True)
        after = healthd.metrics()
        healthd.check_quiet()
    late = after.buckets(LAG).since(before.buckets(LAG))
    skipped = after.sum(SKIPPED) - before.sum(SKIPPED)
    floor_s = _floor_lag_s(load, seconds)
    shares = (0.5, 0.9, 0.99, 0.999, 1.0)
    table = Table(
        f"How late probes start, {SERVERS} servers at {INTERVAL_S:g} s, {found.share:.0%} of the core",
        ("", *(f"{share:.1%}" for share in shares)),
        [
            ("lvs-healthd, up to 50 ms of it the tick", *(f"<= {late.bound(share) * 1000:g} ms" for share in shares)),
            ("bare loop, last start of each tick", *(f"{number(quantile(floor_s, s) * 1000)} ms" for s in shares)),
        ],
    )
    claim = Claim(
        what=f"start lag, {SERVERS} servers at {INTERVAL_S:g} s",
        measured=f"{found.rate:.0f} of {load.rate:.0f} probes/s, 99 % <= {late.bound(0.99) * 1000:g} ms, "
        f"{skipped:.0f} of {late.total:.0f} skipped",
        beside=f"bare loop: {number(quantile(floor_s, 0.99) * 1000)} ms",
        target=f"99 % <= {LAG_LIMIT_S * 1000:g} ms, none skipped",
        holds=late.bound(0.99) <= LAG_LIMIT_S and not skipped and found.keeps_up(load),
    )
    return Outcome([claim], [table])


def stall(context: Context) -> Outcome:
    """Measure how long the event loop stands still, from outside and by its own histogram."""
    load = context.load("http", SERVERS, INTERVAL_S)
    with steady_daemon(load) as healthd:
        before = healthd.metrics()
        with healthd.observed(_ASK_EVERY_S) as observer:
            # The scrape above is not part of a steady state.
            time.sleep(1)
            began = time.monotonic()
            found = cost(healthd.program, load, context.pick(20.0, 6.0), may_fall_behind=True)
            ended = time.monotonic()
        after = healthd.metrics()
        healthd.check_quiet()
    waits = observer.between(began, ended)
    own = after.buckets(LOOP_LAG).since(before.buckets(LOOP_LAG))
    worst = quantile(waits, STALL_SHARE)
    claim = Claim(
        what=f"steady loop stall, {SERVERS} servers at {INTERVAL_S:g} s",
        measured=f"99.9 % of its ticks <= {own.bound(STALL_SHARE) * 1000:g} ms late",
        beside=f"{found.rate:.0f} probes/s; an answer from outside, three or four turns of the loop: half within "
        f"{number(quantile(waits, 0.5) * 1000)} ms, 99.9 % within {number(worst * 1000)} ms",
        target=f"99.9 % <= {STALL_LIMIT_S * 1000:g} ms",
        holds=own.bound(STALL_SHARE) <= STALL_LIMIT_S,
    )
    return Outcome([claim], plots=[_plot(waits)])


def _floor_lag_s(load: Load, seconds: float) -> list[float]:
    with folder() as place, contenders.floor(load, place) as program:
        time.sleep(seconds)
        program.stop()
        try:
            late_s: list[float] = json.loads(program.output())
        except ValueError as error:
            raise MeasurementError(f"the bare loop failed:\n{program.last_words()}") from error
    # The first round opens everything at once.
    return late_s[round(load.interval_s / 0.05) :]


def _plot(waits: list[float]) -> Plot:
    ordered = sorted(waits, reverse=True)
    step = max(1, len(ordered) // _POINTS)
    # Plot every rare value, and a sample of the common ones.
    ranks = [*range(min(_POINTS, len(ordered))), *range(_POINTS, len(ordered), step)]
    return Plot(
        "stall",
        f"How long the event loop lets GET /healthz wait ({SERVERS} servers at {INTERVAL_S:g} s)",
        "ms",
        "share of questions that waited longer",
        (
            Series(
                "GET /healthz every 10 ms",
                tuple(ordered[rank] * 1000 for rank in reversed(ranks)),
                tuple((rank + 1) / len(ordered) for rank in reversed(ranks)),
            ),
        ),
        x_log=True,
        y_log=True,
    )


SCENARIOS = (
    Scenario("lag", "start offsets and lag", lag),
    Scenario("stall", "steady stalls of the event loop", stall),
)
