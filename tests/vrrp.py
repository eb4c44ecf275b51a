"""Runs keepalived's VRRP part, which needs no IPVS, in a network namespace."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from lab.netns import Namespace
from tests.ready_made.servers import libraries, program

END_S = 30.0
"""How long a keepalived may take to end, seconds. It takes a fraction of a second, and longer in an emulated guest."""


class Keepalived:
    """One keepalived, with a process that watches and one that speaks VRRP. `start` it.

    text: its configuration.
    """

    def __init__(self, at: Namespace, folder: Path, text: str) -> None:
        self._at = at
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        (folder / "keepalived.conf").write_text(text)

    @property
    def log(self) -> str:
        """What it has written."""
        return (self._folder / "keepalived.log").read_text()

    def start(self) -> None:
        files = [f"--{name}={self._folder / name}.pid" for name in ("pid", "vrrp_pid")]
        with (self._folder / "keepalived.log").open("a") as log:
            command = [program("keepalived"), "-P", "-n", "-l", "-D", "-f", str(self._folder / "keepalived.conf")]
            self._process = self._at.popen(
                [*command, *files], stdout=log, stderr=log, env={"LD_LIBRARY_PATH": libraries()}
            )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to both processes, the parent first."""
        for file in (self._folder / "pid.pid", self._folder / "vrrp_pid.pid"):
            with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                os.kill(int(file.read_text()), number)

    def stop(self) -> None:
        """Let it end as it does at a stop: it says goodbye, and gives its addresses away."""
        if self._process is None:
            return
        self.signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self._process.wait(END_S)
        self._process = None
