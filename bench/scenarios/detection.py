"""Measures how soon a server that fails has left the table, with new connections and with kept ones.

Most servers are one nginx, which stays. Some are an nginx of their own each, and they fail one after another: their
processes are killed, so that connections are refused, or they hang, so that nobody answers. The table is in memory,
because the kernel's share is measured elsewhere. HAProxy checks the same servers at the same interval; what it thinks
of them is asked over and over.
"""

import contextlib
import datetime as dt
import signal
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
REFUSED_SHARE, HUNG_SHARE = 0.45, 0.7
"""The same for new connections, as defaults are."""

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
    """Let servers fail under each of the programs, in turns."""
    killed = _found(context, "killed", signal.SIGKILL)
    hung = _found(context, "hung", signal.SIGSTOP)
    kept, peer = killed[_KEEP], killed[_PEER]
    ratio = _share(kept, 0.5) / _share(peer, 0.5)
    of = f"{SERVERS} servers at {INTERVAL_S:g} s, fall {FALL}"
    claims = [
        Claim(
            what=f"killed to out of the table, kept connections, {of}",
            measured=f"median {_share(kept, 0.5):.3f} s, 99 % {_share(kept, 0.99):.3f} s",
            beside=f"{_PEER}: {_share(peer, 0.5):.2f} s, ratio {ratio:.3f}",
            target=f"<= {MEDIAN_S:g} s, <= {SLOWEST_S:g} s, <= {SHARE:g} x {_PEER}",
            holds=_share(kept, 0.5) <= MEDIAN_S and _share(kept, 0.99) <= SLOWEST_S and ratio <= SHARE,
        )
    ]
    for how, found, limit in (("killed", killed, REFUSED_SHARE), ("hung", hung, HUNG_SHARE)):
        own_s, kept_s, peer_s = (_share(found[who], 0.5) for who in (_NEW, _KEEP, _PEER))
        claims.append(
            Claim(
                what=f"{how} to out of the table, new connections, {of}",
                measured=f"median {own_s:.2f} s, 99 % {_share(found[_NEW], 0.99):.2f} s",
                beside=f"{_PEER}: {peer_s:.2f} s, ratio {own_s / peer_s:.2f}; kept connections: {kept_s:.2f} s",
                target=f"<= {limit:g} x {_PEER}",
                holds=own_s <= limit * peer_s,
            )
        )
    tables = [
        Table(
            f"{how} to out of service, {of}, seconds",
            ("", "first", "median", "99 %", "last"),
            [
                (name, *(f"{_share(times, share):.3f}" for share in (0.0, 0.5, 0.99, 1.0)))
                for name, times in found.items()
            ],
        )
        for how, found in (("killed", killed), ("hung", hung))
    ]
    plots = [_plot("detection", "whose processes are killed", killed), _plot("detection-hung", "that hang", hung)]
    return Outcome(claims, tables, plots)


def _found(context: Context, how: str, fault: signal.Signals) -> dict[str, list[float]]:
    """Return how long after its failure each server was out of service, seconds, by program.

    fault: what the servers' processes get.
    """
    found: dict[str, list[float]] = {_NEW: [], _KEEP: [], _PEER: []}
    for _ in range(context.pick(3, 1)):
        found[_NEW] += _daemon(context, "http", fault)
        found[_KEEP] += _daemon(context, "http-keep", fault)
        found[_PEER] += _haproxy(context, fault)
        context.say(f"{how}: " + ", ".join(f"{name}: {_share(times, 0.5):.2f} s" for name, times in found.items()))
    return found


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
        for program in found.values():
            program.kill()  # what hangs does not end by itself


def _listens(endpoint: str) -> bool:
    address, _, port = endpoint.partition(":")
    with socket.socket() as asking:
        return asking.connect_ex((address, int(port))) == 0


def _failed(victims: dict[str, Program], fault: signal.Signals) -> dict[str, float]:
    """Let one server after another fail. Return when each did, Unix time."""
    times = {}
    for endpoint, program in victims.items():
        times[endpoint] = time.time()
        program.signal(fault)
        time.sleep(_APART_S)
    return times


def _daemon(context: Context, kind: str, fault: signal.Signals) -> list[float]:
    """Return how long after its failure each server was removed, seconds."""
    load = context.load(kind, SERVERS - VICTIMS, INTERVAL_S)
    with folder() as place, _victims(place) as victims:
        servers = [*victims, *(load.server(index) for index in range(load.count))]
        text = configuration(load, place, check=f"fall = {FALL}", servers=servers)
        with running_daemon(text, place) as healthd:
            healthd.wait_for("daemon.started")
            healthd.wait_until_up(SERVERS)
            time.sleep(2 * INTERVAL_S)
            began = len(healthd.lines())
            times = _failed(victims, fault)
            healthd.wait_while_alive(
                lambda: len(_removed(healthd.select("table.changed", after=began))) == VICTIMS,
                timeout_s=_DEADLINE_S, what=f"{VICTIMS} removals",
            )  # fmt: skip
            removed = _removed(healthd.select("table.changed", after=began))
    return [removed[endpoint] - moment for endpoint, moment in times.items()]


def _removed(lines: list[dict[str, object]]) -> dict[str, float]:
    """Return when servers left the table, Unix time, by their endpoints."""
    return {
        str(line["server"]): dt.datetime.fromisoformat(str(line["timestamp"])).timestamp()
        for line in lines
        if line["operation"] == "delete_server"
    }


def _haproxy(context: Context, fault: signal.Signals) -> list[float]:
    """Return how long after its failure HAProxy took each server for down, seconds."""
    load = context.load("http", SERVERS - VICTIMS, INTERVAL_S)
    with (
        folder() as place,
        _victims(place) as victims,
        contenders.haproxy(load, place, more=tuple(victims), fall=FALL, may_fail=True),
    ):
        time.sleep(3 * INTERVAL_S)
        down: dict[str, float] = {}
        failed: dict[str, float] = {}
        left = list(victims.items())
        began = time.monotonic()
        while len(down) < VICTIMS:
            if left and time.monotonic() - began > len(failed) * _APART_S:
                endpoint, program = left.pop(0)
                failed[endpoint] = time.time()
                program.signal(fault)
            for endpoint in _down(place / "admin.sock", tuple(victims)):
                down.setdefault(endpoint, time.time())
            if time.monotonic() - began > VICTIMS * _APART_S + _DEADLINE_S:
                raise MeasurementError(f"HAProxy takes {len(down)} of {VICTIMS} failed servers for down")
            time.sleep(_ASK_EVERY_S)
    return [down[endpoint] - moment for endpoint, moment in failed.items()]


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


def _plot(name: str, which: str, found: dict[str, list[float]]) -> Plot:
    series = []
    for who, times in found.items():
        points = [(moment, 100 * place / len(times)) for place, moment in enumerate(sorted(times), 1)]
        xs, ys = zip(*points, strict=True)
        series.append(Series(who, xs, ys))
    return Plot(
        name,
        f"Servers {which} ({SERVERS} servers checked every {INTERVAL_S:g} s, fall {FALL})",
        "s since it failed",
        "failed servers that are out of service, %",
        tuple(series),
    )


SCENARIOS = (Scenario("detection", "how soon a failed server is out", run),)
