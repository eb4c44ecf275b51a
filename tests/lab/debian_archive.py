"""Makes a small Debian archive in a folder, and an apt that knows no other archive. So fetching needs no network."""

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

ARCHITECTURE = subprocess.run(
    ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
).stdout.strip()


class Archive:
    """Suites of packages under `folder`. With `environment`, apt uses this archive and keeps its files in `folder`."""

    def __init__(self, folder: Path, *, origin: str = "Debian") -> None:
        self.folder = folder
        self.origin = origin
        self.host = folder / "host"
        self.sources = self.host / "sources.list.d"
        for each in (self.sources, self.host / "state/lists/partial", self.host / "cache/archives/partial"):
            each.mkdir(parents=True)
        (self.host / "status").touch()
        (self.host / "apt.conf").write_text(
            f"""Dir::Etc::parts "/nonexistent";
Dir::Etc::main "/dev/null";
Dir::Etc::sourcelist "{self.host}/sources.list";
Dir::Etc::sourceparts "{self.sources}";
Dir::Etc::preferencesparts "/nonexistent";
Dir::State "{self.host}/state";
Dir::State::status "{self.host}/status";
Dir::Cache "{self.host}/cache";
APT::Sandbox::User "root";
Acquire::AllowInsecureRepositories "true";
APT::Get::AllowUnauthenticated "true";
"""
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment with which to start programs that use apt."""
        tools = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        return {**os.environ, "APT_CONFIG": str(self.host / "apt.conf"), "PATH": tools, "LC_ALL": "C.UTF-8"}

    @property
    def uri(self) -> str:
        """The URI of the archive, in place of a mirror's."""
        return f"file:{self.folder}"

    def publish(self, suite: str, *packages: Path) -> None:
        """Make a suite that contains these packages."""
        index = self.folder / "dists" / suite / "main" / f"binary-{ARCHITECTURE}" / "Packages"
        index.parent.mkdir(parents=True)
        index.write_text("\n".join(self._entry(package) for package in packages))
        name = index.relative_to(self.folder / "dists" / suite)
        digest = hashlib.sha256(index.read_bytes()).hexdigest()
        (self.folder / "dists" / suite / "Release").write_text(
            f"Origin: {self.origin}\nLabel: {self.origin}\nSuite: {suite}\nCodename: {suite}\n"
            f"Architectures: {ARCHITECTURE}\nComponents: main\nSHA256:\n"
            f" {digest} {index.stat().st_size} {name}\n"
        )

    def package(self, name: str, files: Mapping[str, str], *, depends: str = "") -> Path:
        """Build a package."""
        root = self.folder / "build" / name
        (root / "DEBIAN").mkdir(parents=True)
        (root / "DEBIAN" / "control").write_text(
            f"Package: {name}\nVersion: 1\nArchitecture: {ARCHITECTURE}\nMaintainer: nobody <nobody@example.org>\n"
            + (f"Depends: {depends}\n" if depends else "")
            + "Description: made up\n"
        )
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        file = self.folder / "pool" / f"{name}_1_{ARCHITECTURE}.deb"
        file.parent.mkdir(exist_ok=True)
        command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(file)]
        subprocess.run(command, check=True, capture_output=True)
        return file

    def _entry(self, package: Path) -> str:
        control = subprocess.run(["dpkg-deb", "-f", str(package)], check=True, capture_output=True, text=True).stdout
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        name = package.relative_to(self.folder)
        return f"{control}Filename: {name}\nSize: {package.stat().st_size}\nSHA256: {digest}\n"
