"""lab/unpack-servers unpacks what apt would install, and installs nothing; the second time it asks nobody."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "lab" / "unpack-servers"


class Archive:
    """A machine whose apt-get writes what it is asked for to `log`, and has one package, `brewd`, with a library."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.log.touch()
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.list = folder / "servers.txt"
        self.list.write_text("# A pot.\nbrewd # it brews\n")
        self.target = folder / "cache" / "servers"
        plan = "Inst libbrew1 (1.0-1 Debian:12 [amd64])\nInst brewd [0.9] (1:1.2-3 Debian:12 [amd64])\n"
        (folder / "plan").write_text(plan)
        for name, file in (("brewd", "usr/sbin/brewd"), ("libbrew1", "lib/libbrew.so.1")):
            self._package(name, file)
        apt = self.bin / "apt-get"
        apt.write_text(
            f'#!/bin/sh\necho "apt-get $*" >> {self.log}\n'
            f"case $1 in --simulate) cat {folder}/plan ;; download) cp {folder}/debs/*.deb . ;; esac\n"
        )
        apt.chmod(0o755)
        (self.bin / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (self.bin / "sudo").chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPT), str(self.list), str(self.target)],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{self.bin}:{os.environ.get('PATH', os.defpath)}"},
            timeout=60,
        )

    def _package(self, name: str, file: str) -> None:
        root = self.folder / name
        for path, mode in ((root / file, 0o4755), (root / "usr/share/doc" / name / "copyright", 0o644)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
            path.chmod(mode)
        (root / "DEBIAN").mkdir()
        control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n"
        (root / "DEBIAN/control").write_text(control)
        (self.folder / "debs").mkdir(exist_ok=True)
        built = self.folder / "debs" / f"{name}.deb"
        subprocess.run(["dpkg-deb", "--build", "-Znone", str(root), str(built)], check=True, capture_output=True)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("not Debian")
    return Archive(tmp_path)


def test_server_is_unpacked_with_its_library_and_not_installed(archive: Archive) -> None:
    done = archive.run()
    assert done.returncode == 0, done.stderr
    assert (archive.target / "usr/sbin/brewd").read_text() == "brewd"
    assert (archive.target / "usr/lib/libbrew.so.1").read_text() == "libbrew1"  # /lib is /usr/lib
    assert not (archive.target / "usr/share/doc").exists()
    assert (archive.target / "packages").read_text() == "brewd 1:1.2-3\nlibbrew1 1.0-1\n"
    asked = archive.log.read_text().splitlines()
    assert asked == [
        "apt-get --simulate --no-install-recommends install brewd",
        "apt-get download -qq -o APT::Sandbox::User=root brewd=1:1.2-3 libbrew1=1.0-1",
    ]


def test_nothing_unpacked_runs_with_the_rights_of_its_owner(archive: Archive) -> None:
    archive.run()
    assert (archive.target / "usr/sbin/brewd").stat().st_mode & 0o7777 == 0o755


def test_what_is_unpacked_is_not_asked_for_again(archive: Archive) -> None:
    archive.run()
    archive.log.write_text("")
    again = archive.run()
    assert (again.returncode, again.stdout, again.stderr, archive.log.read_text()) == (0, "", "", "")


def test_another_list_replaces_what_was_unpacked(archive: Archive) -> None:
    archive.run()
    (archive.target / "old").touch()
    archive.list.write_text("brewd\nlibbrew1\n")
    assert archive.run().returncode == 0
    assert not (archive.target / "old").exists()
    assert (archive.target / "usr/sbin/brewd").exists()


def test_package_that_is_nowhere_is_an_error_and_leaves_nothing_half_done(archive: Archive) -> None:
    (archive.bin / "apt-get").write_text("#!/bin/sh\n[ $1 = update ] || { echo 'E: no brewd' >&2; exit 100; }\n")
    done = archive.run()
    assert done.returncode == 1
    assert "E: no brewd" in done.stderr
    assert not archive.target.exists()
    assert list(archive.target.parent.iterdir()) == []


def test_name_with_a_question_mark_is_left_out_where_debian_lacks_it(archive: Archive) -> None:
    known = archive.bin / "apt-cache"
    known.write_text('#!/bin/sh\n[ "$*" = "show --no-all-versions brewd" ]\n')
    known.chmod(0o755)
    archive.list.write_text("brewd?\nteapotd?  # not in this release\n")
    done = archive.run()
    assert done.returncode == 0, done.stderr
    simulated = [line for line in archive.log.read_text().splitlines() if "--simulate" in line]
    assert simulated == ["apt-get --simulate --no-install-recommends install brewd"]
