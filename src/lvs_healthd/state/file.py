"""What survives a restart: verdicts with their reasons, and which services are ours. One small JSON file.

The kernel's table is the truth about who serves; this file adds what the kernel cannot know. It is replaced whole by a
rename, so that a crash leaves either the old one or the new one; a file that cannot be read is put aside, not lost.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.runtime.exceptions import HostError

FORMAT = 1


class StateFileError(HostError):
    """The state file could not be read or written; the message names the file and what to do."""


class SavedVerdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One check's verdict as last known."""

    service: str
    server: str
    check: str
    verdict: str
    detail: str
    since: float
    """Unix time."""


class SharedService(msgspec.Struct, frozen=True):
    """A service in which somebody else may have servers too, and which are ours: only these are ever removed."""

    service: ServiceKey
    servers: tuple[DestinationKey, ...]


class Ours(msgspec.Struct, frozen=True):
    """What of the kernel's table is ours."""

    services: frozenset[ServiceKey] = frozenset()
    shared: tuple[SharedService, ...] = ()


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    format: int = FORMAT
    owned: tuple[ServiceKey, ...] = ()
    """Services we created or took over: only these are deleted when they leave the configuration."""
    shared: tuple[SharedService, ...] = ()
    verdicts: tuple[SavedVerdict, ...] = ()

    def by_check(self) -> dict[tuple[str, str, str], SavedVerdict]:
        """Index the verdicts by service, server and check name."""
        return {(verdict.service, verdict.server, verdict.check): verdict for verdict in self.verdicts}


def read_state(path: Path, *, put_aside: bool = True) -> Saved:
    """Read the file; an absent one is empty.

    Raises `StateFileError` when it cannot be read; one with unusable content is first renamed to NAME.bad, unless
    `put_aside` is false because the file is somebody else's.
    """
    rescue = _put_aside if put_aside else _left_alone
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Saved()
    except OSError as error:
        raise StateFileError(f"{path}: cannot read: {error.strerror}; starting without saved reasons") from error
    try:
        saved = msgspec.json.decode(content, type=Saved)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateFileError(f"{path}: not a state file ({error}); {rescue(path)}") from error
    if saved.format != FORMAT:
        raise StateFileError(f"{path}: format {saved.format}, this version knows {FORMAT}; {rescue(path)}")
    return saved


def write_state(path: Path, ours: Ours, verdicts: Iterable[SavedVerdict]) -> None:
    """Replace the file. Raises `StateFileError`."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.writelines(_content(ours, verdicts))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StateFileError(
            f"{path}: cannot write: {error.strerror}; reasons and ownership will not survive a restart: "
            f"make the folder writable for this user, or set [daemon] state"
        ) from error


def _content(ours: Ours, verdicts: Iterable[SavedVerdict]) -> Iterator[bytes]:
    """Spell the file out, a line for each verdict.

    In pieces, because one encoding of fifty thousand verdicts would hold the interpreter, and with it the event loop,
    for as long as it takes.
    """
    encode = msgspec.json.Encoder().encode
    yield b'{"format":%d,\n"owned":%b,\n"shared":%b,\n"verdicts":[' % (
        FORMAT,
        encode(sorted(ours.services)),
        encode(ours.shared),
    )
    for number, verdict in enumerate(verdicts):
        yield b",\n" if number else b"\n"
        yield encode(verdict)
    yield b"\n]}\n"


def _left_alone(_path: Path) -> str:
    return "left as it is"


def _put_aside(path: Path) -> str:
    aside = path.with_name(path.name + ".bad")
    try:
        path.replace(aside)
    except OSError as error:
        return f"it could not be put aside ({error.strerror})"
    return f"put aside as {aside}"
