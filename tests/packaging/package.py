"""The package, built from this checkout, and the same package as a later version."""

import functools
import subprocess
from pathlib import Path

from tests.packaging.root import REPOSITORY

SUITES = ("bookworm", "trixie")


@functools.cache
def built() -> Path:
    """Build the package, once in each run. Return its file."""
    subprocess.run([str(REPOSITORY / "lab" / "install-packages"), "packaging/packages.txt"], check=True, cwd=REPOSITORY)
    said = subprocess.run([str(REPOSITORY / "packaging" / "build-deb")], check=True, capture_output=True, text=True)
    return REPOSITORY / said.stdout.splitlines()[-1]


def as_version(package: Path, version: str, folder: Path) -> Path:
    """Write a package into `folder` that differs from another one in its version only. Return its file."""
    unpacked, file = folder / "unpacked", folder / f"{version}.deb"
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(unpacked)], check=True)
    control = unpacked / "DEBIAN" / "control"
    lines = control.read_text(encoding="utf-8").splitlines()
    lines = [f"Version: {version}" if line.startswith("Version: ") else line for line in lines]
    control.write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(unpacked), str(file)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["rm", "-r", str(unpacked)], check=True)
    return file
