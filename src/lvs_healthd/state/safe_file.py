"""Reads and replaces a file that must survive crashes: whole, by a rename, and never through somebody else's link."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from lvs_healthd.runtime.exceptions import HostError

_MAKE_WRITABLE = "make the folder writable for this user, or set {key}"
_WRITE_ADVICE = {
    errno.ENOSPC: "make room on its file system (`df -h`, and `df -i` for inodes)",
    errno.EDQUOT: "make room, or raise the quota of this user",
    errno.EROFS: (
        "its file system is read-only here: `dmesg` says whether the disk failed; under systemd, the folder must be "
        "the unit's StateDirectory= or in its ReadWritePaths="
    ),
    errno.EIO: "the disk fails: see `dmesg`",
}
"""What to do about a failed write, by errno. Errors that are not listed are about permissions or the path."""


class StateFileError(HostError):
    """Raised when the state file could not be read or written. The message names the file and says what to do."""


def read_regular(path: Path) -> tuple[bytes, float]:
    """Read a regular file, and when it was last modified, Unix time.

    Anything else is refused, because a FIFO would block, and a device may never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return file.read(), status.st_mtime


def _created(path: Path) -> BinaryIO:
    """Create a file that only this user may read. A file that has the same name is removed first.

    This way, nothing is written through a symbolic link, or into a file that somebody else has opened.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o600), "wb")
    except FileExistsError:  # left behind by a crash, or put there by somebody
        path.unlink()
        return os.fdopen(os.open(path, flags, 0o600), "wb")


def replace_file(path: Path, content: Iterable[bytes], lost: str, *, key: str = "[daemon] state") -> None:
    """Replace a file by a new one with this content, which is on the disk when this returns.

    lost: what follows from a failure, for the message.
    key: the key of the configuration that names the file, or the folder.

    Raises `StateFileError`.
    """
    temporary = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        with _created(temporary) as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        advice = _WRITE_ADVICE.get(error.errno or 0, _MAKE_WRITABLE.format(key=key))
        raise StateFileError(f"{path}: cannot write: {error.strerror}; {lost}: {advice}") from error


def sync_folder(folder: Path) -> None:
    """Wait until the folder's new content is on the disk."""
    if not folder.exists():
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_aside(path: Path) -> str:
    """Rename a file to NAME.bad. Return what became of it, in words."""
    aside = path.with_name(path.name + ".bad")
    try:
        path.replace(aside)
    except OSError as error:
        return f"it could not be put aside ({error.strerror})"
    return f"put aside as {aside}"
