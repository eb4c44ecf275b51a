"""Reads and writes the state file, a small JSON file with the verdicts, their reasons, and which services are ours.

The kernel's table shows which servers serve; this file adds what the kernel cannot know. The file is replaced by a
rename, so a crash leaves either the old one or the new one. A file that cannot be read is put aside and not lost.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.runtime.exceptions import HostError

FORMAT = 1


_MAKE_WRITABLE = "make the folder writable for this user, or set [daemon] state"
_WRITE_ADVICE = {
    errno.ENOSPC: "make room on its file system (`df -h`, and `df -i` for inodes)",
    errno.EDQUOT: "make room, or raise the quota of this user",
    errno.EROFS: (
        "its file system is read-only here: `dmesg` says whether the disk failed; under systemd, the folder must be "
        "the unit's StateDirectory= or in its ReadWritePaths="
    ),
    errno.EIO: "the disk fails: see `dmesg`",
}
"""What to do about an error of a write, by errno. Any other is about permissions or the path."""


class StateFileError(HostError):
    """The state file could not be read or written. The message names the file and says what to do."""


class SavedVerdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The last known verdict of one check."""

    service: str
    server: str
    check: str
    verdict: str
    detail: str
    since: float
    """When the verdict was reached, Unix time."""


class SharedService(msgspec.Struct, frozen=True):
    """A service in which somebody else may have servers too. `servers` are ours; only these are ever removed."""

    service: ServiceKey
    servers: tuple[DestinationKey, ...]


class Ours(msgspec.Struct, frozen=True):
    """The part of the kernel's table that is ours."""

    services: frozenset[ServiceKey] = frozenset()
    shared: tuple[SharedService, ...] = ()


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the state file."""

    format: int = FORMAT
    owned: tuple[ServiceKey, ...] = ()
    """Services we created or took over. Only these are deleted when they leave the configuration."""
    shared: tuple[SharedService, ...] = ()
    verdicts: tuple[SavedVerdict, ...] = ()

    def by_check(self) -> dict[tuple[str, str, str], SavedVerdict]:
        """Index the verdicts by service, server and check name."""
        return {(verdict.service, verdict.server, verdict.check): verdict for verdict in self.verdicts}


def read_state(path: Path, *, put_aside: bool = True) -> Saved:
    """Read the state file. One that does not exist counts as empty.

    put_aside: first rename a file with unusable content to NAME.bad. Callers pass false when the file is not theirs.

    Raises `StateFileError` when the file cannot be read or its content is unusable.
    """
    rescue = _put_aside if put_aside else _left_alone
    try:
        content = _read_regular(path)
    except FileNotFoundError:
        return Saved()
    except OSError as error:
        raise StateFileError(f"{path}: cannot read: {error.strerror}; starting without saved reasons") from error
    try:
        saved = msgspec.json.decode(content, type=Saved)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise StateFileError(f"{path}: not a state file ({error}); {rescue(path)}") from error
    if saved.format != FORMAT:
        raise StateFileError(f"{path}: format {saved.format}, this version knows {FORMAT}; {rescue(path)}")
    return saved


def write_state(path: Path, ours: Ours, verdicts: Iterable[SavedVerdict]) -> None:
    """Replace the state file. Raises `StateFileError`."""
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with _created(temporary) as file:
            file.writelines(_content(ours, verdicts))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        advice = _WRITE_ADVICE.get(error.errno or 0, _MAKE_WRITABLE)
        raise StateFileError(
            f"{path}: cannot write: {error.strerror}; reasons and ownership will not survive a restart: {advice}"
        ) from error


def _read_regular(path: Path) -> bytes:
    """Read a regular file; anything else is refused, since a FIFO would block and a device may never end."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return file.read()


def _created(path: Path) -> BinaryIO:
    """Create a file that only this user may read. What has its name already, a symbolic link say, is removed first.

    Nothing is ever written through a link or into a file that somebody else has opened.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o600), "wb")
    except FileExistsError:  # left behind by a crash, or put there by somebody
        path.unlink()
        return os.fdopen(os.open(path, flags, 0o600), "wb")


def _content(ours: Ours, verdicts: Iterable[SavedVerdict]) -> Iterator[bytes]:
    """Encode the content of the file in pieces, one line for each verdict.

    Encoding fifty thousand verdicts in one call would hold the interpreter, and with it the event loop, until it is
    done.
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
