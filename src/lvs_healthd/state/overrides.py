"""Reads and writes the file with what operators have ordered: which servers are drained or disabled, and which weights.

It is a file of its own, apart from the verdicts, and its format is frozen: a daemon of another version must not put a
drained server back. So whatever a newer daemon adds is passed over, and what this one knows is read. Only a file that
is no such file at all is put aside.
"""

import enum
from collections.abc import Iterable
from pathlib import Path

import msgspec

from lvs_healthd.state.safe_file import StateFileError, put_aside, read_regular, replace_file

FORMAT = 1

EVERYWHERE = "*"
"""In the place of a service: all services, also those that are configured later."""


class Kind(enum.StrEnum):
    """What an operator has ordered."""

    DRAIN = "drain"
    DISABLE = "disable"
    WEIGHT = "weight"


class Override(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One order about one server. Times are Unix time."""

    kind: Kind
    service: str
    """The kernel's key of the service, such as "192.0.2.100:80/tcp"; or `EVERYWHERE`."""
    server: str
    """address:port; the address alone if it is for all services."""
    weight: int | None = None
    """For `WEIGHT`: the weight."""
    reason: str = ""
    """Why, in the operator's words."""
    uid: int
    """Who."""
    since: float
    until: float | None = None
    """When it ends by itself; None for never."""
    deadline: float | None = None
    """For `DRAIN`: when the server is removed though it has connections; None for never."""
    director: str = ""
    """The director on which it was given for the whole fleet. Empty: it is for this director alone."""


class _File(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    overrides: tuple[msgspec.Raw, ...]


def read_overrides(path: Path, *, rescue: bool = True) -> tuple[Override, ...]:
    """Read the file. One that does not exist holds nothing, and an order of an unknown kind is passed over.

    rescue: whether to rename a file that cannot be read, or is no such file, to NAME.bad, so that the next order does
        not overwrite it.

    Raises `StateFileError` when the file cannot be read or is no such file.
    """
    try:
        content, _ = read_regular(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        what = _kept(path, rescue=rescue)
        raise StateFileError(
            f"{path}: cannot read: {error.strerror}; {what}; servers that were drained or disabled are not"
        ) from error
    try:
        file = msgspec.json.decode(content, type=_File)
        return tuple(override for each in file.overrides if (override := _decoded(each)) is not None)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        what = _kept(path, rescue=rescue)
        raise StateFileError(
            f"{path}: no file of overrides ({error}); {what}; servers that were drained or disabled are not"
        ) from error


def _kept(path: Path, *, rescue: bool) -> str:
    return put_aside(path) if rescue else "left as it is"


def _decoded(raw: msgspec.Raw) -> Override | None:
    """Return one order; None if a newer daemon has written it in a way that this one does not understand."""
    try:
        return msgspec.json.decode(raw, type=Override)
    except msgspec.ValidationError:
        return None


def write_overrides(path: Path, overrides: Iterable[Override]) -> None:
    """Replace the file, one line for each order. Raises `StateFileError`."""
    lines = b",\n".join(map(msgspec.json.encode, overrides))
    replace_file(path, [b'{"format":%d,"overrides":[\n%b\n]}\n' % (FORMAT, lines)], "the order is not accepted")
