"""Measures how soon a server whose processes are killed has left the table, with new connections and with kept ones.

Most servers are one nginx, which stays. Some are an nginx of their own each, and they are killed one after another. The
table is in memory, because the kernel's share is measured elsewhere. HAProxy checks the same servers at the same
interval; what it thinks of them is asked over and over.
"""

import contextlib
import datetime as dt
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from bench import contenders
from bench.context import Context, Scenario
from bench.healthd import configuration, folder, running_daemon
from bench.outcome import Claim, MeasurementError, Outcome, Plot, Series, Table
from bench.processes import Program, running, wait_until

SERVERS = 1000
VICTIMS = 20
"""How many of the servers are killed."""
INTERVAL_S = 2.0
FALL = 3
MEDIAN_S, SLOWEST_S = 0.2, 0.4
"""The targets for kept connections: of half of the servers, and of 99 of 100."""
SHARE = 0.05
"""The target for the median, as a share of HAProxy's."""

_APART_S = 0.53
"""The time between two kills, seconds. It has nothing to do with the interval."""
_DEADLINE_S = 30.0
_ASK_EVERY_S = 0.02
_FIRST_PORT = 18500
_NEW, _KEEP, _PEER = "lvs-healthd", "lvs-healthd, kept connections", "HAProxy"

_NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location = /healthz {{ return 200 "ok\\n"; }}
    }}
}}
"""


def run(context: Context) -> Outcome:
    """Kill servers under each of the programs, in turns."""
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


@contextlib.contextmanager
def _victims(folder: Path) -> Iterator[dict[str, Program]]:
    """Run the servers that will be killed, and yield them by their endpoints."""
    with contextlib.ExitStack() as stack:
        found = {}
        for index in range(VICTIMS):
            place, port = folder / f"victim{index}", _FIRST_PORT + index
            place.mkdir()
            (place / "nginx.conf").write_text(_NGINX.format(folder=place, port=port), encoding="ascii")
            nginx = ["nginx", "-p", place, "-e", place / "error.log", "-c", place / "nginx.conf"]
            found[f"127.0.0.1:{port}"] = stack.enter_context(running(nginx))
        wait_until(lambda: all(map(_listens, found)), timeout_s=30, what="nginx to listen")
        yield found


def _listens(endpoint: str) -> bool:
    address, _, port = endpoint.partition(":")
    with socket.socket() as asking:
        return asking.connect_ex((address, int(port))) == 0


def _killed(victims: dict[str, Program]) -> dict[str, float]:
    """Kill one server after another. Return when each was killed, Unix time."""
    times = {}
    for endpoint, program in victims.items():
        times[endpoint] = time.time()
        program.kill()
        time.sleep(_APART_S)
    return times


def _daemon(context: Context, kind: str) -> list[float]:
    """Return how long after its end each killed server was removed, seconds."""
    load = context.load(kind, SERVERS - VICTIMS, INTERVAL_S)
    with folder() as place, _victims(place) as victims:
        servers = [*victims, *(load.server(index) for index in range(load.count))]
        text = configuration(load, place, check=f"fall = {FALL}", servers=servers)
        with running_daemon(text, place) as healthd:
            healthd.wait_for("daemon.started")
            healthd.wait_until_up(SERVERS)
            time.sleep(2 * INTERVAL_S)
            began = len(healthd.lines())
            times = _killed(victims)
            healthd.wait_while_alive(
                lambda: len(_removed(healthd.select("table.changed", after=began))) == VICTIMS,
                timeout_s=_DEADLINE_S, what=f"{VICTIMS} removals",
            )  # fmt: skip
            removed = _removed(healthd.select("table.changed", after=began))
    return [removed[endpoint] - killed for endpoint, killed in times.items()]


def _removed(lines: list[dict[str, object]]) -> dict[str, float]:
    """Return when servers left the table, Unix time, by their endpoints."""
    return {
        str(line["server"]): dt.datetime.fromisoformat(str(line["timestamp"])).timestamp()
        for line in lines
        if line["operation"] == "delete_server"
    }


def _haproxy(context: Context) -> list[float]:
    """Return how long after its end HAProxy took each killed server for down, seconds."""
    load = context.load("http", SERVERS - VICTIMS, INTERVAL_S)
    with (
        folder() as place,
        _victims(place) as victims,
        contenders.haproxy(load, place, more=tuple(victims), fall=FALL, may_fail=True),
    ):
        time.sleep(3 * INTERVAL_S)
        down: dict[str, float] = {}
        killed: dict[str, float] = {}
        left = list(victims.items())
        began = time.monotonic()
        while len(down) < VICTIMS:
            if left and time.monotonic() - began > len(killed) * _APART_S:
                endpoint, program = left.pop(0)
                killed[endpoint] = time.time()
                program.kill()
            for endpoint in _down(place / "admin.sock", tuple(victims)):
                down.setdefault(endpoint, time.time())
            if time.monotonic() - began > VICTIMS * _APART_S + _DEADLINE_S:
                raise MeasurementError(f"HAProxy takes {len(down)} of {VICTIMS} killed servers for down")
            time.sleep(_ASK_EVERY_S)
    return [down[endpoint] - moment for endpoint, moment in killed.items()]


def _down(admin: Path, victims: tuple[str, ...]) -> list[str]:
    """Return which of the servers that will be killed HAProxy takes for down."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(admin))
        asking.sendall(b"show stat -1 4 -1\n")
        answer = b""
        while data := asking.recv(65536):
            answer += data
    names = {f"victim{index}": endpoint for index, endpoint in enumerate(victims)}
    rows = [line.split(",") for line in answer.decode().splitlines() if ",DOWN" in line]
    return [names[row[1]] for row in rows if row[1] in names]


def _plot(found: dict[str, list[float]]) -> Plot:
    series = []
    for name, times in found.items():
        points = [(moment, 100 * place / len(times)) for place, moment in enumerate(sorted(times), 1)]
        xs, ys = zip(*points, strict=True)
        series.append(Series(name, xs, ys))
    return Plot(
        "detection",
        f"Servers whose processes are killed ({SERVERS} servers checked every {INTERVAL_S:g} s, fall {FALL})",
        "s since it was killed",
        "killed servers that are out of service, %",
        tuple(series),
    )


SCENARIOS = (Scenario("detection", "how soon a killed server is out", run),)
