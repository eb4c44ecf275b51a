"""Reads what the kernel says of other processes."""

from pathlib import Path
from typing import NamedTuple

_ENDED = frozenset({"Z", "X", "x"})
"""The states of a process that has ended and that its parent has not asked about (proc(5))."""


class Process(NamedTuple):
    """One process."""

    name: str
    """As in /proc/PID/comm, which holds at most 15 characters."""
    parent: int
    """Its parent's pid."""
    has_ended: bool
    """Whether it has ended, and only its parent has not asked about that. Then it does nothing any more."""


def process(folder: Path) -> Process:
    """Return what is known of a process.

    folder: its folder in procfs.

    Raises `OSError` if it is gone or may not be read, and `ValueError` if it ends meanwhile.
    """
    # The name is in parentheses and may contain anything. After it come the state and the parent's pid.
    head, _, rest = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
    state, parent, *_ = rest.split()
    return Process(head.partition("(")[2], int(parent), state in _ENDED)
