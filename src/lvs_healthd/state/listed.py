"""Reads and writes the file of what sources listed last, so that a restart does not depend on them.

It lies beside the state file, and its format does not change: a daemon ignores fields that it does not know. A file
that cannot be understood is as good as none, because the sources can be asked again.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from lvs_healthd.config.sources import Entry, Source
from lvs_healthd.state.safe_file import StateFileError, read_regular, replace_file

NAME = "sources.json"
"""The name of the file, in the folder of the state file."""


class SavedList(msgspec.Struct, frozen=True, kw_only=True):
    """What a source listed."""

    source: Source
    entries: tuple[Entry, ...]
    changed: float
    """When that came into force, Unix time."""


class _Lists(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file."""

    sources: tuple[SavedList, ...]


def lists_beside(state: str) -> Path:
    """Return the path of the file that belongs to a state file."""
    return Path(state).with_name(NAME)


def read_lists(path: Path) -> Mapping[Source, SavedList]:
    """Read what sources listed. A file that does not exist counts as empty. This blocks.

    Raises `StateFileError` when there is a file that cannot be read or understood.
    """
    try:
        content, _ = read_regular(path)
        return {each.source: each for each in msgspec.json.decode(content, type=_Lists).sources}
    except OSError as error:
        if not os.path.lexists(path):
            return {}
        raise StateFileError(f"{path}: cannot read: {error.strerror}; {_THEN}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateFileError(f"{path}: not a file of sources ({error}); {_THEN}") from error


_THEN = "the sources are asked again"


def write_lists(path: Path, lists: tuple[SavedList, ...]) -> None:
    """Replace the file. When this returns, a crash cannot undo it. This blocks. Raises `StateFileError`."""
    lost = "after a restart, the servers of sources that cannot be read are not known"
    replace_file(path, [msgspec.json.encode(_Lists(sources=lists)) + b"\n"], lost)
