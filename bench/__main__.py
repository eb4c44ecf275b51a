"""The benchmark's command: `python -m bench [--quick] [--only NAME]... [--into FOLDER] [--list]`.

It writes results.md and plots into the folder. The exit status is 1 if something could not be measured. A missed target
is a result, not an error.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.context import Context, Scenario
from bench.isolation import isolate
from bench.outcome import Claim, MeasurementError, Outcome, join_plots
from bench.plots import draw
from bench.processes import PEER_CPU, end_in_good_order
from bench.real_servers import RealServers
from bench.report import markdown
from bench.scenarios import SCENARIOS

_BUSY = 0.5
"""A load average above this deserves a warning, because the machine should have nothing else to do."""


def main() -> int:
    """Run the chosen scenarios and write the report."""
    arguments = _arguments()
    if arguments.list:
        print("\n".join(f"{scenario.name:20} {scenario.title}" for scenario in SCENARIOS))
        return 0
    isolate("bench")
    end_in_good_order()
    chosen = choose(SCENARIOS, only=arguments.only or [], is_quick=arguments.quick)
    busy = os.getloadavg()[0]
    if busy > _BUSY:
        print(f"bench: the load average is {busy:.1f}: something else runs here and will show in the figures")
    # The benchmark itself must not take processor time from the measured program.
    os.sched_setaffinity(0, {PEER_CPU})
    began = time.monotonic()
    with RealServers.serving() as servers:
        outcomes, failures = run(chosen, Context(servers, is_quick=arguments.quick))
    folder: Path = arguments.into
    folder.mkdir(parents=True, exist_ok=True)
    pictures = draw(join_plots([plot for outcome in outcomes.values() for plot in outcome.plots]), folder)
    report = folder / "results.md"
    report.write_text(markdown(outcomes, failures, pictures, is_quick=arguments.quick), encoding="utf-8")
    print(f"bench: {time.monotonic() - began:.0f} s; the report is {report}")
    for name, text in failures.items():
        print(f"bench: NOT MEASURED: {name}: {text.partition(chr(10))[0]}")
    return 1 if failures else 0


def choose(scenarios: Sequence[Scenario], *, only: Sequence[str], is_quick: bool) -> list[Scenario]:
    """Return the scenarios with the names in `only`. Without names, return all scenarios of a quick or full run."""
    if only:
        return [scenario for scenario in scenarios if scenario.name in only]
    return [scenario for scenario in scenarios if not (is_quick and scenario.is_slow)]


def run(scenarios: Sequence[Scenario], context: Context) -> tuple[dict[str, Outcome], dict[str, str]]:
    """Run scenarios one after the other. Return, by title, what they found and why some failed."""
    outcomes: dict[str, Outcome] = {}
    failures: dict[str, str] = {}
    for scenario in scenarios:
        print(f"== {scenario.name}: {scenario.title}", flush=True)
        try:
            outcome = scenario.run(context)
        except (MeasurementError, TimeoutError, OSError) as error:
            failures[scenario.title] = f"{type(error).__name__}: {error}"
            print(f"   NOT MEASURED: {failures[scenario.title]}", flush=True)
            continue
        outcomes[scenario.title] = outcome
        for claim in outcome.claims:
            print(f"   {_line(claim)}", flush=True)
    return outcomes, failures


def _line(claim: Claim) -> str:
    verdict = {True: "met", False: "MISSED", None: ""}[claim.holds]
    return f"{claim.what}: {claim.measured} [{claim.beside}] target {claim.target}: {verdict}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure lvs-healthd against its targets.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs: a rough idea, without spread")
    parser.add_argument(
        "--only", action="append", metavar="NAME", choices=[scenario.name for scenario in SCENARIOS],
        help="this scenario; may be repeated",
    )  # fmt: skip
    parser.add_argument("--into", type=Path, default=Path("bench"), help="folder for results.md and plots")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
