"""The real daemon without the seconds that an emulated machine takes to import it: a fork of a process that has.

`lvs-healthd run` of the child begins where that of a fresh process does once everything is imported.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.netns import Namespace
from tests.daemon_process import TIMEOUT_S, Line

_FORKING = """
import os, sys
import lvs_healthd.cli.serve
from lvs_healthd.cli import main
print("ready", flush=True)
for line in sys.stdin:
    log, *words = line.split()
    pid = os.fork()
    if not pid:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(written, 1)
        os.dup2(written, 2)
        sys.argv = ["lvs-healthd", *words]
        main()
        sys.exit()
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Forked:
    """One daemon after the other, each with a log of its own. Build one with `forking`."""

    def __init__(self, parent: subprocess.Popen[str], folder: Path) -> None:
        self._parent = parent
        self._folder = folder
        self.log = folder / "log"
        self.pid = 0

    def start(self, config: Path) -> None:
        """Start a daemon; return when it has been forked."""
        assert self._parent.stdin is not None
        self.log.write_bytes(b"")
        self._parent.stdin.write(f"{self.log} run --config {config}\n")
        self._parent.stdin.flush()
        self.pid = int(self._answer())

    def kill(self) -> None:
        """End it as a crash would, and return when it is gone. A daemon that has ended before is a failure."""
        os.kill(self.pid, signal.SIGKILL)
        status = int(self._answer())
        assert status == -signal.SIGKILL, f"the daemon had ended, status {status}: {self.log.read_text()}"

    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        assert self._parent.stdout is not None
        return bool(select.select([self._parent.stdout], [], [], 0)[0])

    def lines(self) -> list[Line]:
        """Return its log so far, without a line that a kill has cut off."""
        whole, _, _ = self.log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def writes(self) -> int:
        """Return how many writes to the table its log tells of so far."""
        return self.log.read_bytes().count(b'"event":"table.changed"')

    def has_started(self) -> bool:
        """Whether it says that it is ready."""
        return b'"event":"daemon.started"' in self.log.read_bytes()

    def _answer(self) -> str:
        assert self._parent.stdout is not None
        ready, _, _ = select.select([self._parent.stdout], [], [], TIMEOUT_S)
        assert ready, "no answer from the process that forks daemons"
        return self._parent.stdout.readline()


@contextlib.contextmanager
def forking(namespace: Namespace, folder: Path) -> Iterator[Forked]:
    """Have daemons forked inside `namespace` for the length of the block."""
    parent = subprocess.Popen(
        [*namespace.prefix, sys.executable, "-c", _FORKING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    forked = Forked(parent, folder)
    try:
        assert forked._answer() == "ready\n"
        yield forked
    finally:
        with contextlib.suppress(ProcessLookupError):
            if forked.pid:
                os.kill(forked.pid, signal.SIGKILL)
        parent.kill()
        parent.communicate()
