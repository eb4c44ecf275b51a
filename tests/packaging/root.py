"""A clean Debian of any suite, booted in a container without a network, on which a package is installed."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).parents[2]
ROOTS = REPOSITORY / ".cache" / "roots"
INCLUDED = "systemd-sysv,dbus,iproute2,python3,ca-certificates"
"""What is there before the package. A director has Python, and it takes longer to install than the package."""

BOOT_DEADLINE_S = 60.0
COMMAND_DEADLINE_S = 300.0


def clean_root(suite: str) -> Path:
    """Return a folder with a Debian of this suite, which nobody may change. It is made once."""
    root = ROOTS / suite
    if not (root / "made").exists():
        ROOTS.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(root, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", f"--include={INCLUDED}", suite, str(root), mirror()]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        (root / "made").touch()
    return root


def mirror() -> str:
    """Return the mirror of Debian that this machine uses."""
    words = "$(ORIGIN)\t$(REPO_URI)"
    command = ["apt-get", "indextargets", "--format", words, "Created-By: Packages"]
    targets = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return next(line.partition("\t")[2] for line in targets.splitlines() if line.startswith("Debian\t"))


@dataclass(frozen=True, slots=True)
class Machine:
    """A running container. Build one with `Machine.of`."""

    root: Path
    pid: int

    @classmethod
    @contextlib.contextmanager
    def of(cls, suite: str, folder: Path) -> Iterator[Self]:
        """Boot a copy of a clean root. At the end of the block, kill it.

        folder: where to put the copy.
        """
        root = folder / suite
        subprocess.run(["cp", "--archive", str(clean_root(suite)), str(root)], check=True)
        with (folder / f"{suite}.console").open("wb") as console:
            outer = subprocess.Popen(
                [
                    *("systemd-nspawn", "--quiet", f"--directory={root}", "--boot", "--private-network"),
                    *("--register=no", "--keep-unit", "--capability=CAP_NET_ADMIN", "--link-journal=no"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        try:
            machine = cls(root, _init_of(outer))
            machine._wait_until_booted()
            yield machine
        finally:
            outer.kill()
            outer.wait()

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the shell in it."""
        inside = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd", "/bin/sh", "-ec", command]
        ran = subprocess.run(
            inside,
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE_S,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"},
        )
        if check and ran.returncode != 0:
            raise AssertionError(f"{command}: {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran

    def until(self, command: str, text: str, *, deadline_s: float = 60.0) -> str:
        """Run a command until its output contains a text."""
        end = time.monotonic() + deadline_s
        while text not in (shown := self.run(command, check=False).stdout):
            if time.monotonic() > end:
                raise AssertionError(f"{command} never said {text!r}:\n{shown}")
            time.sleep(0.2)
        return shown

    def _wait_until_booted(self) -> None:
        self.until("systemctl is-system-running || true", "ing", deadline_s=BOOT_DEADLINE_S)


def _init_of(outer: subprocess.Popen[bytes]) -> int:
    """Return the process that is systemd in the container, a grandchild or a child of systemd-nspawn."""
    end = time.monotonic() + BOOT_DEADLINE_S
    while time.monotonic() < end and outer.poll() is None:
        left = [outer.pid]
        while left:
            pid = left.pop()
            with contextlib.suppress(OSError):
                if pid != outer.pid and Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                    return pid
                left += [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        time.sleep(0.1)
    raise AssertionError(f"systemd-nspawn did not boot: {outer.poll()}")
