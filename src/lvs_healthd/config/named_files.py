"""Reads the small files that a configuration names, such as a key or a password, when the configuration is loaded."""

import errno
from collections.abc import Callable

from lvs_healthd.config.errors import Problem, WrongValueError
from lvs_healthd.config.values import absolute_path


def usable_file(value: object, read: Callable[[str], object]) -> str:
    """Parse the path of a file, which must already be usable. Empty means none.

    read: reads the file. Raises an `OSError` that says what is wrong with it.
    """
    if value == "":
        return ""
    path = absolute_path(value)
    try:
        read(path)
    except OSError as error:
        raise WrongValueError(Problem((), f"cannot use {path}: {error.strerror}")) from error
    return path


def read_at_most(path: str, most: int) -> bytes:
    """Read a file of at most `most` bytes. A device file would never end. Raises `OSError`."""
    with open(path, "rb") as file:  # noqa: PTH123  # an OSError must name the path as it was written
        data = file.read(most + 1)
    if len(data) > most:
        raise unusable(path, f"it is larger than {most} bytes")
    return data


def unusable(path: str, why: str) -> OSError:
    """Return the error for a file whose content cannot be used. `why` never contains what the file holds."""
    return OSError(errno.EINVAL, why, path)
