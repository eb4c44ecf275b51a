"""Writes, reads back and empties a whole table on a real IPVS, with ipvsadm for comparison; and times a resync here.

The first part runs in the lab (docs/lab.md). In an emulated guest, only its ratios mean something. The resync runs
natively, and the answers are the recorded bytes of a kernel.
"""

import asyncio

from bench import daemon_on_recorded_kernel
from bench.context import Context, Scenario
from bench.figures import Figure, number
from bench.healthd import folder
from bench.lab_run import run_in_lab
from bench.outcome import Claim, Outcome
from bench.recorded_kernel_run import running_kernel
from bench.whole_table import SERVERS, SERVICES, live, table

RATIO_LIMIT = 1.0
RESYNC_LIMIT_S = 0.1

_DEADLINE_S = 600.0
_WHAT = f"{SERVERS} servers in {SERVICES} services"


def run(context: Context) -> Outcome:
    """Measure everything in one boot, then the resync on this machine."""
    found = run_in_lab("bench.guest_table", context.pick("3", "1"), deadline_s=_DEADLINE_S)
    took = {name: Figure(tuple(seconds)) for name, seconds in found["took"].items()}
    return Outcome(
        [
            _beside(f"start on an empty table in the lab, {_WHAT}", took, "start", "ipvsadm -R"),
            _beside(f"resync in sync in the lab, {_WHAT}", took, "resync", "ipvsadm -Sn"),
            _beside(f"removal of all at once in the lab, {_WHAT}", took, "removal", "ipvsadm -C"),
            _resync(),
        ],
        [],
        [],
    )


def _beside(what: str, took: dict[str, Figure], own: str, peer: str) -> Claim:
    ratio = took[own].over(took[peer])
    idle = f"; of that {took['ipvsadm -C, empty'].text('s')} on an empty table" if peer == "ipvsadm -C" else ""
    return Claim(
        what=what,
        measured=took[own].text("s"),
        beside=f"{peer}: {took[peer].text('s')}, ratio {ratio.text()}{idle}",
        target=f"<= {RATIO_LIMIT:g} x {peer}",
        holds=ratio.median <= RATIO_LIMIT,
    )


def _resync() -> Claim:
    with folder() as place, running_kernel(place) as kernel:
        daemon_on_recorded_kernel.use(str(kernel.path))
        took = asyncio.run(live(table()))
    cpu = Figure(tuple(each.cpu_s * 1000 for each in took.resyncs))
    return Claim(
        what=f"resync in sync, {_WHAT}: CPU, on recorded dumps",
        measured=cpu.text("ms"),
        beside=f"start: {number(took.start.cpu_s)} s of CPU, removal: {number(took.removal.cpu_s * 1000)} ms",
        target=f"<= {RESYNC_LIMIT_S * 1000:g} ms",
        holds=cpu.median <= RESYNC_LIMIT_S * 1000,
    )


SCENARIOS = (Scenario("table", "a whole table beside ipvsadm, and reading it back", run, is_slow=True),)
