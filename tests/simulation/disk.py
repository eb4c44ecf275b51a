"""A disk in memory, under the daemon's own readers and writers of files."""

import errno
import os
from collections.abc import Iterable
from types import SimpleNamespace

from lvs_healthd.state.safe_file import StateFileError


class DiskPath:
    """What the readers and writers use of a path."""

    def __init__(self, disk: "Disk", text: str) -> None:
        self._disk = disk
        self._text = text

    def __str__(self) -> str:
        return self._text

    def __fspath__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)

    def __hash__(self) -> int:
        return hash(self._text)

    @property
    def parent(self) -> "DiskPath":
        return DiskPath(self._disk, os.path.dirname(self._text))  # noqa: PTH120  # it is not a path of this machine

    def with_name(self, name: str) -> "DiskPath":
        return DiskPath(self._disk, f"{self.parent}/{name}")

    def unlink(self, *, missing_ok: bool) -> None:
        self._disk.check()
        self._disk.files.pop(self._text, None)


class Disk:
    """Files by their paths. While it is `broken`, nothing can be written."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.broken = False
        self.gone = False
        """Whether the process that writes has been killed, so that nothing more is written."""

    def path(self, text: object) -> DiskPath:
        return DiskPath(self, str(text))

    def check(self) -> None:
        if self.broken or self.gone:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def replace_file(self, path: object, content: Iterable[bytes], lost: str) -> None:
        try:
            self.check()
        except OSError as error:
            raise StateFileError(f"{path}: cannot write: {error.strerror}; {lost}") from error
        self.files[str(path)] = b"".join(content)

    def read_regular(self, path: object) -> tuple[bytes, float]:
        try:
            return self.files[str(path)], 0.0
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None

    def put_aside(self, path: object) -> str:
        self.files[f"{path}.bad"] = self.files.pop(str(path))
        return f"put aside as {path}.bad"

    def tear(self, path: str, share: float) -> None:
        """Keep only the beginning of a file, as a disk may that lies about what it has written."""
        content = self.files.get(path, b"")
        self.files[path] = content[: int(len(content) * share)]

    def copy(self) -> "Disk":
        """Return a disk with the same files, for the next process."""
        disk = Disk()
        disk.files, disk.broken = dict(self.files), self.broken
        return disk

    @property
    def os(self) -> SimpleNamespace:
        """What the reader of holds uses of the module."""
        return SimpleNamespace(path=SimpleNamespace(lexists=lambda path: str(path) in self.files))
