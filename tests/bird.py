"""Runs a real BIRD in a network namespace: of a director, which announces, or of a router, which listens."""

import subprocess
import time
from pathlib import Path
from signal import Signals

from lab.netns import Namespace
from tests.ready_made.servers import libraries, program

STARTS_WITHIN_S = 20.0


class Bird:
    """One BIRD. `start` it.

    folder: where its configuration, its log and its socket are.
    text: its configuration.
    """

    def __init__(self, at: Namespace, folder: Path, text: str) -> None:
        folder.mkdir(exist_ok=True)
        self._at = at
        self._file = folder / "bird.conf"
        self._file.write_text(text, encoding="ascii")
        self._socket = folder / "bird.ctl"
        self._log = folder / "bird.log"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [program("bird"), "-f", "-c", str(self._file), "-s", str(self._socket)]
        with self._log.open("a", encoding="utf-8") as log:
            self._process = self._at.popen(command, stdout=log, stderr=log, env={"LD_LIBRARY_PATH": libraries()})
        end = time.monotonic() + STARTS_WITHIN_S
        while "ready" not in self.ask("show status"):
            assert time.monotonic() < end, self._log.read_text(encoding="utf-8")
            time.sleep(0.02)

    def ask(self, *words: str) -> str:
        """Return what it answers to a command of birdc; why there is no answer, if there is none."""
        environment = ["env", f"LD_LIBRARY_PATH={libraries()}"]
        command = [*environment, program("birdc"), "-s", str(self._socket), *words]
        result = self._at.run(command, check=False)
        return result.stdout + result.stderr

    def signal(self, number: Signals) -> None:
        """Send a signal that does not end it."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: Signals = Signals.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(STARTS_WITHIN_S)
            self._process = None
