"""Reads and writes the file of holds: what operators have forbidden the daemon to write.

The file exists only while something is held, and lies beside the state file. It is a file of its own because every
version replaces the whole state file, so an older one would forget the holds. Its format does not change: a daemon
ignores fields that it does not know. A file that cannot be understood still says that somebody holds something, so then
everything is held.
"""

import os
from pathlib import Path

import msgspec

from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.state.safe_file import StateFileError, read_regular, replace_file, sync_folder

NAME = "holds.json"
"""The name of the file, in the folder of the state file."""

NOT_UNDERSTOOD = "the file of holds cannot be read, so everything is held"
"""The reason of the hold that stands for such a file."""


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """An operator's order to write nothing."""

    service: ServiceKey | None = None
    """The service to which nothing is written; None for the whole table."""
    name: str = ""
    """The service's name when the order was given; "" for the whole table."""
    since: float
    """When the order was given, Unix time."""
    uid: int
    """The user who gave it; -1 if nobody did."""
    reason: str = ""
    """Why, in the operator's words."""


class _Holds(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file."""

    holds: tuple[Hold, ...]


def holds_beside(state: str) -> Path:
    """Return the path of the file that belongs to a state file."""
    return Path(state).with_name(NAME)


def read_holds(path: Path) -> tuple[Hold, ...]:
    """Read the holds. A file that does not exist counts as empty. This blocks.

    So does one in a folder that cannot be searched: this daemon cannot have written it.

    Raises `StateFileError` when there is a file that cannot be read or understood.
    """
    try:
        content, _ = read_regular(path)
        return msgspec.json.decode(content, type=_Holds).holds
    except OSError as error:
        if not os.path.lexists(path):
            return ()
        raise StateFileError(f"{path}: cannot read: {error.strerror}; {_WHAT_TO_TYPE}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateFileError(f"{path}: not a file of holds ({error}); {_WHAT_TO_TYPE}") from error


_WHAT_TO_TYPE = "everything is held until `lvs-healthd release`"


def write_holds(path: Path, holds: tuple[Hold, ...]) -> None:
    """Replace the file, or remove it if nothing is held. When this returns, a crash cannot undo it. This blocks.

    Raises `StateFileError`.
    """
    if holds:
        replace_file(path, [msgspec.json.encode(_Holds(holds=holds)) + b"\n"], "nothing is held or released")
        return
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise StateFileError(f"{path}: cannot remove: {error.strerror}; it stays held") from error
