"""lab/fetch-kernel works with Debian's three layouts of kernel packages, with the real apt and an archive made here."""

import subprocess
from pathlib import Path

import pytest

from tests.lab.debian_archive import ARCHITECTURE, Archive

FETCH = Path(__file__).parents[2] / "lab" / "fetch-kernel"

OLD, NEW, SPLIT = (f"{version}-{ARCHITECTURE}" for version in ("6.1.0-1", "6.12.1+deb13", "7.2.1+deb14"))
LISTS = {"modules.order": "", "modules.builtin": ""}


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """An archive with kernels packaged as in bookworm, trixie and sid. The machine's own apt knows only bookworm."""
    archive = Archive(tmp_path / "archive")
    publish_single(archive, "bookworm", OLD, "lib")
    publish_single(archive, "trixie", NEW, "usr/lib")
    parts = {
        "base": {f"usr/lib/modules/{SPLIT}/{name}": text for name, text in LISTS.items()},
        "binary": {f"usr/lib/modules/{SPLIT}/vmlinuz": f"image {SPLIT}"},
        "modules": {f"usr/lib/modules/{SPLIT}/kernel/ip_vs": ""},
    }
    archive.publish(
        "sid",
        archive.package(f"linux-image-{SPLIT}", {}, depends=", ".join(f"linux-{part}-{SPLIT} (= 1)" for part in parts)),
        *(archive.package(f"linux-{part}-{SPLIT}", files) for part, files in parts.items()),
        meta(archive, SPLIT),
    )
    (archive.sources / "debian.sources").write_text(
        f"Types: deb\nURIs: {archive.uri}\nSuites: bookworm\nComponents: main\n"
    )
    return archive


def publish_single(archive: Archive, suite: str, version: str, lib: str) -> None:
    files = {f"{lib}/modules/{version}/{name}": text for name, text in LISTS.items()}
    files |= {f"{lib}/modules/{version}/kernel/ip_vs": "", f"boot/vmlinuz-{version}": f"image {version}"}
    image = archive.package(f"linux-image-{version}", files, depends="kmod, initramfs-tools | linux-initramfs-tool")
    archive.publish(suite, image, meta(archive, version))


def meta(archive: Archive, version: str) -> Path:
    """Return the package that depends on the newest kernel. Each suite has one."""
    name = f"linux-image-{ARCHITECTURE}"
    package = archive.package(name, {}, depends=f"linux-image-{version}")
    (archive.folder / "build" / name).rename(archive.folder / "build" / f"{name}-{version}")
    return package.rename(package.with_name(f"{name}_{version}.deb"))


def fetch(archive: Archive, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(FETCH), *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**archive.environment, "XDG_CACHE_HOME": str(archive.folder / "cache"), **environment},
        timeout=120,
    )


def update(archive: Archive) -> None:
    subprocess.run(["apt-get", "update", "-qq"], check=True, capture_output=True, env=archive.environment)


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the time of change and the size of each file under `folder`, to show whether apt has written there."""
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file): (file.stat().st_mtime_ns, file.stat().st_size) for file in files}


KERNELS = {"": OLD, "bookworm": OLD, "trixie": NEW, "sid": SPLIT}


@pytest.mark.parametrize(("suite", "version"), KERNELS.items())
def test_every_layout_is_one_to_boot_from(archive: Archive, suite: str, version: str) -> None:
    update(archive)
    fetched = fetch(archive, *([suite] if suite else []))
    assert fetched.returncode == 0, fetched.stderr
    image = Path(fetched.stdout.strip())
    folder = archive.folder / "cache" / "lvs-healthd" / (f"kernel-{suite}" if suite else "kernel") / version
    assert image == folder / "boot" / f"vmlinuz-{version}"
    assert image.read_text() == f"image {version}"
    assert (folder / "lib").readlink() == Path("usr/lib")
    for lib in ("lib", "usr/lib"):
        assert (folder / lib / "modules" / version / "kernel" / "ip_vs").exists()
        assert (folder / lib / "modules" / version / "modules.dep").exists()
    assert sorted(file.name for file in folder.parent.iterdir()) == sorted(["image", version])  # and no litter


def test_a_second_run_asks_nobody_and_kernels_do_not_mix(archive: Archive, tmp_path: Path) -> None:
    update(archive)
    first = {suite: fetch(archive, *([suite] if suite else [])).stdout for suite in KERNELS}
    assert len(set(first.values())) == len(KERNELS)
    for name in ("apt-get", "apt-cache", "sudo"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 9\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{archive.environment['PATH']}"
    again = {suite: fetch(archive, *([suite] if suite else []), PATH=path).stdout for suite in KERNELS}
    assert again == first


def test_this_machine_s_apt_learns_of_no_other_suite(archive: Archive) -> None:
    update(archive)
    before = state(archive.host / "state")
    assert fetch(archive, "sid").returncode == 0
    assert state(archive.host / "state") == before


@pytest.mark.parametrize("arguments", [[], ["sid"]])
def test_package_lists_that_were_never_fetched_are_fetched(archive: Archive, arguments: list[str]) -> None:
    fetched = fetch(archive, *arguments, PATH=f"{fake_sudo(archive)}:{archive.environment['PATH']}")
    assert fetched.returncode == 0, fetched.stderr


def test_a_suite_that_the_mirror_has_not_is_told(archive: Archive) -> None:
    update(archive)
    fetched = fetch(archive, "trixi")
    assert fetched.returncode == 1
    assert "this machine's mirror has no trixi, or debian-archive-keyring is too old for it" in fetched.stderr
    assert not list((archive.folder / "cache").rglob("image"))


@pytest.mark.parametrize("name", ["../..", "Trixie", "a b", "-o"])
def test_what_is_no_name_of_a_suite_is_told(archive: Archive, name: str) -> None:
    fetched = fetch(archive, name)
    assert fetched.returncode == 2
    assert "is no name of a Debian suite" in fetched.stderr
    assert not (archive.folder / "cache").exists()


@pytest.mark.long
def test_a_third_party_with_suites_of_the_same_name_is_not_taken_for_debian(archive: Archive, tmp_path: Path) -> None:
    other = Archive(tmp_path / "other", origin="Somebody")
    publish_single(other, "bookworm", "9.9.9", "usr/lib")
    publish_single(other, "sid", "9.9.10", "usr/lib")
    (archive.sources / "another.list").write_text(f"deb {other.uri} bookworm main\n")
    update(archive)
    assert f"vmlinuz-{SPLIT}" in fetch(archive, "sid").stdout


def test_a_machine_without_a_mirror_of_debian_is_told(archive: Archive) -> None:
    (archive.sources / "debian.sources").unlink()
    fetched = fetch(archive, "sid", PATH=f"{fake_sudo(archive)}:{archive.environment['PATH']}")
    assert fetched.returncode == 1
    assert "apt has no mirror of Debian" in fetched.stderr


def fake_sudo(archive: Archive) -> Path:
    folder = archive.folder / "bin"
    folder.mkdir()
    (folder / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (folder / "sudo").chmod(0o755)
    return folder
