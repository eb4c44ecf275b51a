"""What more servers cost: processor time, memory and lag from 1 000 to 50 000 servers.

Three rows of the summary come from these runs: whether the cost grows along a straight line, the memory for each real
server, and whether one processor can probe 50 000 servers at 5 s without starting probes late. Three more compare the
same with connections that are kept, as many as the limit on descriptors allows.
"""

import time
from dataclasses import dataclass

from bench import contenders
from bench.context import Context, Scenario
from bench.exposition import Buckets, Scrape
from bench.figures import number, straight_line
from bench.healthd import folder
from bench.outcome import Claim, MeasurementError, Outcome, Plot, Series, Table
from bench.probing import Cost, cost
from bench.steady import LAG, SKIPPED, steady_daemon
from lvs_healthd.probing.descriptors import kept_within_limit

INTERVAL_S = 5.0
COUNTS = (1000, 5000, 10_000, 20_000, 50_000)
QUICK_COUNTS = (1000, 5000, 10_000)

CAPACITY_LAG_S = 0.1
MEMORY_LIMIT_BYTES = 3700
KEPT_CPU_SHARE = 0.5
"""The target for kept connections: processor time as a share of that for new ones."""
KEPT_BYTES, KEPT_TLS_BYTES = 2048, 32 * 1024
"""The targets for what a kept connection adds to a server's memory, without TLS and with it."""
_TLS_COUNTS = (100, 1500)
"""One core cannot do more handshakes in a while when it starts."""
STRAIGHT = 0.1
"""A line counts as straight if no point is further from it than this share of the largest value."""

_MEBI = 1024 * 1024
_MOST_PROBES = 1000
"""How many sockets the daemon has for probes under way, beside those that it keeps."""


@dataclass(frozen=True, slots=True)
class Step:
    """The measurements with one number of servers."""

    count: int
    cost: Cost
    lag: Buckets
    skipped: float
    failed: float
    """Probes that did not find their server up, although all servers are up."""


def growth(context: Context) -> Outcome:
    """Find out whether the cost grows in proportion to the number of servers."""
    steps = _steps(context)
    cpu = [(step.count, step.cost.share * 100) for step in steps]
    memory = [(step.count, step.cost.resident_bytes / _MEBI) for step in steps]
    claims = [
        Claim(
            what=f"growth of {what}, {steps[0].count} to {steps[-1].count} servers at {INTERVAL_S:g} s",
            measured=f"{number(points[0][1])} to {number(points[-1][1])} {unit}",
            beside=f"furthest from a straight line: {line.worst_share:.1%} of the largest",
            target=f"straight within {STRAIGHT:.0%}",
            holds=line.worst_share <= STRAIGHT,
        )
        for what, unit, points in (("CPU", "% of a core", cpu), ("memory", "MiB", memory))
        for line in (straight_line(points),)
    ]
    table = Table(
        f"What more servers cost (HTTP, every {INTERVAL_S:g} s)",
        (
            "servers",
            "probes/s",
            "CPU, % of one core",
            "µs per probe",
            "resident, MiB",
            "99 % late by",
            "failed",
        ),
        [
            (
                str(step.count),
                number(step.cost.rate),
                number(step.cost.share * 100),
                number(step.cost.per_probe.total * 1e6),
                number(step.cost.resident_bytes / _MEBI),
                f"<= {step.lag.bound(0.99) * 1000:g} ms",
                number(step.failed),
            )
            for step in steps
        ],
    )
    return Outcome(claims, [table], _plots(cpu, memory))


def memory(context: Context) -> Outcome:
    """Find out how much resident memory each real server adds."""
    steps = _steps(context)
    line = straight_line([(step.count, step.cost.resident_bytes) for step in steps])
    floor = _memory_floor(context, steps[0].count, steps[-1].count)
    claim = Claim(
        what=f"memory for each real server, {steps[0].count} to {steps[-1].count} servers",
        measured=f"{number(line.slope)} B on {number(line.intercept / _MEBI)} MiB",
        beside=f"bare loop: {number(floor)} B",
        target=f"<= {MEMORY_LIMIT_BYTES} B",
        holds=line.slope <= MEMORY_LIMIT_BYTES,
    )
    return Outcome([claim])


def capacity(context: Context) -> Outcome:
    """Find out whether one processor keeps the schedule with the most servers."""
    step = _steps(context)[-1]
    bound = step.lag.bound(0.99)
    load = context.load("http", step.count, INTERVAL_S)
    claim = Claim(
        what=f"one core, {step.count} servers at {INTERVAL_S:g} s",
        measured=f"{step.cost.rate:.0f} of {load.rate:.0f} probes/s, 99 % of starts late by <= {bound * 1000:g} ms, "
        f"{step.skipped:.0f} skipped, {step.failed:.0f} failed, "
        f"{step.cost.share:.0%} of the core",
        beside="the tick alone makes up to 50 ms",
        target=f"<= {CAPACITY_LAG_S * 1000:g} ms, none skipped, none failed",
        holds=bound <= CAPACITY_LAG_S and not (step.skipped or step.failed) and step.cost.keeps_up(load),
    )
    return Outcome([claim])


