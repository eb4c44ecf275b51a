"""Parses `damping` of a service."""

from typing import Any

from lvs_healthd.config.errors import Problem, WrongValueError, expected
from lvs_healthd.config.model import Damping
from lvs_healthd.config.values import did_you_mean, duration, integer

_PARSERS = {
    "falls": integer(2, 100),
    "window": duration("10s", "24h"),
    "longest": duration("1s", "24h"),
}
"""The keys of the table."""


def damping(value: object) -> Damping | None:
    """Parse true for the usual values, false for none, or a table of values."""
    if isinstance(value, bool):
        return Damping() if value else None
    if not isinstance(value, dict):
        raise expected('true, false, or a table such as { falls = 4, window = "10m", longest = "30m" }', value)
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, written in value.items():
        if key not in _PARSERS:
            guess = did_you_mean(key, _PARSERS) or f"known here: {', '.join(_PARSERS)}"
            problems.append(Problem((key,), f"unknown key; {guess}"))
            continue
        try:
            found[key] = _PARSERS[key](written)
        except WrongValueError as error:
            problems += [Problem((key, *problem.at), problem.message) for problem in error.problems]
    if problems:
        raise WrongValueError(*problems)
    return Damping(**found)
