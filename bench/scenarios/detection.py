"""Measures how soon servers whose processes are killed have left the table, with new connections and with kept ones.

All servers are one nginx, so all are killed at the same moment. Each refuses connections from then on, which the brake
takes for what it is. The kernel is a recorded one, as for the mass failure: its share is measured elsewhere. HAProxy
checks the same servers at the same interval; what it thinks of them is asked over and over.
"""

import socket
import time
from pathlib import Path

from bench import contenders
from bench.context import Context, Scenario
from bench.healthd import SERVERS_PER_SERVICE, configuration, folder, running_daemon
from bench.outcome import Claim, MeasurementError, Outcome, Plot, Series, Table
from bench.probing import warm_up
from bench.recorded_kernel_run import DAEMON, DELETE_SERVER, running_kernel, services

SERVERS = 1000
INTERVAL_S = 2.0
FALL = 3
MEDIAN_S, SLOWEST_S = 0.2, 0.4
"""The targets for kept connections: of half of the servers, and of 99 of 100."""
SHARE = 0.05
"""The target for the median, as a share of HAProxy's."""

_DEADLINE_S = 60.0
_ASK_EVERY_S = 0.02
_NEW, _KEEP, _PEER = "lvs-healthd", "lvs-healthd, kept connections", "HAProxy"


def run(context: Context) -> Outcome:
    """Kill the real servers under each of the programs, in turns."""
    found: dict[str, list[float]] = {_NEW: [], _KEEP: [], _PEER: []}
    for _ in range(context.pick(3, 1)):
        found[_NEW] += _daemon(context, "http")
        found[_KEEP] += _daemon(context, "http-keep")
        found[_PEER] += _haproxy(context)
        context.say(", ".join(f"{name}: {_share(times, 0.5):.2f} s" for name, times in found.items()))
    kept, peer = found[_KEEP], found[_PEER]
    ratio = _share(kept, 0.5) / _share(peer, 0.5)
    claim = Claim(
        what=f"killed to out of the table, kept connections, {SERVERS} servers at {INTERVAL_S:g} s, fall {FALL}",
        measured=f"median {_share(kept, 0.5):.3f} s, 99 % {_share(kept, 0.99):.3f} s",
        beside=f"{_PEER}: {_share(peer, 0.5):.2f} s, ratio {ratio:.3f}; new ones: {_share(found[_NEW], 0.5):.2f} s",
        target=f"<= {MEDIAN_S:g} s, <= {SLOWEST_S:g} s, <= {SHARE:g} x {_PEER}",
        holds=_share(kept, 0.5) <= MEDIAN_S and _share(kept, 0.99) <= SLOWEST_S and ratio <= SHARE,
    )
    table = Table(
        f"killed to out of service, {SERVERS} servers at {INTERVAL_S:g} s, fall {FALL}, seconds",
        ("", "first", "median", "99 %", "last"),
        [(name, *(f"{_share(times, share):.3f}" for share in (0.0, 0.5, 0.99, 1.0))) for name, times in found.items()],
    )
    return Outcome([claim], [table], [_plot(found)])


def _share(times: list[float], share: float) -> float:
    """Return the time after which this share of the servers was out."""
    return sorted(times)[round(share * (len(times) - 1))]


def _daemon(context: Context, kind: str) -> list[float]:
    """Return how long after the failure each server was removed, seconds."""
    load = context.load(kind, SERVERS, INTERVAL_S)
    with folder() as place, running_kernel(place) as kernel:
        kernel.apply(services(load, per_service=SERVERS_PER_SERVICE))
        filled, _ = kernel.tally()
        text = configuration(load, place, check=f"fall = {FALL}")
        with running_daemon(text, place, command=[*DAEMON, kernel.path]) as healthd:
            healthd.wait_for("daemon.started")
            healthd.wait_until_up(SERVERS)
            time.sleep(2 * INTERVAL_S)
            try:
                context.servers.fail()
                failed_at = context.servers.failed_at
                healthd.wait_while_alive(
                    lambda: kernel.tally()[0] >= filled + SERVERS, timeout_s=_DEADLINE_S, what=f"{SERVERS} removals"
                )
            finally:
                context.servers.restart()
    writes = kernel.writes[filled:]
    removals = [moment - failed_at for moment, command, code in writes if command == DELETE_SERVER and not code]
    if len(removals) != SERVERS:
        raise MeasurementError(f"{len(removals)} removals of {SERVERS}")
    return removals


def _haproxy(context: Context) -> list[float]:
    """Return how long after the failure HAProxy took each server for down, seconds."""
    load = context.load("http", SERVERS, INTERVAL_S)
    with folder() as place, contenders.haproxy(load, place, fall=FALL, may_fail=True) as program:
        warm_up(program, load)
        times: list[float] = []
        try:
            context.servers.fail()
            failed_at = context.servers.failed_at
            while len(times) < SERVERS:
                down = _down(place / "admin.sock")
                times += [time.monotonic() - failed_at] * (down - len(times))
                if time.monotonic() - failed_at > _DEADLINE_S:
                    raise MeasurementError(f"HAProxy takes {down} of {SERVERS} servers for down")
                time.sleep(_ASK_EVERY_S)
        finally:
            context.servers.restart()
    return times


def _down(admin: Path) -> int:
    """Return how many servers HAProxy takes for down."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(admin))
        asking.sendall(b"show stat -1 4 -1\n")
        answer = b""
        while data := asking.recv(65536):
            answer += data
    return answer.count(b",DOWN,")


def _plot(found: dict[str, list[float]]) -> Plot:
    series = []
    for name, times in found.items():
        count = len(times)
        step = max(1, count // 200)
        points = [(moment, 100 * place / count) for place, moment in enumerate(sorted(times), 1) if place % step == 0]
        xs, ys = zip(*points, strict=True)
        series.append(Series(name, xs, ys))
    return Plot(
        "detection",
        f"All processes of {SERVERS} servers killed at 0 s (checked every {INTERVAL_S:g} s, fall {FALL})",
        "s since the failure",
        "servers out of service, %",
        tuple(series),
    )


SCENARIOS = (Scenario("detection", "how soon a killed server is out", run),)