def kept(context: Context) -> Outcome:
    """Find out what it saves and costs to keep the connections of many servers."""
    most = min(context.pick(COUNTS, QUICK_COUNTS)[-1], kept_within_limit(_MOST_PROBES) // 1000 * 1000)
    steps = {
        kind: [_measure(context, count, kind, f"max_probes = {_MOST_PROBES}") for count in counts]
        for kind, counts in (
            ("http", (COUNTS[0], most)),
            ("http-keep", (COUNTS[0], most)),
            ("https", _TLS_COUNTS),
            ("https-keep", _TLS_COUNTS),
        )
    }
    slopes = {
        kind: straight_line([(step.count, step.cost.resident_bytes) for step in each]).slope
        for kind, each in steps.items()
    }
    new, keep = (steps[kind][-1].cost for kind in ("http", "http-keep"))
    claims = [
        Claim(
            what=f"kept connections, {most} servers at {INTERVAL_S:g} s: CPU",
            measured=f"{keep.share:.1%} of the core",
            beside=f"new connections: {new.share:.1%}, ratio {keep.share / new.share:.2f}",
            target=f"<= {KEPT_CPU_SHARE:g} x new connections",
            holds=keep.share <= KEPT_CPU_SHARE * new.share and keep.keeps_up(context.load("http", most, INTERVAL_S)),
        ),
        *(
            Claim(
                what=f"memory for a kept connection{words}, {steps[kind][0].count} to {steps[kind][-1].count} servers",
                measured=f"{number(slopes[f'{kind}-keep'] - slopes[kind])} B more for each server",
                beside=f"{number(slopes[f'{kind}-keep'])} B; new connections: {number(slopes[kind])} B",
                target=f"<= {limit} B more",
                holds=slopes[f"{kind}-keep"] - slopes[kind] <= limit,
            )
            for kind, words, limit in (("http", "", KEPT_BYTES), ("https", " with TLS", KEPT_TLS_BYTES))
        ),
    ]
    return Outcome(claims)


def _steps(context: Context) -> list[Step]:
    counts = context.pick(COUNTS, QUICK_COUNTS)
    return context.shared("growth", lambda: [_measure(context, count) for count in counts])


def _measure(context: Context, count: int, kind: str = "http", daemon: str = "") -> Step:
    load = context.load(kind, count, INTERVAL_S)
    with steady_daemon(load, daemon=daemon) as healthd:
        before = healthd.metrics()
        found = cost(healthd.program, load, context.pick(2, 1) * INTERVAL_S, may_fall_behind=True)
        after = healthd.metrics()
        healthd.check_alive()
    lag = after.buckets(LAG).since(before.buckets(LAG))
    failed = _failed(after) - _failed(before)
    step = Step(count, found, lag, after.sum(SKIPPED) - before.sum(SKIPPED), failed)
    context.say(
        f"{kind}, {count} servers: {found.rate:.0f} probes/s, {found.share:.0%} of a core, "
        f"{found.resident_bytes / _MEBI:.0f} MiB, p99 lag <= {lag.bound(0.99) * 1000:g} ms, {failed:.0f} probes failed"
    )
    return step


def _failed(scrape: Scrape) -> float:
    return scrape.sum("lvs_healthd_probes_total") - scrape.sum("lvs_healthd_probes_total", status="up")


def _memory_floor(context: Context, few: int, many: int) -> float:
    """Return how much memory each server adds to the bare loop, bytes."""
    resident = []
    for count in (few, many):
        with folder() as place, contenders.floor(context.load("http", count, INTERVAL_S), place) as program:
            time.sleep(INTERVAL_S + 1)
            if not program.alive():
                raise MeasurementError(f"the bare loop has ended:\n{program.last_words()}")
            resident.append(program.resident_bytes())
    return (resident[1] - resident[0]) / (many - few)


def _plots(cpu: list[tuple[int, float]], memory: list[tuple[int, float]]) -> list[Plot]:
    plots = []
    for name, title, label, points in (
        ("growth-cpu", "CPU against real servers", "% of one core", cpu),
        ("growth-memory", "Memory against real servers", "MiB resident", memory),
    ):
        xs, ys = zip(*points, strict=True)
        line = straight_line(points)
        ideal = tuple(line.intercept + line.slope * x for x in xs)
        series = (Series("measured", xs, ys), Series("straight line", xs, ideal))
        plots.append(Plot(name, f"{title} (HTTP, every {INTERVAL_S:g} s)", "real servers", label, series))
    return plots


SCENARIOS = (
    Scenario("growth", "CPU and memory against the number of servers", growth, is_slow=True),
    Scenario("memory", "memory for each real server", memory, is_slow=True),
    Scenario("capacity", "what one core carries", capacity, is_slow=True),
    Scenario("kept", "kept connections of many servers", kept, is_slow=True),
)
