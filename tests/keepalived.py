"""Runs a real keepalived in a network namespace: the part that moves addresses (VRRP), the one that checks, or both."""

import enum
import subprocess
from pathlib import Path
from signal import Signals

from lab.netns import Namespace
from tests.processes import children, signal_all
from tests.ready_made.servers import libraries, program

ENDS_WITHIN_S = 60.0
"""How long it may take to end, seconds. It takes a fraction of a second, and longer in an emulated guest."""


class Parts(enum.Enum):
    """Which of its processes run. The value is the program's option."""

    VRRP = "--vrrp"
    """Moves addresses. It needs no IPVS."""
    CHECKERS = "--check"
    """Keeps the IPVS table."""
    BOTH = ""


class Keepalived:
    """One keepalived, with a process that watches and one for each of its parts. `start` it.

    folder: where its configuration, its log and its pid files are.
    text: its configuration.
    """

    def __init__(self, at: Namespace, folder: Path, text: str, parts: Parts = Parts.VRRP) -> None:
        self.file = folder / "keepalived.conf"
        self.file.write_text(text, encoding="ascii")
        self._at = at
        self._parts = parts
        self._log = folder / "keepalived.log"
        self._pids = {f"--{name}": folder / f"{name}.pid" for name in ("pid", "vrrp_pid", "checkers_pid")}
        self._process: subprocess.Popen[str] | None = None

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text(encoding="utf-8")

    def start(self, *options: str) -> None:
        # keepalived takes a killed process for running that nobody has waited for. A guest's first process does not.
        for file in self._pids.values():
            file.unlink(missing_ok=True)
        parts = [self._parts.value] if self._parts.value else []
        command = [program("keepalived"), *parts, "-n", "-l", "-D", "-f", str(self.file), *options]
        files = [f"{option}={file}" for option, file in self._pids.items()]
        with self._log.open("a", encoding="utf-8") as log:
            self._process = self._at.popen(
                [*command, *files], stdout=log, stderr=log, env={"LD_LIBRARY_PATH": libraries()}
            )

    def freeze(self) -> None:
        """Stop the time of all its processes, the parent first."""
        signal_all(self._all(), Signals.SIGSTOP)

    def thaw(self) -> None:
        signal_all(self._all(), Signals.SIGCONT)

    def kill(self) -> None:
        """Kill all its processes, if it runs. None of them sees another one die, because all stand still before.

        Otherwise one may say goodbye or empty the table, and the parent starts a new one for one that has died.
        """
        if self._process is not None and self._process.poll() is None:
            pids = self._all()
            signal_all(pids, Signals.SIGSTOP)
            signal_all(pids, Signals.SIGKILL)
            self._process.wait(ENDS_WITHIN_S)
        self._process = None

    def end(self, number: Signals = Signals.SIGTERM) -> None:
        """Send a signal to its main process alone, and wait until that has ended. systemd stops it with SIGTERM."""
        assert self._process is not None
        assert self._process.poll() is None, self.log
        self._process.send_signal(number)
        self._process.wait(ENDS_WITHIN_S)
        self._process = None

    def stop(self) -> None:
        """Let it end as it does at a stop, if it runs: it says goodbye, and gives its addresses away."""
        if self._process is None or self._process.poll() is not None:
            return
        self.thaw()
        try:
            self.end()
        except subprocess.TimeoutExpired:
            self.kill()

    def _all(self) -> list[int]:
        assert self._process is not None
        return [self._process.pid, *children(self._process.pid)]
