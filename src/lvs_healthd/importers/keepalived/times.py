"""Turns the times and counts of a check of keepalived into ours."""

from typing import Any

from lvs_healthd.importers.keepalived.records import SECOND, Checker
from lvs_healthd.importers.keepalived.told import Told

_MILLISECOND = 1000
_SHORTEST_INTERVAL, _LONGEST_INTERVAL = 50 * _MILLISECOND, 86_400 * SECOND
_SHORTEST_TIMEOUT, _LONGEST_TIMEOUT = 10 * _MILLISECOND, 3_600 * SECOND
"""Microseconds: the bounds of docs/configuration.md, `checks`."""
SILENT_TIMEOUT = 4 * SECOND
"""Microseconds: the shortest timeout of a udp check that expects nothing."""
_MOST_FALL = 1000


def times(told: Told, checker: Checker, timeout: int, *, shortest: int = _SHORTEST_TIMEOUT) -> dict[str, Any]:
    """Return interval, timeout, rise, fall and fast_interval of a check.

    timeout: microseconds for the whole probe.
    shortest: the shortest timeout that such a check may have, microseconds.
    """
    pace = checker.pace
    interval = _bounded(told, checker, "interval", pace.delay_loop or 0, (_SHORTEST_INTERVAL, _LONGEST_INTERVAL))
    longest = max(shortest, _LONGEST_TIMEOUT)
    retries = pace.retry or 0
    if retries >= _MOST_FALL:
        told.account.dropped(
            checker.node.place, f"more than {_MOST_FALL - 1} retries cannot be set; fall is {_MOST_FALL}"
        )
    values: dict[str, Any] = {
        "interval": duration(interval),
        "timeout": duration(_bounded(told, checker, "timeout", timeout, (shortest, longest))),
        "rise": 1,
        "fall": min(retries + 1, _MOST_FALL),
    }
    if retries:
        delay = max(pace.delay_before_retry or 0, _SHORTEST_INTERVAL)
        if delay > interval:
            told.account.dropped(
                checker.node.place,
                f"keepalived retries after {duration(delay)}; here retries come after the interval at most",
            )
        values["fast_interval"] = duration(min(delay, interval))
    return values


def _bounded(told: Told, checker: Checker, name: str, value: int, bounds: tuple[int, int]) -> int:
    kept = min(max(value, bounds[0]), bounds[1])
    if kept != value:
        told.account.dropped(
            checker.node.place, f"{name} cannot be {value / SECOND:g} s for this check; it is {duration(kept)}"
        )
    return kept


def duration(microseconds: int) -> str:
    """Return a time as the configuration has it."""
    if microseconds % SECOND == 0:
        return f"{microseconds // SECOND}s"
    return f"{microseconds / _MILLISECOND:.12g}ms"
