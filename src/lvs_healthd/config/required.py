"""Keys without which a check of some type would say nothing."""

from collections.abc import Callable, Iterator

_REQUIRED = {
    "exec": {
        "command": 'the program to run, as in command = ["/usr/local/bin/check"]',
        "convention": 'which exit statuses pass, those of "nagios" (0 and 1), or of "mon" or "keepalived" (only 0)',
    },
    "dns": {"query": 'the name to ask for, as in query = "example.org"'},
}
"""The required keys of each type, and what they are."""


def missing(kind: str, has: Callable[[str], bool]) -> Iterator[str]:
    """Yield the message for every key that a check lacks.

    kind: the type of the check.
    has: returns whether a field is set.
    """
    for field, what in _REQUIRED.get(kind, {}).items():
        if not has(field):
            yield f"{field} is missing: {what}"
