"""Reads and writes the file of what etcd said last, so that a restart does not depend on it.

It lies beside the state file, and its format does not change: a daemon ignores fields that it does not know. A file
that cannot be understood is as good as none, because etcd can be asked again.
"""

import os
from pathlib import Path

import msgspec

from lvs_healthd.config.stored import Stored
from lvs_healthd.state.safe_file import StateFileError, read_regular, replace_file

NAME = "store.json"
"""The name of the file, in the folder of the state file."""


class SavedStore(msgspec.Struct, frozen=True, kw_only=True):
    """What etcd said that was in force."""

    stored: Stored
    changed: float
    """When that came into force, Unix time."""


def store_beside(state: str) -> Path:
    """Return the path of the file that belongs to a state file."""
    return Path(state).with_name(NAME)


def read_store(path: Path) -> SavedStore | None:
    """Read what etcd said; None if there is no file. This blocks.

    Raises `StateFileError` when there is a file that cannot be read or understood.
    """
    try:
        content, _ = read_regular(path)
        return msgspec.json.decode(content, type=SavedStore)
    except OSError as error:
        if not os.path.lexists(path):
            return None
        raise StateFileError(f"{path}: cannot read: {error.strerror}; {_THEN}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateFileError(f"{path}: not a file of what etcd said ({error}); {_THEN}") from error


_THEN = "etcd is asked again"


def write_store(path: Path, saved: SavedStore) -> None:
    """Replace the file. When this returns, a crash cannot undo it. This blocks. Raises `StateFileError`."""
    lost = "after a restart, the services of etcd are not known while it is away"
    replace_file(path, [msgspec.json.encode(saved) + b"\n"], lost)
