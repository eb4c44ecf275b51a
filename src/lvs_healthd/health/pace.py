"""How soon a check wants the next outcome, given what the outcomes so far have told. Pure."""

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.health.machine import DOWN, UP, Health


def pace(health: Health, check: AnyCheck) -> float:
    """Return how often a check wants its probe to run, seconds.

    A verdict is in doubt after some failures, but fewer than `fall`, or after some passes, but fewer than `rise`. A
    verdict that no outcome has been found for yet is not: the first probe comes early anyway.
    """
    verdict = health.verdict
    # After a change of the verdict, the streak that changed it is still counted. It is no doubt but the proof.
    if (health.failures and verdict is not DOWN) or (health.passes and verdict is not UP):
        return check.fast_interval or check.interval
    if verdict is DOWN:
        return check.down_interval or check.interval
    return check.interval
