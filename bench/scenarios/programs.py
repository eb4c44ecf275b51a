"""Measures what a program as a check costs, beside starting it without anything around it, and what it holds up."""

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.context import Context, Scenario
from bench.figures import Figure, number
from bench.healthd import Healthd, folder, head, running_daemon
from bench.outcome import Claim, Outcome
from bench.steady import LOOP_LAG

CHECKS = 1000
INTERVAL_S = 10.0
MOST = 16
"""The default of `max_exec`."""
PROGRAM = "/bin/true"

STALL_LIMIT_S = 0.02

_BARE = 300
"""How many programs are started without anything around them, to compare."""
_COUNT_EVERY_S = 0.002
_TICKS = os.sysconf("SC_CLK_TCK")
_SERVERS_PER_SERVICE = 100


def run(context: Context) -> Outcome:
    """Run a thousand checks of the same program for a while, and count what runs at once."""
    seconds = context.pick(30.0, 10.0)
    with folder() as place, running_daemon(_configuration(place), place) as healthd:
        healthd.wait_for("daemon.started")
        healthd.wait_until_up(CHECKS)
        helper = _helper(healthd)
        time.sleep(INTERVAL_S)
        healthd.program.calm_from = time.time()
        before, began = healthd.metrics(), _spent_s(healthd.program.pid, helper)
        with _most_children(helper) as most:
            time.sleep(seconds)
        after, ended = healthd.metrics(), _spent_s(healthd.program.pid, helper)
        healthd.check_quiet()
    ran = after.sum("lvs_healthd_probes_total") - before.sum("lvs_healthd_probes_total")
    stall_s = after.buckets(LOOP_LAG).since(before.buckets(LOOP_LAG)).bound(1.0)
    each_s = (ended - began) / ran
    bare = Figure(tuple(_bare_s() for _ in range(3))).scaled(1000)
    return Outcome(
        [
            Claim(
                what=f"{CHECKS} exec checks at {INTERVAL_S:g} s: CPU per program, of daemon, helper and program",
                measured=f"{number(each_s * 1000)} ms, {number(ran / seconds)} programs/s",
                beside=f"the program started by Python's subprocess alone: {bare.text('ms')}",
                target="",
                holds=True,
            ),
            Claim(
                what=f"{CHECKS} exec checks at {INTERVAL_S:g} s: programs at once, and stalls of the daemon",
                measured=f"{most[0]} at once; no tick later than {stall_s * 1000:g} ms",
                beside="",
                target=f"<= {MOST} at once, no stall > {STALL_LIMIT_S * 1000:g} ms",
                holds=most[0] <= MOST and stall_s <= STALL_LIMIT_S,
            ),
        ],
        [],
        [],
    )


def _configuration(place: Path) -> str:
    check = f'{{ type = "exec", command = ["{PROGRAM}"], convention = "keepalived", interval = "{INTERVAL_S:g}s" }}'
    parts = [head(place, INTERVAL_S)]
    for number_ in range(CHECKS // _SERVERS_PER_SERVICE):
        servers = ", ".join(f'"127.9.{number_}.{last}:80"' for last in range(1, _SERVERS_PER_SERVICE + 1))
        parts.append(
            f'[[service]]\nname = "s{number_}"\naddress = "127.128.{number_}.1:80"\n'
            f"check = {check}\nreal_server = [{servers}]\n"
        )
    return "\n".join(parts)


def _helper(healthd: Healthd) -> int:
    """Return the id of the process that runs the daemon's programs."""
    task = Path(f"/proc/{healthd.program.pid}/task/{healthd.program.pid}/children")
    return next(
        int(child)
        for child in task.read_text(encoding="ascii").split()
        if b"lvs_healthd.programs.helper" in Path(f"/proc/{child}/cmdline").read_bytes()
    )


def _spent_s(*pids: int) -> float:
    """Return the processor time of processes and of their children that have ended, seconds."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime (proc(5))
    return total / _TICKS


@contextmanager
def _most_children(pid: int) -> Iterator[list[int]]:
    """Count the children of a process again and again during the block. The list's only item is the most seen."""
    most, is_over = [0], threading.Event()
    children = Path(f"/proc/{pid}/task/{pid}/children")

    def count() -> None:
        while not is_over.wait(_COUNT_EVERY_S):
            most[0] = max(most[0], len(children.read_text(encoding="ascii").split()))

    counting = threading.Thread(target=count)
    counting.start()
    try:
        yield most
    finally:
        is_over.set()
        counting.join()


def _bare_s() -> float:
    """Return the processor time of starting the program and waiting for its end, seconds each."""
    began = sum(os.times()[:4])
    for _ in range(_BARE):
        subprocess.run([PROGRAM], check=True, stdin=subprocess.DEVNULL, capture_output=True)
    return (sum(os.times()[:4]) - began) / _BARE


SCENARIOS = (Scenario("programs", "programs as checks", run),)
