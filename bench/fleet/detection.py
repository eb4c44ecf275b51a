"""How long one director takes to see that a server has died: with the daemon's own machine, paces and check."""

import random

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import TcpCheck
from lvs_healthd.config.paces import FAST_INTERVAL
from lvs_healthd.health.machine import DOWN, UP, Health, step
from lvs_healthd.health.pace import pace
from lvs_healthd.probes.outcome import Reason, down
from lvs_healthd.probing.scheduler import JITTER_SHARE


def check(interval_s: float) -> TcpCheck:
    """Return a check with the defaults of the configuration."""
    return TcpCheck(
        name="tcp",
        address="198.51.100.11",
        port=80,
        interval=Seconds(interval_s),
        fast_interval=Seconds(min(interval_s, FAST_INTERVAL)),
    )


def detected_s(asked: TcpCheck, chance: random.Random, *, is_silent: bool) -> float:
    """Return how long after its death a server is down for a director, seconds.

    is_silent: whether the dead server answers nothing, so that each probe takes the whole timeout. If not, it refuses.
    """
    takes_s = asked.timeout if is_silent else 0.0
    outcome = down(Reason.TIMEOUT if is_silent else Reason.REFUSED, "")
    health, start = Health(UP, 0.0), chance.random() * asked.interval
    while True:
        at = start + chance.random() * JITTER_SHARE * asked.interval
        health = step(health, outcome, rise=asked.rise, fall=asked.fall, now=at + takes_s, latency_s=takes_s)
        if health.verdict is DOWN:
            return at + takes_s
        start += max(pace(health, asked), takes_s)
