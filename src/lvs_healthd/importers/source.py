"""Reads a file that is to be imported, with what an importer needs beside it."""

import sys
from pathlib import Path

import msgspec

from lvs_healthd.importers.ipvsadm import table_of
from lvs_healthd.ipvs.records import Table
from lvs_healthd.runtime.exceptions import InputError

STDIN = "-"


class Source(msgspec.Struct, frozen=True):
    """A file that is to be imported."""

    name: str
    """Its name for messages: as the operator gave it, or "standard input"."""
    text: str
    folder: Path
    """The folder that relative names in it, such as includes, start from."""
    table: Table | None = None
    """The IPVS table of the director that it is used on, or None if not given."""


class UnreadableError(InputError):
    """Raised when a file that is to be imported cannot be read."""


def source(file: str, table: str = "") -> Source:
    """Read a file.

    file: its path; "-" for standard input.
    table: the path of a saved IPVS table (`ipvsadm -Sn`); "" for none, and "-" for standard input.

    Raises `UnreadableError`, or `CommandError` if `table` is none.
    """
    kernel = table_of(_read(table).splitlines(), name_of(table)) if table else None
    folder = Path.cwd() if file == STDIN else Path(file).absolute().parent
    return Source(name_of(file), _read(file), folder, kernel)


def name_of(file: str) -> str:
    """Return the name of a file for messages."""
    return "standard input" if file == STDIN else file


def _read(file: str) -> str:
    try:
        return (sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UnreadableError(f"{name_of(file)}: {reason}") from None
