"""Collects the errors and remarks of a configuration, and reports each with its file, line, service and key.

A file with errors is refused. A file with remarks is accepted; a remark says what will happen, and what to write
instead.
"""

import datetime as dt
import itertools
import json
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from lvs_healthd.config.lines import KeyPath, json_line_numbers, line_numbers
from lvs_healthd.runtime.exceptions import InputError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN_LENGTH = 80

_SERVICE_PARTS = 2
"""The first parts of a key path that say which service it is about: "service" and its number."""


_OUTSIDE_PARTS = 3
"""The first parts of a key path that say which entry of a list it is about that is in none of the files."""


class ConfigError(InputError):
    """A configuration cannot be used. `errors` holds every reason as one line of text; `str()` joins them.

    remarks: the remarks on the same file, one line of text each.
    """

    def __init__(self, errors: tuple[str, ...], remarks: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors
        self.remarks = remarks


class Problem(msgspec.Struct, frozen=True):
    """One error in a value, or one remark on it."""

    at: KeyPath
    """The key path of the error or remark, relative to the value; empty when it is about the whole value."""
    message: str


class WrongValueError(Exception):
    """Raised when a value is not what its key requires. `problems` holds every error found in the value."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


def expected(what: str, got: object, fix: str = "", *, at: KeyPath = ()) -> WrongValueError:
    """Return the error for a wrong value.

    what: what was expected, such as "a string".
    got: the value from the file.
    fix: how to correct it, when that is not obvious.
    at: key path of the error within the value.
    """
    message = f"expected {what}, got {show(got)}"
    return WrongValueError(Problem(at, f"{message}; {fix}" if fix else message))


def show(value: object) -> str:
    """Format a TOML value for a message. The result is short and always on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            short = value if len(value) <= _SHOWN_LENGTH else value[:_SHOWN_LENGTH] + "…"
            return json.dumps(short, ensure_ascii=not short.isprintable())
        case int() if value.bit_length() > 64:
            # CPython refuses to print integers of thousands of digits. In TOML they can be written in hexadecimal.
            return "an integer of more than 64 bits"
        case dict():
            return "a table"
        case list():
            return "an array" if value else "an empty array"
        case dt.date() | dt.time():
            return f"the date or time {value.isoformat()}"
        case _:
            return str(value)


def show_path(path: KeyPath) -> str:
    """Format a key path as an operator would write it: `real_server[1].weight`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else show(part))
    return text


class Part(msgspec.Struct, frozen=True):
    """One file of a configuration."""

    file: str
    """Its name, for messages."""
    text: str
    document: dict[str, Any] = {}
    """What it says. Not needed if it is the only file."""
    first: dict[str, int] = {}
    """The number that the first entry of each of its arrays of tables has in the whole configuration."""
    inside: KeyPath = ()
    """Where in the document its text belongs. Empty for a file, whose text is the whole document."""
    is_json: bool = False
    """Whether its text is JSON; otherwise, it is TOML."""

    def lines(self) -> dict[KeyPath, int]:
        """Return the line of each key path of its document."""
        lines = json_line_numbers(self.text) if self.is_json else line_numbers(self.text)
        if not self.inside:
            return lines
        around = {self.inside[: length + 1]: 1 for length in range(len(self.inside))}
        return around | {(*self.inside, *path): line for path, line in lines.items()}

    def in_whole(self, path: KeyPath) -> KeyPath:
        """Return the key path in the whole configuration of what has this path in the file."""
        match path:
            case (str() as key, int() as index, *rest):
                return (key, self.first.get(key, 0) + index, *rest)
        return path

    def in_file(self, path: KeyPath) -> KeyPath:
        """Return the key path in the file of what has this path in the whole configuration."""
        match path:
            case (str() as key, int() as index, *rest):
                return (key, index - self.first.get(key, 0), *rest)
        return path

    def depth(self, path: KeyPath) -> int:
        """Return how many parts of a key path of the whole configuration are in this file."""
        value: object = self.document
        for depth, step in enumerate(self.in_file(path)):
            match value, step:
                case dict(), _ if step in value:
                    value = value[step]
                case list(), int() if 0 <= step < len(value):
                    value = value[step]
                case _:
                    return depth
        return len(path)


_Findings = dict[tuple[KeyPath, str], dict[int, None]]
"""Errors or remarks, each with the numbers of the services that it is about, if it is in another table."""


class Errors:
    """Collects the errors and remarks of a configuration. Lines are looked for only when there is something to report.

    file: name of the file, for messages.
    text: its content, for line numbers.
    parts: all files, if there are several. The first is the one that includes the others.
    """

    def __init__(self, file: str, text: str, parts: Sequence[Part] = ()) -> None:
        self._parts = parts or (Part(file, text),)
        self._lines: dict[int, dict[KeyPath, int]] = {}
        self._found: _Findings = {}
        self._remarks: _Findings = {}
        self._service_names: dict[int, str] = {}
        self._elsewhere: dict[KeyPath, Callable[[int], str]] = {}
        self.about_service: int | None = None
        """The number of the service that is being read. What is found in another table, from which the service has a
        value, is told with the service's name."""

    def name_places(self, path: KeyPath, place: Callable[[int], str]) -> None:
        """Set what says where the entries of a list are that is in none of the files.

        path: the key path of the list, with two parts.
        place: returns the place of the entry with this number.
        """
        self._elsewhere[path] = place

    def name_service(self, index: int, name: str) -> None:
        """Set the name that messages use for `service[index]`."""
        self._service_names[index] = name

    def add(self, path: KeyPath, message: str) -> None:
        """Add an error at a key path. An error that is added twice is reported once."""
        self._add(self._found, path, message)

    def count(self) -> int:
        """Return how many errors have been added."""
        return len(self._found)

    def remark(self, path: KeyPath, message: str) -> None:
        """Add a remark on a key path. A remark that is added twice is reported once."""
        self._add(self._remarks, path, message)

    def _add(self, findings: "_Findings", path: KeyPath, message: str) -> None:
        is_own = self.about_service is None or path[:1] == ("service",)
        if is_own:
            # What is wrong without any service is not about one of them.
            findings[(path, message)] = {}
        elif findings.get((path, message)) != {}:
            findings.setdefault((path, message), {})[self.about_service or 0] = None

    def take_remarks(self) -> tuple[Problem, ...]:
        """Remove the remarks added so far, and return them."""
        taken = tuple(Problem(path, message) for path, message in self._remarks)
        self._remarks.clear()
        return taken

    def add_all(self, path: KeyPath, error: WrongValueError) -> None:
        """Add every problem of `error`, which is about the value at `path`."""
        for problem in error.problems:
            self.add(path + problem.at, problem.message)

    def line(self, path: KeyPath) -> int:
        """Return the line of a key path; 0 for the whole file.

        A key that is not in the file has the line of the nearest table or array around it.
        """
        return self._place(path)[1]

    def on_line(self, path: KeyPath, seen_from: KeyPath) -> str:
        """Return where a key path is, for a message about another one: "on line 7", with the file if that differs."""
        if (outside := self._outside(path)) is not None:
            return f"in {outside}"
        part, line = self._place(path)
        of = (
            ""
            if self._outside(seen_from) is None and part == self._part_of(seen_from)
            else f" of {self._parts[part].file}"
        )
        return f"on line {line}{of}"

    def _place(self, path: KeyPath) -> tuple[int, int]:
        """Return the number of the file in which a key path is, and the line."""
        number = self._part_of(path)
        part = self._parts[number]
        if number not in self._lines:
            self._lines[number] = part.lines()
        lines, path = self._lines[number], part.in_file(path)
        while path and path not in lines:
            path = path[:-1]
        return number, lines[path] if path else 0

    def _part_of(self, path: KeyPath) -> int:
        """Return the number of the file in which a key path is: the one that has most of it."""
        if len(self._parts) == 1:
            return 0
        depths = [part.depth(path) for part in self._parts]
        return depths.index(max(depths))

    def texts(self) -> tuple[str, ...]:
        """Return every error found so far, in the order of the file."""
        return self._texts(self._found)

    def remark_texts(self) -> tuple[str, ...]:
        """Return every remark found so far, in the order of the file."""
        return self._texts(self._remarks)

    def _texts(self, found: "_Findings") -> tuple[str, ...]:
        alike: dict[tuple[tuple[int, int], object, str], list[KeyPath]] = {}
        for path, message in sorted(found, key=lambda finding: self._place(finding[0])):
            # What is wrong with each of a thousand servers written as one range is wrong once.
            pattern = tuple(
                part if index < _SERVICE_PARTS or isinstance(part, str) else 0 for index, part in enumerate(path)
            )
            alike.setdefault((self._place(path), pattern, message), []).append(path)
        return tuple(
            f"{self.where(paths[0], found[paths[0], message])}{_and_more(len(paths) - 1)}: {message}"
            for (_, _, message), paths in alike.items()
        )

    def where(self, path: KeyPath, services: Collection[int] = ()) -> str:
        """Format a place in the file for messages: file, line, name of the service, and key path.

        services: the numbers of the services that it is about, if the place is in another table.
        """
        outside = self._outside(path)
        part, line = self._place(path)
        file = self._parts[part].file
        places = [outside or (f"{file}:{line}" if line else file)]
        places += [f"{self._service(first)}{_and_more(len(services) - 1)}" for first in itertools.islice(services, 1)]
        match path:
            case ("service", int() as index, *rest):
                places.append(self._service(index))
                path = tuple(rest)
        if outside is not None:
            path = path[_OUTSIDE_PARTS:]
        if path:
            places.append(show_path(path))
        return ": ".join(places)

    def _outside(self, path: KeyPath) -> str | None:
        """Return the place of what is in none of the files; None for what is in one of them."""
        match path:
            case (first, second, int() as index, *_) if (first, second) in self._elsewhere:
                return self._elsewhere[first, second](index)
        return None

    def _service(self, index: int) -> str:
        name = self._service_names.get(index)
        _, number = self._parts[self._part_of(("service", index))].in_file(("service", index))
        return f"service[{number}]" if name is None else f"service {show(name)}"


def _and_more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
