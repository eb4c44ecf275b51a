"""lab/install-packages asks apt for the missing packages, on any Debian. If none is missing, it asks for nothing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "lab" / "install-packages"

BOOKWORM = """\
installed,amd64,libssl3,
installed,all,ca-certificates,
installed,amd64,procps,
"""
TRIXIE = """\
installed,amd64,libssl3t64,libssl3 (= 3.5.1-1)
installed,all,ca-certificates,
installed,amd64,procps,
"""


class Machine:
    """A machine with stand-ins for dpkg, apt and sudo. They write what they are asked for to `log`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.log.touch()
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("apt-get", "tee", "chmod", "systemctl"):
            self._program(name, f'echo "{name} $*" >> "{self.log}"; [ ! -p /dev/stdin ] || cat > /dev/null')
        self._program("sudo", 'exec "$@"')
        self._program("dpkg", '[ "$1" != --print-architecture ] || echo amd64')
        self._program("dpkg-query", f'echo "dpkg-query" >> "{self.log}"; cat "{folder}/status"')
        shutil.copy(SCRIPT, self._made(folder / "checkout/lab/install-packages"))

    def run(self, status: str, wanted: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the script on this machine.

        status: what dpkg knows of the packages.
        wanted: the packages in the list.
        """
        (self.folder / "status").write_text(status)
        (self.folder / "checkout/lab/packages.txt").write_text(wanted)
        return subprocess.run(
            [str(self.folder / "checkout/lab/install-packages"), *arguments],
            check=False,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{self.bin}:{os.environ.get('PATH', os.defpath)}"},
            timeout=60,
        )

    def asked(self) -> list[str]:
        return self.log.read_text().splitlines()

    @staticmethod
    def _made(file: Path) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def _program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.bin / name).chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


WANTED = "# What it takes.\nca-certificates\n\nprocps  # ps\nlibssl3\n"


@pytest.mark.parametrize("status", [BOOKWORM, TRIXIE], ids=["bookworm", "trixie"])
def test_where_all_is_there_it_says_nothing_and_asks_dpkg_once(machine: Machine, status: str) -> None:
    done = machine.run(status, WANTED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert machine.asked() == ["dpkg-query"]


def test_another_list(machine: Machine) -> None:
    bench = machine.folder / "bench.txt"
    bench.write_text("haproxy\n")
    done = machine.run(BOOKWORM + "installed,amd64,haproxy,\n", "nothing-of-this\n", str(bench))
    assert (done.returncode, done.stderr, machine.asked()) == (0, "", ["dpkg-query"])


MISSING = {
    "never heard of": "",
    "removed but for its configuration": "config-files,amd64,libssl3,\n",
    "of another architecture": "installed,i386,libssl3,\ninstalled,i386,libssl3t64,libssl3 (= 3)\n",
    "of a longer name": "installed,amd64,libssl3-dev,\ninstalled,amd64,xlibssl3,libssl30\n",
}


@pytest.mark.parametrize("status", MISSING.values(), ids=MISSING)
def test_what_is_missing_is_installed_and_nothing_else(machine: Machine, status: str) -> None:
    there = "".join(line for line in BOOKWORM.splitlines(keepends=True) if "libssl3" not in line)
    done = machine.run(there + status, WANTED)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "installing from Debian: libssl3\n"
    installs = [line for line in machine.asked() if line.startswith("apt-get install")]
    assert installs == ["apt-get install --yes -qq --no-install-recommends --no-remove libssl3"]
