"""Measures a start with 10 000 servers: from exec until the daemon has corrected one wrong weight in the table."""

import time

from bench.context import Context, Scenario
from bench.figures import figure
from bench.healthd import SERVERS_PER_SERVICE, configuration, folder, running_daemon
from bench.outcome import Claim, MeasurementError, Outcome, Table
from bench.real_servers import RealServers
from bench.recorded_kernel_run import DAEMON, destination, running_kernel, services
from bench.startup import floor_s, version_s
from lvs_healthd.ipvs.records import Operation, Verb

SERVERS = 10_000
INTERVAL_S = 2.0
LIMIT_S = 2.0
VERSION_LIMIT_S = 0.15

_DEADLINE_S = 60.0


def run(context: Context) -> Outcome:
    """Start the daemon a few times."""
    runs = [_start(context) for _ in range(context.pick(3, 1))]
    table_right, first_probe, floor = (figure(*column) for column in zip(*runs, strict=True))
    both = figure(*(max(right, probe) for right, probe, _ in runs))
    claim = Claim(
        what=f"start, {SERVERS} servers: exec to table right and first probe sent",
        measured=both.text("s"),
        beside=f"Python's imports and the TOML parser alone: {floor.text('s')}",
        target=f"<= {LIMIT_S:g} s",
        holds=both.median <= LIMIT_S,
    )
    table = Table(
        "Parts of a start, s",
        ("table right", "first probe sent", "floor"),
        [(table_right.text(), first_probe.text(), floor.text())],
    )
    return Outcome([claim, _version()], [table])


def _version() -> Claim:
    took, floor = (figure(*column) for column in zip(*(version_s() for _ in range(5)), strict=True))
    return Claim(
        what="lvs-healthd --version",
        measured=took.text("s"),
        beside=f"a Python that does nothing: {floor.text('s')}",
        target=f"<= {VERSION_LIMIT_S:g} s",
        holds=took.median <= VERSION_LIMIT_S,
    )


def _start(context: Context) -> tuple[float, float, float]:
    load = context.load("http", SERVERS, INTERVAL_S)
    with folder() as place, running_kernel(place) as kernel:
        made = services(load, per_service=SERVERS_PER_SERVICE)
        wrong = Operation(Verb.SET_SERVER, made[0].service, destination(load, 0, weight=7))
        kernel.apply([*made, wrong])
        filled, _ = kernel.tally()
        connections = RealServers.connections()
        began = time.monotonic()
        with running_daemon(configuration(load, place), place, command=[*DAEMON, kernel.path]) as healthd:
            probed = healthd.wait_while_alive(
                lambda: RealServers.connections() > connections, timeout_s=_DEADLINE_S, what="the first probe"
            )
            healthd.wait_while_alive(lambda: kernel.tally()[0] > filled, timeout_s=_DEADLINE_S, what="the repair")
            healthd.wait_for("daemon.started")
            writes, moment = kernel.tally()
            if writes != filled + 1:
                raise MeasurementError(f"{writes - filled} writes where one was due")
            return moment - began, probed, floor_s(healthd.file, imports=True)


SCENARIOS = (Scenario("start", "a start", run),)
