"""The package, installed on clean Debian 12 and 13: from nothing to the first verdict, upgrade, removal, purge.

The containers share this machine's kernel, which may have no IPVS. So the daemon keeps its table in memory here;
test_installed.py has a real one.
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.package import SUITES, as_version, built
from tests.packaging.root import REPOSITORY, Machine, clean_root

pytestmark = pytest.mark.long

INSTALL = (REPOSITORY / "docs" / "install.md").read_text()
CONFIG = "/etc/lvs-healthd/config.toml"
IN_MEMORY = f"[Service]\nExecStart=\nExecStart=/usr/bin/lvs-healthd run --config {CONFIG} --table memory\n"
MOST_COMMANDS = 4


@pytest.fixture(scope="module")
def package() -> Path:
    return built()


@pytest.fixture(scope="module", params=SUITES)
def machine(
    request: pytest.FixtureRequest, package: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    clean_root(request.param)
    with Machine.of(request.param, tmp_path_factory.mktemp("roots")) as machine:
        shutil.copy(package, machine.root / "root")
        yield machine


def pid(machine: Machine) -> str:
    return machine.run("systemctl show --property MainPID --value lvs-healthd").stdout.strip()


def installed_as(machine: Machine, package: Path, version: str, folder: Path) -> str:
    """Install a package as another version, as an upgrade; return what was said."""
    shutil.move(as_version(package, version, folder), machine.root / "root")
    ran = machine.run(f"apt-get install --yes --quiet=2 /root/{version}.deb")
    return ran.stdout + ran.stderr


def test_lintian_finds_no_error(package: Path) -> None:
    ran = subprocess.run(
        ["lintian", "--fail-on", "error,warning", str(package)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout
    assert ran.stdout == ""


def test_story_of_a_package(machine: Machine, package: Path, tmp_path: Path) -> None:
    """One test, because each part begins with what the one before has left."""
    drop_in = machine.root / "etc/systemd/system/lvs-healthd.service.d/memory.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(IN_MEMORY)

    # From nothing to the first verdict, by the commands of the page.
    debian = INSTALL.partition("## Debian")[2].partition("What is where")[0]
    commands = [line for block in re.findall(r"(?s)```sh\n(.*?)```", debian) for line in block.splitlines()]
    service = re.findall(r"(?s)```toml\n(.*?)```", debian)[0]
    install, reload, status = commands
    assert len(commands) + 1 <= MOST_COMMANDS  # one more edits the file
    began = time.monotonic()
    machine.run(f"cd /root; {install.replace('apt', 'apt-get --yes --quiet=2')}")
    assert machine.run("systemctl is-active lvs-healthd").stdout == "active\n"
    assert machine.run("systemctl is-enabled lvs-healthd-exec.socket", check=False).stdout == "disabled\n"
    assert "nothing is probed, and the table stays as it is" in machine.run(status).stderr
    machine.run("ip link set lo up; ip address add 198.51.100.11/32 dev lo; ip address add 198.51.100.12/32 dev lo")
    machine.run("mkdir /root/www; touch /root/www/healthz")
    machine.run("systemd-run --quiet python3 -m http.server --bind 198.51.100.11 --directory /root/www 80")
    with (machine.root / CONFIG.lstrip("/")).open("a") as file:
        file.write(f"\n{service}")
    assert "1 service added, 2 real servers added" in machine.run(reload).stdout
    machine.until("journalctl --unit lvs-healthd --output cat", '"event":"real_server.up"')
    print(f"{len(commands) + 1} commands, {time.monotonic() - began:.0f} s from nothing to real_server.up")  # noqa: T201  # for -rP
    assert '"mode":"shadow"' in machine.run("journalctl --unit lvs-healthd --output cat").stdout
    assert re.search(r"web +198.51.100.11:80 +up", machine.run(status, check=False).stdout)

    # What came with it.
    assert machine.run(f"stat --format '%a %U %G' {CONFIG}").stdout == "640 root lvs-healthd\n"
    assert "redis" in machine.run("lvs-healthd checks").stdout
    assert machine.run("lvs-healthd complete services").stdout == "web\n"
    assert machine.run("ls /usr/share/man/man8 | grep -c lvs-healthd").stdout.strip().isdecimal()
    assert machine.run("find /usr/lib/lvs-healthd -name '*.monitor' -perm -u+x | wc -l").stdout == "3\n"

    # An upgrade restarts the daemon, unless the new version refuses the file.
    before = pid(machine)
    installed_as(machine, package, "1000-1", tmp_path)
    after = pid(machine)
    assert before != after != "0"
    machine.run(f"echo nonsense = 1 >> {CONFIG}")
    assert "this version refuses" in installed_as(machine, package, "1000-2", tmp_path)
    assert pid(machine) == after
    machine.run(f"sed -i '$d' {CONFIG}")

    # Removal says what becomes of the table, and purge leaves nothing.
    machine.run("systemctl start lvs-healthd-exec.socket")
    removed = machine.run("apt-get remove --yes --quiet=2 lvs-healthd")
    assert "the IPVS table stays as it is" in removed.stdout + removed.stderr
    assert (
        machine.run("systemctl is-active lvs-healthd lvs-healthd-exec.socket", check=False).stdout == "inactive\n" * 2
    )
    machine.run(f"test -e {CONFIG}; test ! -e /usr/lib/lvs-healthd")
    machine.run("apt-get purge --yes --quiet=2 lvs-healthd")
    left = machine.run(
        "find / -xdev -iname '*lvs-healthd*' -not -path '/root/*' -not -path '/etc/systemd/system/*'"
    ).stdout
    assert left.splitlines() == []


def test_wheel_works_with_pipx(tmp_path: Path) -> None:
    python = REPOSITORY / ".venv/bin/python"
    subprocess.run(
        [str(python), "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)],
        cwd=REPOSITORY, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    environment = {
        "PATH": "/usr/bin:/bin",
        "PIPX_HOME": f"{tmp_path}/pipx",
        "PIPX_BIN_DIR": f"{tmp_path}/bin",
        "HOME": "/root",
    }
    subprocess.run(
        ["pipx", "install", "--python", "/usr/bin/python3", str(wheel)],
        check=True,
        capture_output=True,
        env=environment,
    )
    program = str(tmp_path / "bin" / "lvs-healthd")
    listed = subprocess.run([program, "checks"], check=True, capture_output=True, text=True, cwd="/").stdout
    assert len(listed.splitlines()) == len(list((REPOSITORY / "checks").glob("*.toml")))
    programs = list((tmp_path / "pipx").glob("**/_checks/*.monitor"))
    assert len(programs) == 3
    assert all(each.stat().st_mode & 0o100 for each in programs)
