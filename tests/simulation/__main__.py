"""Plays many runs of the simulation: `python -m tests.simulation --steps 10000000 --seed 1 --jobs 2`."""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.run import Played, play, seeds, shrunk, snippet, steps_of

TOLD_EVERY_S = 30.0
"""How often progress is told, seconds."""

MOST_SHRUNK = 5
"""How many failing runs are shrunk at most."""


def main() -> int:
    """Play the runs, and shrink those that fail. Return the exit status: 1 if any fails."""
    parser = argparse.ArgumentParser(prog="make simulate")
    parser.add_argument("--steps", type=int, default=1_000_000, help="how many steps, in all runs together")
    parser.add_argument("--seed", type=int, default=1, help="the same seed gives the same runs")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes play")
    parser.add_argument("--first", action="store_true", help="end with the first run that fails, and do not shrink it")
    given = parser.parse_args()
    runs = seeds(given.seed, given.steps)
    began = told = time.monotonic()
    failed: list[Played] = []
    steps = writes = 0
    with ProcessPoolExecutor(given.jobs) as pool:
        for played in pool.map(play, runs, chunksize=4):
            steps, writes = steps + played.steps, writes + played.writes
            now = time.monotonic()
            if played.broken:
                failed.append(played)
                print(f"seed {played.seed}: {played.broken}", flush=True)
                if given.first:
                    pool.shutdown(cancel_futures=True)
                    return 1
            if now - told >= TOLD_EVERY_S:
                told = now
                print(f"{steps} steps, {steps / (now - began):.0f} a second", flush=True)
    took_s = time.monotonic() - began
    print(
        f"{steps} steps in {len(runs)} runs (seeds {runs[0]} to {runs[-1]}), {writes} writes to the table, "
        f"{took_s:.0f} s: {steps / took_s:.0f} steps a second; {len(failed)} runs failed"
    )
    for played in failed[:MOST_SHRUNK]:
        print(f"\n{snippet(played.seed, shrunk(played.seed, steps_of(played.seed)), played.broken)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
