"""A real daemon that is started and killed again and again, and what its log tells of each life."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from lab.forks import Fork, fork
from lab.netns import Namespace
from tests.daemon_process import TIMEOUT_S, Line


class Forked:
    """One daemon after the other, each with a log of its own. Build one with `forking`."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        self._namespace = namespace
        self._process: Fork | None = None
        self.log = folder / "log"

    @property
    def pid(self) -> int:
        """The process id of the last daemon."""
        return self._running.pid

    @property
    def _running(self) -> Fork:
        assert self._process is not None, "no daemon was started"
        return self._process

    def start(self, config: Path) -> None:
        """Start a daemon; return when it has been forked."""
        with self.log.open("wb") as log:
            self._process = fork(["run", "--config", str(config)], namespace=self._namespace, stderr=log.fileno())

    def kill(self) -> None:
        """End it as a crash would, and return when it is gone. A daemon that has ended before is a failure."""
        os.kill(self.pid, signal.SIGKILL)
        status = self._running.wait(TIMEOUT_S)
        assert status == -signal.SIGKILL, f"the daemon had ended, status {status}: {self.log.read_text()}"

    def has_ended(self) -> bool:
        """Whether it has ended by itself."""
        return self._running.poll() is not None

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

    def end(self) -> None:
        """End the last daemon, whatever it does."""
        if self._process is not None:
            self._process.kill()


@contextlib.contextmanager
def forking(namespace: Namespace, folder: Path) -> Iterator[Forked]:
    """Have daemons forked inside `namespace` for the length of the block."""
    forked = Forked(namespace, folder)
    try:
        yield forked
    finally:
        forked.end()
