"""Checks that verdicts are right under load: of 10 000 servers at 1 s, a hundred fail and return at random moments."""

import random
import time
from collections.abc import Callable
from typing import NamedTuple

from bench.context import Context, Scenario
from bench.figures import number
from bench.healthd import Healthd
from bench.outcome import Claim, Outcome
from bench.probing import cost
from bench.steady import steady_daemon
from bench.switchable import SwitchableServers

SERVERS = 10_000
INTERVAL_S = 1.0
TIMEOUT_S = 1.0
RISE, FALL = 2, 3
FAILING = 100

_SLACK_S = 0.25
"""Time for a tick, for the jitter of three intervals, and for delays on a busy machine."""
DOWN_BOUND_S = FALL * INTERVAL_S + TIMEOUT_S + _SLACK_S
UP_BOUND_S = RISE * INTERVAL_S + TIMEOUT_S + _SLACK_S

_FIRST_PORT = 20_000
_SPREAD_S = 8.0
"""The time over which failures are spread, seconds."""
_SEED = 2_000


def run(context: Context) -> Outcome:
    """Switch servers off, then on again, and compare the daemon's state with what was done."""
    load = context.load("http", SERVERS, INTERVAL_S)
    chance = random.Random(_SEED)  # noqa: S311  # repeatable, not secret
    failing = chance.sample(range(SERVERS), FAILING)
    servers = [load.server(index) for index in range(SERVERS)]
    ports = {}
    for port, index in enumerate(failing, _FIRST_PORT):
        servers[index] = f"{load.address(index)}:{port}"
        ports[servers[index]] = port
    with SwitchableServers.running() as switch:
        for port in ports.values():
            switch.on(port)
        with steady_daemon(load, servers=servers, check=f"rise = {RISE}\nfall = {FALL}") as healthd:
            down = _phase(healthd, "down", lambda: _act(chance, ports, switch.off), DOWN_BOUND_S)
            up = _phase(healthd, "up", lambda: _act(chance, ports, switch.on), UP_BOUND_S)
            rate = cost(healthd.program, load, 2.0, may_fall_behind=True).rate
    late = sum(wait > DOWN_BOUND_S for wait in down.waits_s) + sum(wait > UP_BOUND_S for wait in up.waits_s)
    false = down.false + up.false
    claim = Claim(
        what=f"right under load: {FAILING} of {SERVERS} servers at {INTERVAL_S:g} s fail and return",
        measured=f"{len(down.waits_s)} found down, {len(up.waits_s)} up again, {late} late, {false} false",
        beside=f"longest {number(max(down.waits_s, default=0))} s and {number(max(up.waits_s, default=0))} s; "
        f"{rate:.0f} of {load.rate:.0f} probes/s",
        target=f"all within {DOWN_BOUND_S:g} s and {UP_BOUND_S:g} s, none false",
        holds=len(down.waits_s) == len(up.waits_s) == FAILING and not late and not false,
    )
    return Outcome([claim])


class _Phase(NamedTuple):
    waits_s: list[float]
    """How long after each switch its verdict came."""
    false: int
    """Changes of verdict that no switch explains."""


def _phase(healthd: Healthd, verdict: str, act: Callable[[], dict[str, float]], bound_s: float) -> _Phase:
    """Switch servers, wait as long as a verdict may take, and compare every server's state with what was done."""
    before = healthd.metrics().sum(_TRANSITIONS)
    began = time.time()
    done = act()
    time.sleep(bound_s)
    status = healthd.status()
    changes = healthd.metrics().sum(_TRANSITIONS) - before
    waits = [
        server["since"] - done[server["server"]]
        for service in status["services"]
        for server in service["real_servers"]
        if server["since"] >= began and server["verdict"] == verdict and server["server"] in done
    ]
    explained = [wait for wait in waits if wait >= 0]
    # A server that went down and came up again shows as up, but both changes were counted.
    return _Phase(explained, round(changes) - len(explained))


_TRANSITIONS = "lvs_healthd_real_server_transitions_total"


def _act(chance: random.Random, ports: dict[str, int], switch: Callable[[int], None]) -> dict[str, float]:
    """Switch all servers in random order at random moments. Returns when each was switched, Unix time."""
    began = time.time()
    done: dict[str, float] = {}
    moments = sorted(chance.uniform(0, _SPREAD_S) for _ in ports)
    for (server, port), offset in zip(chance.sample(list(ports.items()), len(ports)), moments, strict=True):
        if (left := began + offset - time.time()) > 0:
            time.sleep(left)
        switch(port)
        done[server] = time.time()
    return done


SCENARIOS = (Scenario("under-load", "verdicts under load", run, is_slow=True),)
