"""Reads a configuration that consists of several files into one document, and keeps in mind what came from where."""

import fnmatch
import glob
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from lvs_healthd.config import values
from lvs_healthd.config.errors import ConfigError, Errors, Part, WrongValueError, expected
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.shapes import shape_of, with_shape
from lvs_healthd.config.text import LARGEST_FILE, read_text, toml_document

INCLUDE = "include"

MOST_DEEP = 10
"""How deeply files may include each other. Whoever needs more has probably lost sight of it."""

_LISTS = ("service", "hook")
"""The arrays of tables, to which every file may add."""

_TABLES = {
    *(("daemon",), ("brake",), ("pair",), ("fleet",), ("pool",), ("check",)),
    *(("defaults",), ("defaults", "check"), ("defaults", "service")),
    *(("ipvs",), ("ipvs", "timeouts"), ("ipvs", "sync"), ("ipvs", "sysctl")),
}
"""The tables to which every file may add keys of its own. Any other value is in one file as a whole."""


class Whole(NamedTuple):
    """A configuration of one file or several, as one document."""

    document: dict[str, Any]
    parts: Sequence[Part]
    """The files, in the order in which they were read. The first one includes the others."""
    errors: tuple[str, ...] = ()
    """What is set in two files: one line of text each."""


_names = values.one_or_more(values.string)


def include(value: object) -> tuple[str, ...]:
    """Parse the value of `include`: a file, or a list of files."""
    if not isinstance(value, str | list):
        raise expected('a file, or a list such as ["conf.d/*.toml"]', value)
    return _names(value)


with_shape(include, shape_of(_names))


def whole_file(path: Path) -> Whole:
    """Read a file and those that it includes. Raises `ConfigError` if one cannot be read or is not TOML."""
    return whole(read_text(path), str(path))


def whole(text: str, file: str) -> Whole:
    """Read the files that a text includes. Raises `ConfigError` if one cannot be read or is not TOML.

    text: the content of the first file.
    file: its path, to whose folder the paths that it includes are relative.
    """
    found = _Files()
    found.read(text, file, {os.path.realpath(file): file})
    if found.errors:
        raise ConfigError(tuple(found.errors))
    if len(found.read_files) == 1:
        (part,) = found.read_files
        document = {key: value for key, value in part.document.items() if key != INCLUDE}
        return Whole(document, (part,))
    return joined(found.read_files)


class _Files:
    """Reads files, and those that they include."""

    def __init__(self) -> None:
        self.read_files: list[Part] = []
        self.errors: list[str] = []
        self._seen: set[str] = set()
        self._size = 0

    def read(self, text: str, file: str, chain: Mapping[str, str]) -> None:
        """Read a file with this text, and those that it includes.

        chain: the files on the way to this one, itself too: their names by their real paths.
        """
        self._seen.add(os.path.realpath(file))
        self._size += len(text)
        try:
            document = toml_document(text, file)
        except ConfigError as error:
            self.errors += error.errors
            return
        self.read_files.append(Part(file, text, document))
        if INCLUDE not in document:
            return
        errors = Errors(file, text)
        for at, path in list(_paths(document[INCLUDE], file, errors)):
            self._read_included(at, path, chain, errors)
        self.errors += errors.texts()

    def _read_included(self, at: KeyPath, path: str, chain: Mapping[str, str], errors: Errors) -> None:
        real = os.path.realpath(path)
        if real in chain:
            names = [name for each, name in itertools.dropwhile(lambda link: link[0] != real, chain.items())]
            errors.add(at, f"these files include each other for ever: {' > '.join((*names, path))}; leave it out")
        elif real in self._seen:
            return  # a list of patterns may name a file twice
        elif len(chain) > MOST_DEEP:
            errors.add(at, f"{path}: more than {MOST_DEEP} files include each other in a row")
        else:
            try:
                text = read_text(Path(path))
            except ConfigError as error:
                errors.add(at, str(error))
                return
            if self._size + len(text) > LARGEST_FILE:
                errors.add(at, f"{path}: all files together are larger than {LARGEST_FILE // 1024 // 1024} MiB")
                return
            self.read(text, path, {**chain, real: path})


def _paths(written: object, file: str, errors: Errors) -> Iterator[tuple[KeyPath, str]]:
    """Yield the files that an `include` names, each with the key path of its name or pattern."""
    try:
        names = include(written)
    except WrongValueError as error:
        errors.add_all((INCLUDE,), error)
        return
    for index, name in enumerate(names):
        at = (INCLUDE, index) if isinstance(written, list) else (INCLUDE,)
        path = os.path.join(os.path.dirname(file), name)  # noqa: PTH118, PTH120  # pathlib would change how it is written
        folder, pattern = os.path.split(path)
        if not glob.has_magic(name):
            yield at, path
        elif glob.has_magic(os.path.dirname(name)):  # noqa: PTH120
            errors.add(at, "*, ? and [ are for the last part of the path, the names of files")
        else:
            try:
                names_there = sorted(os.listdir(folder or "."))  # noqa: PTH208
            except (OSError, ValueError) as error:
                # Without an error, a missing folder would take out all that is configured in it.
                errors.add(at, f"{folder}: the folder cannot be read: {getattr(error, 'strerror', None) or error}")
                continue
            for each in names_there:
                if fnmatch.fnmatchcase(each, pattern) and not each.startswith("."):
                    yield at, os.path.join(folder, each)  # noqa: PTH118


def joined(read_files: Sequence[Part]) -> Whole:
    """Join the documents of several files, or of files and keys of etcd."""
    document: dict[str, Any] = {}
    parts: list[Part] = []
    errors: list[str] = []
    for each in read_files:
        first = {key: len(document.get(key, ())) for key in _LISTS if isinstance(each.document.get(key), list)}
        part = msgspec.structs.replace(each, first=first)
        twice = Errors(each.file, each.text, [each])
        for path in _add(document, each.document, ()):
            before = Errors("", "", parts)
            twice.add(path, f"already set in {before.where(path).partition(': ')[0]}; keep one of them")
        errors += twice.texts()
        parts.append(part)
    return Whole(document, parts, tuple(errors))


def _add(document: dict[str, Any], other: Mapping[str, Any], path: KeyPath) -> Iterator[KeyPath]:
    """Add what a file says to a document. Yield the key path of each value that is there already."""
    for key, value in other.items():
        at = (*path, key)
        if at == (INCLUDE,):
            continue
        if at in _TABLES and isinstance(value, dict) and isinstance(document.setdefault(key, {}), dict):
            yield from _add(document[key], value, at)
        elif not path and key in _LISTS and isinstance(value, list) and isinstance(document.setdefault(key, []), list):
            document[key] += value
        elif key in document:
            yield at
        else:
            document[key] = value
