"""Reads a table back with the mark services of path probes and without them, on a real IPVS.

It runs in the lab (docs/lab.md). In an emulated guest, only its ratios mean something.
"""

from bench.context import Context, Scenario
from bench.figures import Figure
from bench.guest_paths import SERVERS, SERVICES
from bench.lab_run import run_in_lab
from bench.outcome import Claim, Outcome

RATIO_LIMIT = 12.0
"""A service costs the kernel and us more than a server, because its servers are a request of their own."""

_DEADLINE_S = 600.0


def run(context: Context) -> Outcome:
    """Measure everything in one boot."""
    found = run_in_lab("bench.guest_paths", context.pick("5", "1"), deadline_s=_DEADLINE_S)
    took = {name: Figure(tuple(seconds)) for name, seconds in found["took"].items()}
    return Outcome([_beside(what, took) for what in ("start", "resync")], [], [])


def _beside(what: str, took: dict[str, Figure]) -> Claim:
    own, plain = took[f"{what} with"], took[f"{what} without"]
    ratio = own.over(plain)
    return Claim(
        what=f"{what} in the lab, {SERVERS} servers in {SERVICES} services, each with a path probe",
        measured=own.text("s"),
        beside=f"without path probes: {plain.text('s')}, ratio {ratio.text()}",
        target=f"<= {RATIO_LIMIT:g} x without",
        holds=ratio.median <= RATIO_LIMIT,
    )


SCENARIOS = (Scenario("paths", "the table with the mark services of path probes", run, is_slow=True),)
