"""Measures, when all servers stop at once, how long after the last verdict the last server leaves the table.

The kernel is a recorded one, because only the daemon's share matters here. `lab` measures with a real one.
"""

import time

from bench import daemon_on_recorded_kernel
from bench.bare_writer import write_s
from bench.client_writer import apply_s
from bench.context import Context, Scenario
from bench.figures import figure, number
from bench.healthd import SERVERS_PER_SERVICE, Load, configuration, folder, running_daemon
from bench.outcome import Claim, MeasurementError, Outcome, Plot, Series, Table
from bench.recorded_kernel_run import DAEMON, DELETE_SERVER, KernelProcess, destination, running_kernel, services
from lvs_healthd.ipvs.records import Operation, Verb

SERVERS = 10_000
INTERVAL_S = 3.0
FALL = 2
LIMIT_S = 1.0

_ASK_EVERY_S = 0.01
_DEADLINE_S = 120.0
_TICK_S = 0.05
_JITTER = 1.02


def run(context: Context) -> Outcome:
    """Kill the real servers while the daemon probes them, and time the daemon's netlink client alone."""
    load = context.load("http", SERVERS, INTERVAL_S)
    with folder() as place, running_kernel(place) as kernel:
        made = services(load, per_service=SERVERS_PER_SERVICE)
        kernel.apply(made)
        filled, _ = kernel.tally()
        text = configuration(load, place, check=f"rise = 2\nfall = {FALL}")
        with running_daemon(text, place, command=[*DAEMON, kernel.path]) as healthd:
            healthd.wait_for("daemon.started")
            healthd.wait_until_up(SERVERS)
            time.sleep(INTERVAL_S)
            if kernel.tally()[0] != filled:
                raise MeasurementError("the daemon wrote to a table that was right")
            with healthd.observed(_ASK_EVERY_S) as observer:
                try:
                    context.servers.fail()
                    failed_at = time.monotonic()
                    healthd.wait_while_alive(
                        lambda: kernel.tally()[0] >= filled + SERVERS,
                        timeout_s=_DEADLINE_S, what=f"{SERVERS} removals",
                    )  # fmt: skip
                    time.sleep(1)
                finally:
                    context.servers.restart()
            last_verdict = _last_verdict(healthd.metrics().values(_CHANGED))
    removals = [moment - failed_at for moment, command, code in kernel.writes[filled:] if _is_removal(command, code)]
    if len(removals) != SERVERS:
        raise MeasurementError(f"{len(removals)} removals of {SERVERS}")
    last_removal = failed_at + removals[-1]
    stall = max(observer.between(failed_at, last_removal))
    after_s = last_removal - last_verdict
    if after_s < 0:
        raise MeasurementError(f"the last removal came {-after_s:.3f} s before its verdict: a timestamp is wrong")
    due_s = FALL * INTERVAL_S * _JITTER + _TICK_S
    claim = Claim(
        what=f"mass failure, {SERVERS} servers at {INTERVAL_S:g} s, fall {FALL}: last failed probe to last removal",
        measured=f"{number(after_s * 1000)} ms",
        beside=f"all out {number(removals[-1])} s after the failure, the schedule alone takes {number(due_s)} s; "
        f"loop stalled {number(stall * 1000)} ms",
        target=f"<= {LIMIT_S:g} s",
        holds=after_s <= LIMIT_S,
    )
    burst, table = _burst(context, load)
    return Outcome([claim, burst], [table], [_plot(removals)])


_CHANGED = "lvs_healthd_real_server_last_change_timestamp_seconds"


def _last_verdict(changes: list[float]) -> float:
    """Return when the last verdict was reached (CLOCK_MONOTONIC), from Unix times."""
    return max(changes) - (time.time() - time.monotonic())


def _is_removal(command: int, code: int) -> bool:
    return command == DELETE_SERVER and code == 0


def _burst(context: Context, load: Load) -> tuple[Claim, Table]:
    """Make the daemon's client and a bare writer remove all servers at once, in turns."""
    made = services(load, per_service=SERVERS_PER_SERVICE)
    removals = [
        Operation(Verb.DELETE_SERVER, made[index // SERVERS_PER_SERVICE * (SERVERS_PER_SERVICE + 1)].service,
                  destination(load, index))
        for index in range(load.count)
    ]  # fmt: skip
    clients: list[float] = []
    bares: list[float] = []
    for _ in range(context.pick(3, 1)):
        with folder() as place, running_kernel(place) as kernel:
            clients.append(_by_client(kernel, made, removals))
            bares.append(_by_hand(kernel, removals, made))
    client, bare = figure(*clients).scaled(1000), figure(*bares).scaled(1000)
    claim = Claim(
        what=f"{SERVERS} removals at once, the daemon's netlink client alone",
        measured=client.text("ms"),
        beside=f"bare writer, messages ready made: {bare.text('ms')}, ratio {client.over(bare).text()}",
        target="",
        holds=None,
    )
    table = Table(
        f"{SERVERS} removals on the recorded kernel, ms",
        ("lvs-healthd's client", "bare writer", "ratio"),
        [(client.text(), bare.text(), client.over(bare).text())],
    )
    return claim, table


def _by_client(kernel: KernelProcess, made: list[Operation], removals: list[Operation]) -> float:
    kernel.apply(made)
    daemon_on_recorded_kernel.use(str(kernel.path))
    return apply_s(removals)


def _by_hand(kernel: KernelProcess, removals: list[Operation], made: list[Operation]) -> float:
    kernel.apply([operation for operation in made if operation.verb is Verb.ADD_SERVER])
    with kernel.connected() as connection:
        return write_s(connection, removals)


def _plot(removals: list[float]) -> Plot:
    step = max(1, len(removals) // 400)
    points = [(moment, count) for count, moment in enumerate(sorted(removals), 1) if count % step == 0]
    xs, ys = zip(*points, strict=True)
    ideal_x = (0.0, (FALL - 1) * INTERVAL_S, FALL * INTERVAL_S)
    return Plot(
        "mass-failure",
        f"All of {SERVERS} servers fail at 0 s (checked every {INTERVAL_S:g} s, fall {FALL})",
        "s since the failure",
        "servers out of the kernel's table",
        (Series("removal acknowledged", xs, ys), Series("straight line", ideal_x, (0.0, 0.0, float(SERVERS)))),
    )


SCENARIOS = (Scenario("mass-failure", "a mass failure", run),)
