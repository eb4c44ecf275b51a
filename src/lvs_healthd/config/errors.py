"""Collects the errors and remarks of a configuration, and reports each with its file, line, service and key.

A file with errors is refused. A file with remarks is accepted; a remark says what will happen, and what to write
instead.
"""

import datetime as dt
import functools
import itertools
import json
import re
from collections.abc import Collection

import msgspec

from lvs_healthd.config.lines import KeyPath, line_numbers
from lvs_healthd.runtime.exceptions import InputError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN_LENGTH = 80

_SERVICE_PARTS = 2
"""The first parts of a key path that say which service it is about: "service" and its number."""


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


_Findings = dict[tuple[KeyPath, str], dict[int, None]]
"""Errors or remarks, each with the numbers of the services that it is about, if it is in another table."""


class Errors:
    """Collects the errors and remarks of one file. Line numbers are computed only when there is something to report.

    file: name of the file, for messages.
    text: its content, for line numbers.
    """

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._text = text
        self._found: _Findings = {}
        self._remarks: _Findings = {}
        self._service_names: dict[int, str] = {}
        self.about_service: int | None = None
        """The number of the service that is being read. What is found in another table, from which the service has a
        value, is told with the service's name."""

    @functools.cached_property
    def _lines(self) -> dict[KeyPath, int]:
        return line_numbers(self._text)

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
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines[path] if path else 0

    def texts(self) -> tuple[str, ...]:
        """Return every error found so far, in the order of the file."""
        return self._texts(self._found)

    def remark_texts(self) -> tuple[str, ...]:
        """Return every remark found so far, in the order of the file."""
        return self._texts(self._remarks)

    def _texts(self, found: "_Findings") -> tuple[str, ...]:
        alike: dict[tuple[int, object, str], list[KeyPath]] = {}
        for path, message in sorted(found, key=lambda finding: self.line(finding[0])):
            # What is wrong with each of a thousand servers written as one range is wrong once.
            pattern = tuple(
                part if index < _SERVICE_PARTS or isinstance(part, str) else 0 for index, part in enumerate(path)
            )
            alike.setdefault((self.line(path), pattern, message), []).append(path)
        return tuple(
            f"{self.where(paths[0], found[paths[0], message])}{_and_more(len(paths) - 1)}: {message}"
            for (_, _, message), paths in alike.items()
        )

    def where(self, path: KeyPath, services: Collection[int] = ()) -> str:
        """Format a place in the file for messages: file, line, name of the service, and key path.

        services: the numbers of the services that it is about, if the place is in another table.
        """
        line = self.line(path)
        places = [f"{self.file}:{line}" if line else self.file]
        places += [f"{self._service(first)}{_and_more(len(services) - 1)}" for first in itertools.islice(services, 1)]
        match path:
            case ("service", int() as index, *rest):
                places.append(self._service(index))
                path = tuple(rest)
        if path:
            places.append(show_path(path))
        return ": ".join(places)

    def _service(self, index: int) -> str:
        name = self._service_names.get(index)
        return f"service[{index}]" if name is None else f"service {show(name)}"


def _and_more(count: int) -> str:
    return f" and {count} more" if count > 0 else ""
