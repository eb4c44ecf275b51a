"""Reads a file as a TOML document. Explains what is wrong with a file that is not TOML."""

import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tomli

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.mistakes import mistakes

DEFAULT_FILE = Path("/etc/lvs-healthd/config.toml")

LARGEST_FILE = 64 * 1024 * 1024
"""Largest file in bytes, and largest configuration of several: enough for half a million real servers. Without a limit,
a device file would fill memory."""


def read_text(path: Path) -> str:
    """Read a file as UTF-8, with or without a byte order mark. Raises `ConfigError`."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError((f"{path}: cannot be read: {error.strerror}",)) from error
    except ValueError as error:  # a NUL byte in the name
        raise ConfigError((f"{str(path)!r}: cannot be read: {error}",)) from error
    if len(data) > LARGEST_FILE:
        raise ConfigError((f"{path}: larger than {LARGEST_FILE // 1024 // 1024} MiB",))
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError((f"{path}:{line}: not UTF-8 text: byte 0x{data[error.start]:02x}",)) from error


def is_public(path: Path) -> bool:
    """Return whether everybody on this host may read a file. False for a file that cannot be examined."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except (OSError, ValueError):
        return False


_NESTED = frozenset({dict, list})


def leaves(document: object, *, plain_arrays: bool = True) -> Iterator[tuple[KeyPath, object]]:
    """Yield every value of a document that is neither a table nor an array, with its key path, in the file's order.

    plain_arrays: whether to yield the elements of arrays that hold neither tables nor arrays, such as thousands of
    servers.

    The open tables and arrays are kept in a list instead of on Python's stack, which deep nesting could exhaust.
    """
    left: list[tuple[KeyPath, object]] = [((), document)]
    while left:
        path, value = left.pop()
        if isinstance(value, dict):
            left += [((*path, key), inner) for key, inner in reversed(value.items())]
        elif isinstance(value, list):
            if plain_arrays or not _NESTED.isdisjoint(map(type, value)):
                left += [((*path, index), inner) for index, inner in reversed([*enumerate(value)])]
        else:
            yield path, value


def toml_document(text: str, file: str) -> dict[str, Any]:
    """Parse TOML. Raises `ConfigError`."""
    try:
        return tomli.loads(text.removeprefix("\ufeff"))
    except tomli.TOMLDecodeError as error:
        raise ConfigError(tuple(f"{file}:{mistake}" for mistake in mistakes(error))) from error
    except ValueError as error:  # Python's limit on digits is the only cause in tomli
        digits = sys.get_int_max_str_digits()
        raise ConfigError((f"{file}: it contains an integer of more than {digits} digits",)) from error
    except RecursionError as error:
        raise ConfigError((f"{file}: {error}",)) from error
