"""Compares, on a real IPVS, the daemon with keepalived's checkers and the daemon's client with ipvsadm.

It runs in the lab (docs/lab.md). In an emulated guest everything takes ten times as long, so only ratios count.
"""

from typing import Any

from bench.context import Context, Scenario
from bench.figures import Figure
from bench.guest_compare import INTERVAL_S, REMOVALS, SERVERS
from bench.lab_run import run_in_lab
from bench.outcome import Claim, Outcome, Plot, Series, Table

_DEADLINE_S = 600.0

_OWN = "lvs-healthd"
_PEER = "keepalived"
_FLOOR = "bare loop"
_WORDS = {"http": "HTTP", "tcp": "TCP"}

PROBE_LIMIT = 1.0
REMOVAL_LIMIT = 1.0


def run(context: Context) -> Outcome:
    """Measure everything in one boot."""
    found = run_in_lab("bench.guest_compare", context.pick("full", "quick"), deadline_s=_DEADLINE_S)
    claims, tables, plots = [], [], []
    for kind, rows in found["costs"].items():
        total, user, system = ({name: _column(rows[name], index) for name in rows} for index in range(3))
        ratio = total[_OWN].over(total[_PEER])
        claims.append(
            Claim(
                what=f"CPU per {_WORDS[kind]} probe in the lab, {SERVERS} servers at {INTERVAL_S:g} s",
                measured=f"{total[_OWN].text('µs')}: user {user[_OWN].text()}, system {system[_OWN].text()}",
                beside=f"{_PEER}: {total[_PEER].text('µs')}: user {user[_PEER].text()}, system {system[_PEER].text()}; "
                f"ratio {ratio.text()}; {_FLOOR}: {total[_FLOOR].text('µs')}",
                target=f"<= {PROBE_LIMIT:g} x {_PEER}",
                holds=ratio.median <= PROBE_LIMIT,
            )
        )
        tables.append(
            Table(
                f"{_WORDS[kind]} probes in the lab (Linux {found['kernel']}): µs of CPU each",
                ("", "all", "user", "system", f"{_OWN} is x times this"),
                [
                    (
                        name,
                        total[name].text(),
                        user[name].text(),
                        system[name].text(),
                        total[_OWN].over(total[name]).text(),
                    )
                    for name in rows
                ],
            )
        )
        plots.append(_plot(kind, total))
    claims.append(_removals(found["removals"]))
    return Outcome(claims, tables, plots)


def _column(rows: list[list[float]], index: int) -> Figure:
    return Figure(tuple(row[index] for row in rows))


def _removals(took: dict[str, Any]) -> Claim:
    own, peer, bare = (Figure(tuple(took[name])) for name in (_OWN, "ipvsadm", "bare writer"))
    ratio = own.over(peer)
    return Claim(
        what=f"{REMOVALS} removals from a real table in the lab, the daemon's netlink client",
        measured=own.text("s"),
        beside=f"ipvsadm -R: {peer.text('s')}, ratio {ratio.text()}; bare writer: {bare.text('s')}",
        target=f"<= {REMOVAL_LIMIT:g} x ipvsadm -R",
        holds=ratio.median <= REMOVAL_LIMIT,
    )


def _plot(kind: str, total: dict[str, Figure]) -> Plot:
    return Plot(
        "cpu-lab",
        "CPU per probe in the lab's emulated guest (whisker: spread of the runs)",
        "",
        "µs per probe",
        tuple(
            Series(name, (_WORDS[kind],), (total[name].median,), (total[name].low,), (total[name].high,))
            for name in (_FLOOR, _OWN, _PEER)
        ),
        bars=True,
    )


SCENARIOS = (Scenario("lab", "keepalived and ipvsadm, on a real IPVS", run, is_slow=True),)
