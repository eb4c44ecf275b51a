"""Parses the value of one key that is a table with keys of its own, such as `damping`."""

from collections.abc import Callable, Mapping
from typing import Any

from lvs_healthd.config.errors import Problem, WrongValueError
from lvs_healthd.config.values import did_you_mean


def inline_table(value: Mapping[str, object], parsers: Mapping[str, Callable[[object], Any]]) -> dict[str, Any]:
    """Parse the values of a table.

    parsers: the keys that the table may have, and the parser of each.

    Raises `WrongValueError` with every error in the table.
    """
    found: dict[str, Any] = {}
    problems: list[Problem] = []
    for key, written in value.items():
        if key not in parsers:
            guess = did_you_mean(key, parsers) or f"known here: {', '.join(parsers)}"
            problems.append(Problem((key,), f"unknown key; {guess}"))
            continue
        try:
            found[key] = parsers[key](written)
        except WrongValueError as error:
            problems += [Problem((key, *problem.at), problem.message) for problem in error.problems]
    if problems:
        raise WrongValueError(*problems)
    return found
