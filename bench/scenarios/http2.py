"""Measures the processor time per probe over HTTP/2 beside that of HTTP/1.1, on the same servers and in turns."""

from bench import contenders
from bench.context import Context, Scenario
from bench.outcome import Claim, Outcome
from bench.probing import Cost, Costs, compare

SERVERS = 500
INTERVAL_S = 1.0
_OWN = "lvs-healthd"


def run(context: Context) -> Outcome:
    """Let the daemon probe the same nginx over both versions, in turns."""
    runs: dict[str, list[Cost]] = {"http": [], "h2": []}
    for _ in range(context.pick(3, 1)):
        for kind in runs:
            load = context.load(kind, SERVERS, INTERVAL_S)
            runs[kind] += compare(context.say, {_OWN: contenders.daemon}, load, rounds=1, seconds=3.0)[_OWN].runs
    old, new = (Costs(found).total for found in runs.values())
    claim = Claim(
        what=f"CPU per HTTP/2 probe in cleartext, {SERVERS} servers at {INTERVAL_S:g} s",
        measured=new.text("µs"),
        beside=f"HTTP/1.1: {old.text('µs')}, ratio {new.over(old).text()}",
        target="",
        holds=True,
    )
    return Outcome([claim], [], [])


SCENARIOS = (Scenario("cpu-h2", "CPU per HTTP/2 probe", run),)
