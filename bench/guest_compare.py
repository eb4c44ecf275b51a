"""Measures on a real IPVS, in the lab: `python -m bench.guest_compare full|quick`. `scenarios/lab.py` starts it.

There is a director, and behind a bridge one real server that answers on every address of a network. lvs-healthd,
keepalived and the bare loop run on the director in turns. Then ipvsadm, the daemon's client and a bare netlink writer
each make ten thousand removals.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench import contenders
from bench.bare_writer import write_s
from bench.client_writer import apply_s
from bench.healthd import SERVERS_PER_SERVICE, Load
from bench.netlink import kernel_socket
from bench.outcome import MeasurementError
from bench.probing import Costs, compare
from bench.processes import Program
from bench.real_servers import HTTP_PORT
from bench.recorded_kernel_run import services
from lab.nginx import Nginx
from lab.topology import Topology
from lvs_healthd.ipvs.records import Operation, Verb

SERVERS = 100
INTERVAL_S = 1.0
NETWORK = "198.18.0.0/15"
"""The network that is reserved for benchmarks (RFC 2544)."""
FIRST = "198.18.0.1"

REMOVALS = 10_000

_BEGAN = time.monotonic()


def main() -> None:
    """Measure, and write the results as JSON into the folder shared with the host."""
    is_quick = sys.argv[1] == "quick"
    result = {"kernel": os.uname().release, "costs": probes(is_quick=is_quick), "removals": removals(is_quick=is_quick)}
    folder = Path(os.environ["LVS_HEALTHD_LAB_FOLDER"])
    (folder / "result.json").write_text(json.dumps(result), encoding="ascii")


def probes(*, is_quick: bool) -> dict[str, dict[str, list[list[float]]]]:
    """Compare what probes cost.

    Returns by kind and contender, for each run: microseconds per probe (all, user, system) and probes per second.
    """
    found = {}
    with _lab() as topology:
        prefix = topology.director.prefix
        who: dict[str, contenders.Contender] = {
            "lvs-healthd": functools.partial(contenders.daemon, prefix=prefix, table="kernel"),
            "keepalived": functools.partial(_keepalived, topology),
            "bare loop": functools.partial(contenders.floor, prefix=prefix),
        }
        for kind in ("http", "tcp"):
            load = Load(kind, SERVERS, INTERVAL_S, Path(os.devnull), first=FIRST)
            windows = 1 if is_quick else 3
            costs = compare(_say, who, load, rounds=1, seconds=4.0, windows=windows, steady_rounds=4)
            found[kind] = {name: _rows(cost) for name, cost in costs.items()}
    return found


def removals(*, is_quick: bool) -> dict[str, list[float]]:
    """Remove all destinations of a table with each program in turn, and return the seconds that each run took."""
    load = Load("http", REMOVALS, INTERVAL_S, Path(os.devnull), first=FIRST)
    made = services(load, per_service=SERVERS_PER_SERVICE)
    deletions = [
        Operation(Verb.DELETE_SERVER, operation.service, operation.destination)
        for operation in made
        if operation.verb is Verb.ADD_SERVER
    ]
    commands = "".join(_as_command(operation) for operation in deletions)
    took: dict[str, list[float]] = {"lvs-healthd": [], "ipvsadm": [], "bare writer": []}
    for _ in range(1 if is_quick else 2):
        _fill(made)
        took["lvs-healthd"].append(apply_s(deletions))
        _check_empty()
        _fill(made)
        took["ipvsadm"].append(_restore_s(commands))
        _check_empty()
        _fill(made)
        with kernel_socket() as connection:
            took["bare writer"].append(write_s(connection, deletions))
        _check_empty()
        _say(", ".join(f"{name}: {seconds[-1]:.2f} s" for name, seconds in took.items()))
    return took


@contextlib.contextmanager
def _lab() -> Iterator[Topology]:
    with Topology.nat(servers=1) as topology:
        (server,) = topology.servers
        # One route makes every address of the network the server's own.
        server.run(["ip", "route", "add", "local", NETWORK, "dev", "lo"])
        topology.director.run(["ip", "route", "add", NETWORK, "via", server.address])
        with Nginx.serving(server, ports=(HTTP_PORT,)):
            yield topology


@contextlib.contextmanager
def _keepalived(topology: Topology, load: Load, folder: Path) -> Iterator[Program]:
    # keepalived does not take over services that exist already.
    topology.ipvsadm.clear()
    with contenders.keepalived(load, folder, prefix=topology.director.prefix) as program:
        yield program
    topology.ipvsadm.clear()


def _rows(costs: Costs) -> list[list[float]]:
    return [
        list(row)
        for row in zip(*(each.values for each in (costs.total, costs.user, costs.system, costs.rate)), strict=True)
    ]


def _fill(made: list[Operation]) -> None:
    subprocess.run(["ipvsadm", "-C"], check=True)
    with kernel_socket() as connection:
        write_s(connection, made)


def _check_empty() -> None:
    saved = subprocess.run(["ipvsadm", "-Sn"], check=True, capture_output=True, text=True).stdout
    if " -r " in saved:
        raise MeasurementError("servers were left in the table")


def _as_command(operation: Operation) -> str:
    key, server = operation.service.key, operation.destination
    if server is None:
        raise ValueError("a removal without a server")
    return f"-d -t {key.address}:{key.port} -r {server.key.address}:{server.key.port}\n"


def _restore_s(commands: str) -> float:
    began = time.monotonic()
    subprocess.run(["ipvsadm", "-R"], input=commands, check=True, text=True)
    return time.monotonic() - began


def _say(text: str) -> None:
    print(f"    {time.monotonic() - _BEGAN:4.0f} s: {text}", flush=True)


if __name__ == "__main__":
    main()
