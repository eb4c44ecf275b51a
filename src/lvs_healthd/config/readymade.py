"""Ready-made checks: files of their own that a check names as its type.

The first file found on the search path is the one, so an operator's own shadows a packaged one.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from lvs_healthd.config import values
from lvs_healthd.config.errors import ConfigError, Errors
from lvs_healthd.config.schema import CHECK_KEYS, CHECK_TYPES, Key, TomlTable, read_table, refuse_foreign_keys
from lvs_healthd.config.text import read_text, toml_document

SYSTEM_DIRECTORY = Path("/etc/lvs-healthd/checks")

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_KEYS = {
    "description": Key(values.sentence),
    "type": Key(values.one_of(CHECK_TYPES)),
    **{name: key for name, key in CHECK_KEYS.items() if name not in {"name", "type"}},
}


class ReadyMade(msgspec.Struct, frozen=True):
    """One ready-made check."""

    kind: str
    """Its type: http, https, tcp or udp. Empty when its file has errors, which have been told."""
    table: TomlTable


def search_path(file: str) -> tuple[Path, ...]:
    """Directories where ready-made checks of a configuration file are looked for, the first one first."""
    package = Path(__file__).parents[1]
    in_wheel = package / "_checks"
    packaged = in_wheel if in_wheel.is_dir() else package.parents[1] / "checks"
    return Path(file).parent / "checks", SYSTEM_DIRECTORY, packaged


class Shelf:
    """The ready-made checks within reach; each file is read once, and only when it is asked for."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = tuple(directories)
        self._found: dict[str, ReadyMade | None] = {}
        self.texts: dict[str, str] = {}
        """The text of each file that was asked for; empty for one that is not there or cannot be read."""
        self.errors: list[str] = []
        """What is wrong with the files that were asked for."""

    def find(self, name: str) -> ReadyMade | None:
        """Get a check by its name; None when there is no such file."""
        if name not in self._found:
            self.texts[name] = ""
            self._found[name] = self._read(name) if _NAME.fullmatch(name) else None
        return self._found[name]

    def text(self, name: str) -> str:
        """Return the text of a check's file; empty when there is none that can be read."""
        self.find(name)
        return self.texts[name]

    def names(self) -> tuple[str, ...]:
        """List every name there is, for a message."""
        found = set()
        for directory in self._directories:
            try:
                found |= {path.stem for path in directory.glob("*.toml") if _NAME.fullmatch(path.stem)}
            except OSError:
                continue  # a directory that cannot be listed has nothing to suggest
        return tuple(sorted(found))

    def _read(self, name: str) -> ReadyMade | None:
        path = next((path for path in self._paths(name) if _exists(path)), None)
        if path is None:
            return None
        try:
            text = self.texts[name] = read_text(path)
            document = toml_document(text, str(path))
        except ConfigError as error:
            self.errors += error.errors
            return ReadyMade("", TomlTable((), {}, {}))
        errors = Errors(str(path), text)
        table = read_table(document, (), _KEYS, errors)
        for key in ("description", "type"):
            if key not in table:
                errors.add((), f"{key} is missing")
        kind = table.values.get("type", "")
        if kind:
            refuse_foreign_keys(table, kind, errors)
        found = errors.texts()
        self.errors += found
        return ReadyMade("" if found else kind, table)

    def _paths(self, name: str) -> list[Path]:
        return [directory / f"{name}.toml" for directory in self._directories]


def _exists(path: Path) -> bool:
    """Tell whether a file is there; one that cannot be looked at is, so that reading it tells why."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
