"""Makes disk images of Python and of this checkout, for the guest.

The guest reads all other files over 9p, where each opening of a file takes several requests to the host. An import of
the daemon opens some six hundred files. In an emulated guest that takes 17 s over 9p, and 10 s from an image.
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
"""Room for the file system's own tables, in addition to the inodes."""
_INODE_BYTES = 256


class ImageError(Exception):
    """Raised when an image cannot be written. The message contains what mke2fs said."""


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image of a folder. The guest mounts it at the folder's own path."""

    file: Path
    folder: Path


def images(scratch: Path) -> list[Image]:
    """Return images of all Python code that the guest runs.

    The images of Python's own libraries are kept in the virtual environment. Those of our code are made in `scratch`
    each time.

    Raises `ImageError`.
    """
    lasting = [_kept(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "purelib")]
    ours = [Image(scratch / f"{name}.ext4", REPOSITORY / name) for name in OURS]
    for image in ours:
        # Compile here, because the guest is slow to compile and cannot keep the result.
        compileall.compile_dir(image.folder, quiet=2)
        write(image)
    return [*lasting, *ours]


def _kept(folder: Path) -> Image:
    """Return the image of a folder to which only installations write. Make it if the folder has changed since."""
    state = hashlib.sha256(str(folder).encode())
    for entry in sorted(folder.iterdir()):
        state.update(f"{entry.name} {entry.stat(follow_symlinks=False).st_mtime_ns}\n".encode())
    prefix = f".lab-{folder.name}-"
    image = Image(Path(sys.prefix).resolve() / f"{prefix}{state.hexdigest()[:16]}.ext4", folder)
    if not image.file.exists():
        for old in image.file.parent.glob(f"{prefix}*"):
            old.unlink()
        write(image)
    return image


def write(image: Image) -> None:
    """Write the image of its folder. Raises `ImageError`."""
    inodes, blocks = 0, _SPARE_BLOCKS
    for path in image.folder.rglob("*"):
        inodes += 1
        blocks += 1 + path.stat(follow_symlinks=False).st_size // _BLOCK
    inodes += inodes // 10 + 64
    blocks += inodes * _INODE_BYTES // _BLOCK + blocks // 10
    # Write it under another name first, so that an unfinished image is never used.
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
