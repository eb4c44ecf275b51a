"""What the package is made of fits together, without building it."""

import re
import subprocess
import textwrap
import tomllib
from pathlib import Path

import pytest

from lvs_healthd import __version__
from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Mode

ROOT = Path(__file__).parents[2]
DEBIAN = ROOT / "packaging" / "debian"
BUILD = (ROOT / "packaging" / "build-deb").read_text()
INSTALL = (ROOT / "docs" / "install.md").read_text()
SYSTEMD = (ROOT / "docs" / "systemd.md").read_text()
DROP_INS = [
    textwrap.dedent(block.rstrip(" "))
    for block in re.findall(r"(?s)```\w*\n(.*?)```", SYSTEMD)
    if "[Service]\n" in block
]
SCRIPTS = sorted(DEBIAN.glob("lvs-healthd.p*"))


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / "packaging" / "build-deb"], ids=lambda path: path.name)
def test_script_is_one(script: Path) -> None:
    shell = script.read_text().partition("\n")[0].removeprefix("#!")
    assert subprocess.run([shell, "-n", str(script)], capture_output=True, check=True).stderr == b""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_no_script_of_the_package_touches_the_table(script: Path) -> None:
    commands = re.sub(r"(?m)^\s*#.*$", "", script.read_text())
    assert not re.search(r"ipvsadm|lvs-healthd flush|nft ", commands)
    assert len(SCRIPTS) == 3


def test_locked_requirements_are_the_same_for_every_python() -> None:
    """pip looks at markers with the Python that runs it, also when it installs for another one."""
    markers = set(re.findall(r"; (.*?) \\?$", (ROOT / "requirements" / "runtime.txt").read_text(), re.MULTILINE))
    assert markers == {"sys_platform == 'win32'"}


def test_the_pythons_of_the_package_are_those_that_it_depends_on() -> None:
    assert "\npythons=(3.11 3.13)\n" in BUILD
    depends = " ".join((DEBIAN / "control").read_text().partition("\nDepends: ")[2].split())
    assert depends.startswith(
        "python3 (>= 3.11~), python3 (<< 3.12~) | python3 (>= 3.13~), python3 (<< 3.14~), ${misc:Depends}"
    )


def test_the_installed_configuration_watches_only() -> None:
    changed, count = re.subn(
        r'^#mode = "enforce"$', 'mode = "shadow"', (ROOT / "config.example.toml").read_text(), flags=re.MULTILINE
    )
    assert count == 1
    assert r's/^#mode = "enforce"$/mode = "shadow"/' in BUILD
    config = parse(changed, "config.toml")
    assert config.daemon.mode is Mode.SHADOW
    assert config.services == ()


def test_the_paths_of_the_units_are_those_that_the_build_replaces() -> None:
    patterns = re.findall(r"s,(\^ExecStart=/opt/[^,]*),", BUILD)
    assert len(patterns) == 2
    for unit in (ROOT / "systemd").glob("*.service"):
        assert any(re.search(pattern, unit.read_text(), re.MULTILINE) for pattern in patterns), unit.name


@pytest.mark.parametrize("file", sorted((ROOT / "systemd" / "drop-ins").glob("*.conf")), ids=lambda path: path.stem)
def test_drop_in_is_the_documented_one(file: Path) -> None:
    comment, _, text = file.read_text().partition("\n")
    assert comment.startswith("# ")
    assert text in DROP_INS


def test_every_documented_drop_in_is_in_the_package() -> None:
    assert len(DROP_INS) == len(list((ROOT / "systemd" / "drop-ins").glob("*.conf"))) == 5


def test_page_names_the_files_of_this_version() -> None:
    readme = (ROOT / "README.md").read_text()
    for text in (INSTALL, readme):
        assert set(re.findall(r"lvs-healthd_([0-9.]+)-1_amd64\.deb", text)) == {__version__}
    assert set(re.findall(r"lvs_healthd-([0-9.]+)-py3", INSTALL)) == {__version__}


def test_page_says_which_versions_are_needed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needed = dict(dependency.partition(",")[0].split(">=") for dependency in project["dependencies"])
    shown = dict(re.findall(r"^\| ([a-z0-9-]+) \| ([0-9.]+) \|", INSTALL, re.MULTILINE))
    assert len(shown) == 9
    assert shown.items() <= needed.items()
