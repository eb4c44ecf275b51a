"""Finds and reads ready-made checks.

A ready-made check is a file with the usual values for one kind of server. A check in the configuration uses it by
naming it as its type. The first file on the search path is used, so an operator's file takes precedence over a packaged
one.
"""

import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from lvs_healthd.config import values
from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.errors import ConfigError, Errors, Part
from lvs_healthd.config.paces import PACES
from lvs_healthd.config.public import remark_public_secret, remark_public_secret_files
from lvs_healthd.config.schema import CHECK_KEYS, CHECK_TYPES, Key, TomlTable, read_table, refuse_foreign_keys
from lvs_healthd.config.template import Floor, NeverKeep, kept_all_the_same
from lvs_healthd.config.text import read_text, toml_document
from lvs_healthd.config.values import duration_text

SYSTEM_DIRECTORY = Path("/etc/lvs-healthd/checks")

_PROGRAM = "program "
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KEYS = {
    "description": Key(values.sentence),
    "type": Key(values.one_of(CHECK_TYPES)),
    **{name: key for name, key in CHECK_KEYS.items() if name not in {"name", "type"}},
    "min_interval": Key(CHECK_KEYS["interval"].parse),
    "min_interval_reason": Key(values.sentence),
    "never_keep": Key(values.sentence),
}


class ReadyMade(msgspec.Struct, frozen=True):
    """A ready-made check."""

    kind: str
    """The actual type, such as http. Empty when the file has errors, which have already been reported."""
    table: TomlTable
    path: Path
    """The check's file."""

    @property
    def description(self) -> str:
        """What the check is for; empty when the file has errors."""
        text: str = self.table.values.get("description", "")
        return text

    @property
    def floor(self) -> Floor | None:
        """The shortest interval that a check may have; None when the file sets none."""
        least: Seconds | None = self.table.values.get("min_interval")
        reason = self.table.values.get("min_interval_reason", "")
        return None if least is None else Floor(least, reason, str(self.path))

    @property
    def never_keep(self) -> NeverKeep | None:
        """Why no connection to its servers must be held; None when the file does not forbid it."""
        reason = self.table.values.get("never_keep")
        return None if reason is None else NeverKeep(reason, str(self.path))


def search_path(file: str) -> tuple[Path, ...]:
    """Return the directories in which to search for the ready-made checks of a configuration file, in order."""
    package = Path(__file__).parents[1]
    in_wheel = package / "_checks"
    packaged = in_wheel if in_wheel.is_dir() else package.parents[1] / "checks"
    return Path(file).parent / "checks", SYSTEM_DIRECTORY, packaged


class Shelf:
    """The ready-made checks in a list of directories. Each file is read at most once, when it is first needed."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = tuple(directories)
        self._found: dict[str, ReadyMade | None] = {}
        self.texts: dict[str, str] = {}
        """The text of each requested check's file; empty for a file that does not exist or cannot be read. For a
        program, by its `program_key`, its path."""
        self.errors: list[str] = []
        """The errors in the files of the requested checks."""
        self.remarks: list[str] = []
        """The remarks on these files."""

    def use(self, name: str) -> None:
        """Note that the configuration uses a check, or the program of a `program_key`."""
        if name.startswith(_PROGRAM):
            self.program(name.removeprefix(_PROGRAM))
        else:
            self.find(name)

    def find(self, name: str) -> ReadyMade | None:
        """Return a check by its name; None when it has no file."""
        if name not in self._found:
            self.texts[name] = ""
            self._found[name] = self._read(name) if _NAME.fullmatch(name) else None
        return self._found[name]

    def text(self, name: str) -> str:
        """Return the text of a check's file; empty when it does not exist or cannot be read.

        The check does not count as used by the configuration.

        name: of a check, or the `program_key` of a program, whose text is its path.
        """
        if name.startswith(_PROGRAM):
            return str(self._executable(name.removeprefix(_PROGRAM)) or "")
        path = self._path(name) if _NAME.fullmatch(name) else None
        try:
            return "" if path is None else read_text(path)
        except ConfigError:
            return ""

    def program(self, name: str) -> Path | None:
        """Return the path of a program beside the checks; None when no directory has an executable of that name."""
        found = self._executable(name)
        self.texts[program_key(name)] = str(found or "")
        return found

    def names(self) -> tuple[str, ...]:
        """Return the names of all ready-made checks, for a message."""
        found = set()
        for directory in self._directories:
            try:
                found |= {path.stem for path in directory.glob("*.toml") if _NAME.fullmatch(path.stem)}
            except OSError:
                continue  # a directory that cannot be listed offers no names
        return tuple(sorted(found))

    def _read(self, name: str) -> ReadyMade | None:
        path = self._path(name)
        if path is None:
            return None
        try:
            text = self.texts[name] = read_text(path)
            document = toml_document(text, str(path))
        except ConfigError as error:
            self.errors += error.errors
            return ReadyMade("", TomlTable((), {}, {}), path)
        errors = Errors(str(path), text)
        table = read_table(document, (), _KEYS, errors)
        for key in ("description", "type"):
            if key not in table:
                errors.add((), f"{key} is missing")
        kind = table.values.get("type", "")
        if kind:
            refuse_foreign_keys(table, kind, errors)
        _refuse_below_floor(table, errors)
        if "never_keep" in table and kept_all_the_same(table):
            errors.add(table.at("connection"), "never_keep says why this must not be")
        part = Part(str(path), text, document)
        remark_public_secret(part, errors)
        remark_public_secret_files(part, errors)
        found = errors.texts()
        self.errors += found
        self.remarks += errors.remark_texts()
        return ReadyMade("" if found else kind, table, path)

    def _executable(self, name: str) -> Path | None:
        return next(filter(_is_executable, (directory / name for directory in self._directories)), None)

    def _path(self, name: str) -> Path | None:
        """Return the first file of a check's name on the search path."""
        paths = (directory / f"{name}.toml" for directory in self._directories)
        return next((path for path in paths if _exists(path)), None)


def program_key(name: str) -> str:
    """Return what stands for a program of this name among the names of checks, which have no blank."""
    return f"{_PROGRAM}{name}"


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _refuse_below_floor(table: TomlTable, errors: Errors) -> None:
    """Add an error for an interval that the file itself forbids, and for a reason without anything to explain."""
    if "min_interval_reason" in table and "min_interval" not in table:
        errors.add(table.at("min_interval_reason"), "there is no min_interval that it could explain")
    least: Seconds = table.values.get("min_interval", 0.0)
    for field in PACES:
        if table.values.get(field, least) < least:
            errors.add(table.at(field), f"shorter than min_interval = {duration_text(least)}")


def _exists(path: Path) -> bool:
    """Return whether a file exists.

    A file that cannot be examined counts as existing, so that the attempt to read it reports the reason.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
