"""Runs systemd as PID 1 on the lab's director, with lvs-healthd installed as docs/systemd.md says."""

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from lab.host import REPOSITORY
from lab.netns import CommandError, Namespace
from lab.wait import wait_until

UNIT = "lvs-healthd.service"

PROGRAMS_UNITS = ("lvs-healthd-exec.socket", "lvs-healthd-exec.service")
"""The units that run the programs of checks; not started."""

INSTALLED = Path("/lib/systemd/system")
FROM_SYSTEMD = (
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-journald-dev-log.socket",
    "modprobe@.service",
    "shutdown.target",
    "umount.target",
    "sockets.target",
    "network.target",
)
"""The units that are copied from this machine, as Debian ships them."""

BARE_TARGETS = {
    "sysinit.target": "[Unit]\nWants=systemd-journald.service systemd-journald.socket\n",
    "basic.target": "[Unit]\nWants=sysinit.target\nAfter=sysinit.target\n",
    "multi-user.target": "[Unit]\nWants=basic.target\nAfter=basic.target\n",
}
"""Targets that start nothing of the machine itself, because the lab's machine is already set up."""

BOOT_DEADLINE_S = 120.0
COMMAND_DEADLINE_S = 180.0
"""How long one command may take, seconds. It may wait for the daemon to start in an emulated guest."""


def systemd_version() -> int:
    """Return the major version of this machine's systemd, which the lab also uses."""
    return int(subprocess.run(["systemctl", "--version"], check=True, capture_output=True, text=True).stdout.split()[1])


@dataclass(frozen=True, slots=True)
class Systemd:
    """A running systemd. Build one with `Systemd.on`."""

    pid: int

    @classmethod
    @contextlib.contextmanager
    def on(cls, director: Namespace) -> Iterator[Self]:
        """Boot systemd in `director`'s network. At the end of the block, kill it and everything that it started."""
        with tempfile.TemporaryDirectory(prefix="lab-") as name:
            units = Path(name)
            _write_units(units)
            outer = subprocess.Popen(
                [
                    *director.prefix,  # unlike `popen`, this gives systemd a /sys of that network
                    *("unshare", "--fork", "--kill-child", "--pid", "--mount", "--cgroup", "--ipc", "--uts"),
                    *(str(REPOSITORY / "lab" / "systemd-init"), str(REPOSITORY), sys.prefix, str(units)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                text=True,
            )
            try:
                yield cls._booted(outer)
            finally:
                outer.kill()
                outer.wait()

    @classmethod
    def _booted(cls, outer: "subprocess.Popen[str]") -> Self:
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        wait_until(lambda: bool(children.read_text()), timeout_s=BOOT_DEADLINE_S, what="a child of unshare")
        machine = cls(int(children.read_text()))

        def booted() -> bool:
            if outer.poll() is not None:
                raise ChildProcessError("systemd ended before it had booted; its last words are on standard error")
            return machine.run(["systemctl", "is-active", "multi-user.target"], check=False).returncode == 0

        wait_until(booted, timeout_s=BOOT_DEADLINE_S, what="systemd to boot", poll_s=0.5)
        return machine

    def run(self, command: Sequence[str], *, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `command` on the machine as root, and wait for its end.

        check: whether to raise `CommandError`, with the command's output and our unit's journal, when it fails.
        """
        result = subprocess.run(
            ["nsenter", "--all", f"--target={self.pid}", *command],
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_DEADLINE_S,
        )
        if check and result.returncode != 0:
            raise CommandError(f"{' '.join(command)}: {result.stdout}{result.stderr}{self.journal()}")
        return result

    def systemctl(self, *words: str) -> str:
        """Run systemctl, and return what it printed. Raises `CommandError`."""
        return self.run(["systemctl", *words]).stdout

    def show(self, name: str) -> str:
        """Return a property of our unit."""
        return self.systemctl("show", "--property", name, "--value", UNIT).strip()

    def journal(self, *options: str) -> str:
        """Return the messages in our unit's journal, without timestamps."""
        return self.run(["journalctl", "--output=cat", "--unit", UNIT, *options], check=False).stdout

    def file(self, path: str) -> Path:
        """Return the path under which a file of the machine can be opened from outside."""
        return Path(f"/proc/{self.pid}/root{path}")

    def drop_in(self, text: str) -> None:
        """Give our unit a drop-in with this text, as `systemctl edit` does. It replaces the previous drop-in."""
        folder = self.file(f"/run/units/{UNIT}.d")
        folder.mkdir(exist_ok=True)
        (folder / "override.conf").write_text(text, encoding="utf-8")
        self.systemctl("daemon-reload")


def _write_units(folder: Path) -> None:
    for name in FROM_SYSTEMD:
        shutil.copy(INSTALLED / name, folder / name)
    for name, text in BARE_TARGETS.items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in (UNIT, *PROGRAMS_UNITS):
        shutil.copy(REPOSITORY / "systemd" / name, folder / name)
