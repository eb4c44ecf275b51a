"""Puts faults into a copy of the daemon, one at a time, and sees whether the simulation or the products find each.

python -m tests.simulation.mutations           # all of them
python -m tests.simulation.mutations unsure    # those whose names contain a word
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lvs_healthd"

STEPS = 400_000
"""How many steps may be needed to find a mutation."""

PATIENCE_S = 600.0
"""How long one mutation may take, seconds."""

PRODUCTS = ("health", "precedence", "brake", "damping", "veto")
"""The exhaustive products, `test_product_NAME.py`."""


class Mutation(NamedTuple):
    """A fault that somebody might make."""

    name: str
    file: str
    """In src/lvs_healthd."""
    right: str
    """A text that is in the file once."""
    wrong: str

    @property
    def text(self) -> str:
        """The file as it is."""
        return (PACKAGE / self.file).read_text()

    @property
    def is_possible(self) -> bool:
        """Whether the right text is in the file exactly once."""
        return self.text.count(self.right) == 1


MUTATIONS = (
    Mutation(
        "an unsure outcome counts as a failure",
        "health/machine.py",
        "    return _passed(health, outcome, rise, now) if kind is OutcomeKind.UP else health\n",
        "    passes = kind is OutcomeKind.UP\n"
        "    return _passed(health, outcome, rise, now) if passes else _failed(health, outcome, fall, now, now)\n",
    ),
    Mutation(
        "a pass does not cancel the failures before it",
        "health/machine.py",
        "        return Health(UP, health.since, outcome.reason, outcome.detail)\n",
        "        return Health(UP, health.since, outcome.reason, outcome.detail, failures=health.failures)\n",
    ),
    Mutation(
        "a server that serves at the start must be proven first",
        "decide/beginnings.py",
        "    if present:\n        same",
        "    if present and memory is not None:\n        same",
    ),
    Mutation(
        "the fallback stays out while servers with weight 0 are up",
        "plan/policy.py",
        "    if able.is_below and (not leaving ",
        "    if able.is_below and (able.enough or not counts.up) and (not leaving ",
    ),
    Mutation(
        "damped servers stay out though too few others may serve",
        "plan/policy.py",
        "    uses_damped = damped > 0 and servers < floor.needed\n",
        "    uses_damped = False\n",
    ),
    Mutation(
        "one server is enough, whatever min_up says",
        "plan/records.py",
        "            return serving >= self.needed\n",
        "            return serving >= 1\n",
    ),
    Mutation(
        "damping counts before an operator's order",
        "plan/precedence.py",
        "    if hand is not None and hand.state is not None:\n"
        "        return Special(hand.state, weight, hand.state_reason, hand.is_empty)\n"
        "    if damped:\n"
        "        return Special(State.DAMPED, weight, damped)\n",
        "    if damped:\n"
        "        return Special(State.DAMPED, weight, damped)\n"
        "    if hand is not None and hand.state is not None:\n"
        "        return Special(hand.state, weight, hand.state_reason, hand.is_empty)\n",
    ),
    Mutation(
        "a share of a weight is rounded down",
        "plan/precedence.py",
        "    return -(-value // divisor)",
        "    return value // divisor",
    ),
    Mutation(
        "the brake never lets go by itself",
        "decide/brake.py",
        "now - brake.entered >= rule.longest_s",
        "now - brake.entered >= 1000 * rule.longest_s",
    ),
    Mutation(
        "the brake forgets whom it keeps as soon as it looks again",
        "decide/braking.py",
        "            if self._is_held(server):\n                self._let_go.pop(server, None)\n",
        "            if self._is_held(server) and not self.held:\n                self._let_go.pop(server, None)\n",
    ),
    Mutation(
        "other directors hold a server for as long as they like",
        "decide/agreeing.py",
        "now - before.since >= LONGEST_S",
        "now - before.since >= 1000 * LONGEST_S",
    ),
    Mutation(
        "a veto that is over begins again",
        "decide/agreeing.py",
        "    if before.over:\n        return before\n",
        "    if before.over and not vote.holds:\n        return before\n",
    ),
    Mutation(
        "the word of a director that is silent counts",
        "decide/agreeing.py",
        "        is_fresh = 0.0 <= age_s <= lease_s\n",
        "        is_fresh = 0.0 <= age_s\n",
    ),
    Mutation(
        "others hold a server that an operator takes out",
        "decide/vetoing.py",
        "    return bool(server.watches) and not is_ordered_out(server)\n",
        "    return bool(server.watches)\n",
    ),
    Mutation(
        "each hold of a server that flaps is as long as the first",
        "health/damping.py",
        "    holds = flaps.holds if is_held else flaps.holds + 1\n",
        "    holds = 1\n",
    ),
    Mutation(
        "a server that flaps is let go after half of the time",
        "health/damping.py",
        "        if damps and now < flaps.until:\n            return flaps\n",
        "        if damps and now < (flaps.last + flaps.until) / 2:\n            return flaps\n",
    ),
    Mutation(
        "an order for all services counts before one for a service",
        "decide/overrides.py",
        "self.states.get(own) or self.states.get(everywhere)",
        "self.states.get(everywhere) or self.states.get(own)",
    ),
    Mutation(
        "an order is not written before it takes effect",
        "daemon/operators.py",
        "        await self._disk.write(self._file_of_orders(), self._after(plan.change).own)\n",
        "",
    ),
    Mutation(
        "an order ends a minute late",
        "decide/overrides.py",
        "for each, until in self._limited() if until <= now]",
        "for each, until in self._limited() if until <= now - 60.0]",
    ),
)


def found_by(mutation: Mutation) -> str:
    """Return what finds a mutation: the first line that tells of it; "" if nothing does."""
    if not mutation.is_possible:
        return ""
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        package = Path(folder) / "lvs_healthd"
        shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
        (package / mutation.file).write_text(mutation.text.replace(mutation.right, mutation.wrong))
        tests = [f"tests/simulation/test_product_{name}.py" for name in PRODUCTS]
        product = _run(folder, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", *tests)
        if product:
            return product
        return _run(folder, "-m", "tests.simulation", "--steps", str(STEPS), "--seed", "1", "--first")


def _run(folder: str, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    if done.returncode == 0:
        return ""
    told = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "seed"))]
    if done.returncode != 1 or not told:
        raise RuntimeError(f"{arguments}: exit status {done.returncode}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return told[0]


def main() -> int:
    """Try all mutations, or those that are named. Return the exit status: 1 if any is not found."""
    words = sys.argv[1:]
    missed = 0
    for mutation in MUTATIONS:
        if words and not any(word in mutation.name for word in words):
            continue
        found = found_by(mutation)
        missed += not found
        print(f"{mutation.name}: {found or 'NOT FOUND'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
