"""Measures the processor time per probe of lvs-healthd, HAProxy's own checks and the bare loop, in turns."""

import functools

from bench import contenders
from bench.context import Context, Scenario
from bench.figures import Figure, number
from bench.outcome import Claim, Outcome, Plot, Series, Table
from bench.probing import Costs, compare

SERVERS = {
    "http": 1000,
    "tcp": 1000,
    "udp": 1000,
    "https": 300,
    "https-resumed": 300,
    "http-keep": 1000,
    "https-keep": 300,
}
"""How many servers per kind. One core cannot do a thousand TLS handshakes a second, on either side."""
INTERVAL_S = 1.0

_WORDS = {
    "http": "HTTP",
    "tcp": "TCP",
    "udp": "UDP",
    "https": "HTTPS",
    "https-resumed": "HTTPS (resumed session)",
    "http-keep": "HTTP (kept connection)",
    "https-keep": "HTTPS (kept connection)",
}
_PEER = "HAProxy"
_FLOOR = "bare loop"
_LEAST = "bare loop, sockets used again"
_OWN = "lvs-healthd"

_TARGETS = {
    "http": ((_PEER, 0.65), (_LEAST, 1.3)),
    "tcp": ((_PEER, 1.0), (_FLOOR, 1.25)),
    "udp": ((_FLOOR, 1.5),),
    "https": ((_PEER, 0.85),),
    "https-resumed": ((_PEER, 1.2),),
    "http-keep": ((_PEER, 0.35), (_FLOOR, 1.5)),
    "https-keep": ((_PEER, 0.08), (_FLOOR, 1.8)),
}


def run(kind: str, context: Context) -> Outcome:
    """Measure one kind of probe."""
    load = context.load(kind, SERVERS[kind], INTERVAL_S)
    who: dict[str, contenders.Contender] = {_OWN: contenders.daemon}
    if kind != "https-resumed":  # Python's bare loop would copy each session twice
        who[_FLOOR] = contenders.floor
    if kind in {"http", "tcp"}:
        who[_LEAST] = functools.partial(contenders.floor, again=True)
    if kind != "udp":
        who[_PEER] = contenders.haproxy
    # HAProxy's checks have a new connection each time; only from 3.2 on can they use one again.
    peer = {_PEER: context.load(kind.removesuffix("-keep"), SERVERS[kind], INTERVAL_S)}
    costs = compare(context.say, who, load, rounds=context.pick(3, 1), seconds=context.pick(3.0, 2.5), loads=peer)
    own = costs[_OWN].total
    claims = [
        Claim(
            what=f"CPU per {_WORDS[kind]} probe, {load.count} servers at {INTERVAL_S:g} s",
            measured=own.text("µs"),
            beside=f"{other}: {costs[other].total.text('µs')}, ratio {(ratio := own.over(costs[other].total)).text()}",
            target=f"<= {limit:g} x {other}",
            holds=ratio.median <= limit,
        )
        for other, limit in _TARGETS[kind]
    ]
    return Outcome(claims, [_table(kind, costs, own)], [_plot(kind, costs)])


def _table(kind: str, costs: dict[str, Costs], own: Figure) -> Table:
    return Table(
        f"{_WORDS[kind]} probes: µs of CPU each, median (spread)",
        ("", "all", "user", "system", "lvs-healthd is x times this", "probes/s"),
        [
            (
                name,
                *(each.text() for each in (cost.total, cost.user, cost.system, own.over(cost.total))),
                number(cost.rate.median),
            )
            for name, cost in costs.items()
        ],
    )


def _plot(kind: str, costs: dict[str, Costs]) -> Plot:
    order = [name for name in (_LEAST, _FLOOR, _OWN, _PEER) if name in costs]
    return Plot(
        # TLS costs so much more that the other bars would be too small to see beside it.
        "cpu-https" if kind.startswith("https") else "cpu",
        "CPU per probe (whisker: spread of the runs)",
        "",
        "µs per probe",
        tuple(
            Series(
                name,
                (_WORDS[kind],),
                (costs[name].total.median,),
                (costs[name].total.low,),
                (costs[name].total.high,),
            )
            for name in order
        ),
        bars=True,
    )


SCENARIOS = tuple(
    Scenario(f"cpu-{kind}", f"CPU per {word} probe", functools.partial(run, kind)) for kind, word in _WORDS.items()
)
