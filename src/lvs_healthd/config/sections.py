"""Says which keys a table may have: all of them if they are few, otherwise the section of the manual page."""

from collections.abc import Collection

from lvs_healthd.config.lines import KeyPath

MOST_LISTED = 12
"""How many keys a message lists at most. Nobody reads a list of forty."""

_CHECK = "[service.check]"
_SECTIONS = {"service": "[[service]]", "check": _CHECK, "requests": _CHECK, "hook": "[[hook]]"}
"""The sections of tables that may stand in several places, or several times."""


def known_keys(path: KeyPath, keys: Collection[str]) -> str:
    """Return which keys a table may have, for a message about another key.

    path: where the table is; empty for the top of a file. Only that of a ready-made check has many keys.
    keys: all keys that it may have.
    """
    if len(keys) <= MOST_LISTED:
        return f"known here: {', '.join(keys)}"
    return f"those of {section(path)} are in lvs-healthd.toml(5)"


def section(path: KeyPath) -> str:
    """Return the section of lvs-healthd.toml(5) about the table at this path."""
    names = [part for part in path if isinstance(part, str)]
    if not names or names[0] == "check":
        return _CHECK
    return _SECTIONS.get(names[-1]) or f"[{'.'.join(names)}]"
