"""Measures how long a change of one of 20 000 servers takes after SIGHUP, and whether anything stands still."""

import time

from bench.context import Context, Scenario
from bench.figures import figure, number
from bench.healthd import Healthd, configuration, moment
from bench.outcome import Claim, MeasurementError, Outcome, Table
from bench.processes import wait_until
from bench.startup import floor_s
from bench.steady import steady_daemon
from bench.switchable import SwitchableServers

SERVERS = 20_000
INTERVAL_S = 5.0

TIME_LIMIT_S = 0.3
STALL_LIMIT_S = 0.05

_FIRST_PORT = 19_000
_ASK_EVERY_S = 0.005
_SETTLE_S = 2.0


def run(context: Context) -> Outcome:
    """Change one server after another, and measure each reload."""
    load = context.load("http", SERVERS, INTERVAL_S)
    servers = [load.server(index) for index in range(load.count)]
    windows: list[tuple[float, float]] = []
    took: list[float] = []
    probed: list[float] = []
    with steady_daemon(load) as healthd, SwitchableServers.running() as changed:
        place = healthd.file.parent
        bare_s = floor_s(healthd.file, imports=False)
        with healthd.observed(_ASK_EVERY_S) as observer:
            for turn in range(context.pick(5, 2)):
                port = _FIRST_PORT + turn
                changed.on(port)
                servers[turn * 1000] = f"{load.address(turn * 1000)}:{port}"
                text = configuration(load, place, servers=servers)
                begin = time.monotonic()
                began, held = _reload(healthd, text)
                took.append(held - began)
                probed.append(_first_probe(changed, port) - began)
                time.sleep(_SETTLE_S)
                windows.append((begin, time.monotonic()))
        healthd.check_quiet()
    stalls = [max(observer.between(begin, end)) for begin, end in windows]
    found, stalled = figure(*took).scaled(1000), figure(*stalls).scaled(1000)
    claim = Claim(
        what=f"reload, {SERVERS} servers, one changed (SIGHUP to config.reloaded)",
        measured=f"{found.text('ms')}; loop stalled {stalled.text('ms')}",
        beside=f"bare TOML parser on the same file: {number(bare_s * 1000)} ms",
        target=f"<= {TIME_LIMIT_S * 1000:g} ms, no stall > {STALL_LIMIT_S * 1000:g} ms",
        holds=found.median <= TIME_LIMIT_S * 1000 and stalled.high <= STALL_LIMIT_S * 1000,
    )
    table = Table(
        "Each reload, ms",
        (
            "",
            "until the new configuration is in effect",
            "longest stall until 2 s later",
            "first probe of the changed server",
        ),
        [
            (str(turn), *(number(value * 1000) for value in row))
            for turn, row in enumerate(zip(took, stalls, probed, strict=True), 1)
        ],
    )
    return Outcome([claim], [table])


def _reload(healthd: Healthd, text: str) -> tuple[float, float]:
    """Reload, and return when SIGHUP was sent and when the new configuration took effect, Unix time."""
    after = len(healthd.lines())
    began = healthd.reload(text)
    line = healthd.wait_for("config.reloaded", after=after, timeout_s=60)
    # A changed address counts as one server removed and one added.
    if (line["servers_added"], line["servers_removed"]) != (1, 1):
        raise MeasurementError(f"another reload than was meant: {line}")
    return began, moment(line)


def _first_probe(changed: SwitchableServers, port: int) -> float:
    try:
        wait_until(lambda: port in changed.first_asked, timeout_s=10, what="the changed server's first probe")
    except TimeoutError as error:
        raise MeasurementError(str(error)) from error
    return changed.first_asked[port]


SCENARIOS = (Scenario("reload", "a reload", run),)
