"""A clean Debian of any suite, booted in a container, on which a package is installed."""

import contextlib
import fcntl
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.image import Image, write
from lab.wait import wait_until

REPOSITORY = Path(__file__).parents[2]
ROOTS = REPOSITORY / ".cache" / "roots"
INCLUDED = "systemd-sysv,dbus,iproute2,python3,ca-certificates"
"""What is there before the package. A director has Python, and it takes longer to install than the package."""

BOOT_DEADLINE_S = 600.0
COMMAND_DEADLINE_S = 900.0
"""How long booting and one command may take, seconds. An emulated machine takes minutes to unpack a package."""


LOOK = """
systemctl --no-pager list-jobs || true
for each in /proc/[0-9]*; do echo "${each#/proc/} $(tr '\\0' ' ' < $each/cmdline)"; done
journalctl --no-pager --lines 60
"""
"""What is done in it, for whoever wants to know why a command does not end."""

LOOK_DEADLINE_S = 120.0


def clean_root(suite: str) -> Path:
    """Return a folder with a Debian of this suite, which nobody may change. It is made once."""
    root = ROOTS / suite
    ROOTS.mkdir(parents=True, exist_ok=True)
    with (ROOTS / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests in another process may want the same
        if not (root / "made").exists():
            shutil.rmtree(root, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={INCLUDED}", suite, str(root), mirror()]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            (root / "made").touch()
    return root


def image_with(package: Path, suite: str, folder: Path) -> Path:
    """Return a disk image in `folder` of a clean root on which a package has been installed, for a guest.

    It is not booted for that. So systemd starts the daemon at the first boot.
    """
    root = folder / suite
    subprocess.run(["cp", "--archive", str(clean_root(suite)), str(root)], check=True)
    subprocess.run(["cp", str(package), str(root / "root")], check=True)
    install = f"apt-get install --yes --quiet=2 /root/{package.name}"
    subprocess.run(
        [
            *("systemd-nspawn", "--quiet", f"--directory={root}", "--private-network", "--register=no", "--keep-unit"),
            *("--setenv=DEBIAN_FRONTEND=noninteractive", "/bin/sh", "-c", install),
        ],
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=COMMAND_DEADLINE_S,
    )
    image = Image(folder / f"{suite}.ext4", root)
    write(image)
    shutil.rmtree(root)
    return image.file


@contextlib.contextmanager
def from_image(image: Path, folder: Path) -> Iterator[Path]:
    """Mount an image below `folder`, and yield the mounted folder. What is written to it is gone at the end."""
    lower, scratch, root = (folder / name for name in ("lower", "scratch", "root"))
    with contextlib.ExitStack() as mounted:
        for options, target in (
            (["-o", "ro,loop", str(image)], lower),
            (["-t", "tmpfs", "tmpfs"], scratch),
            (
                ["-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={scratch}/up,workdir={scratch}/work"],
                root,
            ),
        ):
            target.mkdir()
            if target == root:
                (scratch / "up").mkdir()
                (scratch / "work").mkdir()
            subprocess.run(["mount", *options, str(target)], check=True)
            mounted.callback(subprocess.run, ["umount", str(target)], check=True)
        yield root


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
        with cls.booted(root, "--private-network") as machine:
            yield machine

    @classmethod
    @contextlib.contextmanager
    def booted(cls, root: Path, *options: str) -> Iterator[Self]:
        """Boot what is in a folder. At the end of the block, kill it. Its console is in a file beside the folder.

        options: more options of systemd-nspawn, for its network.
        """
        console_file = root.with_name(f"{root.name}.console")
        with console_file.open("wb") as console:
            outer = subprocess.Popen(
                [
                    *("systemd-nspawn", "--quiet", f"--directory={root}", "--boot", *options),
                    *("--register=no", "--keep-unit", "--capability=CAP_NET_ADMIN", "--link-journal=no"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
            )
        try:
            machine = cls(root, _init_of(outer))
            try:
                machine._wait_until_booted()
            except TimeoutError as error:
                raise TimeoutError(f"{error}\n{console_file.read_text(errors='replace')[-3000:]}") from error
            yield machine
        finally:
            outer.kill()
            outer.wait()

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of the shell in it."""
        try:
            ran = self._run(command, COMMAND_DEADLINE_S)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{error}\n{self._run(LOOK, LOOK_DEADLINE_S).stdout}") from error
        if check and ran.returncode != 0:
            raise AssertionError(f"{command}: {ran.returncode}\n{ran.stdout}{ran.stderr}")
        return ran

    def _run(self, command: str, deadline_s: float) -> subprocess.CompletedProcess[str]:
        words = ["nsenter", "--target", str(self.pid), "--all", "--root", "--wd", "/bin/sh", "-ec", command]
        # Not pipes: whoever is left running after the deadline would hold them open, and this would wait for that.
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            ran = subprocess.run(
                words,
                check=False,
                # Without a terminal: apt would set its modes, which stops us all, as nobody sits in front of it.
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                stdout=out,
                stderr=err,
                timeout=deadline_s,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"},
            )
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(words, ran.returncode, out.read(), err.read())

    def until(self, command: str, text: str, *, deadline_s: float = 60.0) -> str:
        """Run a command until its output contains a text."""
        shown = ""

        def says_it() -> bool:
            nonlocal shown
            shown = self.run(command, check=False).stdout
            return text in shown

        wait_until(says_it, timeout_s=deadline_s, what=lambda: f"{text!r} of {command}:\n{shown}", poll_s=0.2)
        return shown

    def _wait_until_booted(self) -> None:
        self.until("systemctl is-active multi-user.target && echo booted", "booted", deadline_s=BOOT_DEADLINE_S)


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
