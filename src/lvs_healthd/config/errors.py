"""What is wrong with a configuration, gathered in one run and said with file, line, service and key."""

import datetime as dt
import functools
import json
import re

import msgspec

from lvs_healthd.config.lines import KeyPath, line_numbers
from lvs_healthd.runtime.exceptions import InputError

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN_LENGTH = 80


class ConfigError(InputError):
    """A configuration that cannot be used. `errors` holds every reason, one line each; so does `str()`."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong, at a key path relative to the value that was looked at."""

    at: KeyPath
    message: str


class WrongValueError(Exception):
    """A value is not what its key wants. Holds every problem found in it."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


def expected(what: str, got: object, fix: str = "", *, at: KeyPath = ()) -> WrongValueError:
    """Build the error for a value: what was expected, what was got, and the fix where it is not obvious."""
    message = f"expected {what}, got {show(got)}"
    return WrongValueError(Problem(at, f"{message}; {fix}" if fix else message))


def show(value: object) -> str:
    """Spell a TOML value for a message: short, and on one line whatever it holds."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            short = value if len(value) <= _SHOWN_LENGTH else value[:_SHOWN_LENGTH] + "…"
            return json.dumps(short, ensure_ascii=not short.isprintable())
        case int() if value.bit_length() > 64:
            # CPython refuses to print integers of thousands of digits, which hexadecimal TOML can hold.
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
    """Spell a key path as an operator would: `real_server[1].weight`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else show(part))
    return text


class Errors:
    """Gathers the errors of one file. Line numbers are worked out only once an error asks for one."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self._text = text
        self._found: dict[tuple[KeyPath, str], None] = {}
        self._service_names: dict[int, str] = {}

    @functools.cached_property
    def _lines(self) -> dict[KeyPath, int]:
        return line_numbers(self._text)

    def name_service(self, index: int, name: str) -> None:
        """Let messages about `service[index]` call it by name."""
        self._service_names[index] = name

    def add(self, path: KeyPath, message: str) -> None:
        """Note an error at a key path; the same one twice is one."""
        self._found[(path, message)] = None

    def add_all(self, path: KeyPath, error: WrongValueError) -> None:
        """Note everything wrong with the value at `path`."""
        for problem in error.problems:
            self.add(path + problem.at, problem.message)

    def line(self, path: KeyPath) -> int:
        """Line of a key path, or of the nearest thing around it that the file mentions; 0 for the whole file."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines[path] if path else 0

    def texts(self) -> tuple[str, ...]:
        """Every error found so far, in the order of the file."""
        found = sorted(self._found, key=lambda error: self.line(error[0]))
        return tuple(f"{self.where(path)}: {message}" for path, message in found)

    def where(self, path: KeyPath) -> str:
        """Spell a place: file, line, the service by its name, and the key path."""
        line = self.line(path)
        places = [f"{self.file}:{line}" if line else self.file]
        match path:
            case ("service", int() as index, *rest):
                name = self._service_names.get(index)
                places.append(f"service[{index}]" if name is None else f"service {show(name)}")
                path = tuple(rest)
        if path:
            places.append(show_path(path))
        return ": ".join(places)
