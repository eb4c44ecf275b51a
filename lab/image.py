"""Python and this checkout as disk images, for the guest.

Its other files come over 9p, where opening a file asks the host several times. An import of the daemon opens some
six hundred: 17 s in an emulated guest, 10 from an image.
"""

import compileall
import hashlib
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from lab.host import REPOSITORY

OURS = ("src", "lab", "tests")
"""Folders of the checkout with Python code that the guest runs."""

_BLOCK = 4096
_SPARE_BLOCKS = 2048
"""For the file system's own tables, beside what each inode takes."""
_INODE_BYTES = 256


class ImageError(Exception):
    """An image could not be written; the message is what mke2fs said."""


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image and the folder that it is of, where the guest mounts it."""

    file: Path
    folder: Path


def images(scratch: Path) -> list[Image]:
    """Return images of all Python code: of Python's own, kept in the virtual environment, of ours, new in `scratch`.

    Raises `ImageError`.
    """
    lasting = [_kept(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib")]
    ours = [Image(scratch / f"{name}.ext4", REPOSITORY / name) for name in OURS]
    for image in ours:
        # The guest cannot keep byte code, and takes long to compile.
        compileall.compile_dir(image.folder, quiet=2)
        _write(image)
    return [*lasting, *ours]


def _kept(folder: Path) -> Image:
    """Return the image of a folder in which only installations write; make it when there is none of this state."""
    state = hashlib.sha256(str(folder).encode())
    for entry in sorted(folder.iterdir()):
        state.update(f"{entry.name} {entry.stat(follow_symlinks=False).st_mtime_ns}\n".encode())
    prefix = f".lab-{folder.name}-"
    image = Image(Path(sys.prefix).resolve() / f"{prefix}{state.hexdigest()[:16]}.ext4", folder)
    if not image.file.exists():
        for old in image.file.parent.glob(f"{prefix}*"):
            old.unlink()
        _write(image)
    return image


def _write(image: Image) -> None:
    inodes, blocks = 0, _SPARE_BLOCKS
    for path in image.folder.rglob("*"):
        inodes += 1
        blocks += 1 + path.stat(follow_symlinks=False).st_size // _BLOCK
    inodes += inodes // 10 + 64
    blocks += inodes * _INODE_BYTES // _BLOCK + blocks // 10
    # Under another name first: what is killed half-way is no image.
    unfinished = image.file.with_suffix(".new")
    made = subprocess.run(
        [
            *("mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-b", str(_BLOCK)),
            *("-N", str(inodes), "-d", str(image.folder), str(unfinished), str(blocks)),
        ],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/sbin"},
    )
    if made.returncode != 0:
        raise ImageError(f"no image of {image.folder} for the lab's guest: {made.stderr.strip()}")
    unfinished.rename(image.file)
