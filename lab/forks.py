"""Runs lvs-healthd without the seconds that importing takes: each process is a fork of one that has imported it all.

What runs is the same as in a process of its own from the moment at which everything is imported. In an emulated guest
that moment would come after about ten seconds (docs/lab.md).
"""

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.forking import ORDER_BYTES
from lab.host import REPOSITORY
from lab.netns import Namespace

_ANSWER_S = 120.0
"""How long the first process may take to appear, in an emulated guest that has everything to import, seconds."""

_GONE = "the process that forks lvs-healthd has ended; if it said why, that is on standard error"


class Fork:
    """One running lvs-healthd, or one that has ended. Its methods are those of `subprocess.Popen`."""

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        self.returncode: int | None = None
        self.pid = self._answer(_ANSWER_S)

    def fileno(self) -> int:
        """Return a file that is readable once the process has ended."""
        return self._answers.fileno()

    def poll(self) -> int | None:
        """Return the exit status, negative for a signal; None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, and return the exit status. Raises `subprocess.TimeoutExpired` after `timeout` seconds."""
        if self.returncode is None:
            self.returncode = self._answer(timeout)
            self._answers.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it as a crash would."""
        self.send_signal(signal.SIGKILL)

    def _answer(self, timeout: float | None) -> int:
        if not select.select([self._answers], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired("lvs-healthd", timeout or 0)
        line = b""
        while not line.endswith(b"\n"):
            more = self._answers.recv(1)
            if not more:
                raise ChildProcessError(_GONE)
            line += more
        return int(line)


def fork(
    words: Sequence[str],
    *,
    namespace: Namespace | None = None,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
) -> Fork:
    """Run `lvs-healthd WORDS`. Return when its process exists.

    namespace: the network namespace to run in, if not that of this thread.
    stdin, stdout, stderr: open files, or `subprocess.DEVNULL`.
    env: added to this process's environment.

    Raises `ValueError` for words and environment of more than 128 KiB together, for an `env` of which a fork knows
    nothing (`new_interpreter`), and `ChildProcessError`.
    """
    if any(map(new_interpreter, env or {})):
        raise ValueError(f"needs an interpreter of its own: {env}")
    order = {"words": [*words], "env": {**os.environ, **(env or {})}, "folder": str(Path.cwd())}
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as files:
        files.enter_context(theirs)
        network = files.enter_context((namespace.path if namespace else Path("/proc/thread-self/ns/net")).open("rb"))
        null = files.enter_context(Path(os.devnull).open("r+b"))
        standard = [null.fileno() if file == subprocess.DEVNULL else file for file in (stdin, stdout, stderr)]
        message = json.dumps(order).encode()
        if len(message) >= ORDER_BYTES:
            raise ValueError(f"the order is longer than {ORDER_BYTES} bytes: {message[:200]!r}")
        try:
            socket.send_fds(_forking()[0], [message], [theirs.fileno(), network.fileno(), *standard])
        except BrokenPipeError:
            ours.close()
            _end()  # the next call starts another
            raise ChildProcessError(_GONE) from None
    return Fork(ours)


def run(
    words: Sequence[str], *, namespace: Namespace | None = None, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run `lvs-healthd WORDS` to its end, and return its exit status and what it wrote.

    Raises `subprocess.TimeoutExpired` after `timeout_s` seconds, and ends it.
    """
    with contextlib.ExitStack() as files:
        out, err = (files.enter_context(os.fdopen(os.memfd_create(name), "r+b")) for name in ("out", "err"))
        process = fork(words, namespace=namespace, stdout=out.fileno(), stderr=err.fileno())
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        for file in (out, err):
            file.seek(0)
        written = out.read().decode(), err.read().decode()
    return subprocess.CompletedProcess(["lvs-healthd", *words], status, *written)


def new_interpreter(variable: str) -> bool:
    """Whether this variable of the environment has an effect only while an interpreter starts."""
    return variable.startswith("PYTHON")


@functools.cache
def _forking() -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Return the socket for orders, and the process that forks for them. It ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    atexit.register(_end)
    with theirs:
        # Not `-m`, so that the command line's library takes the program's name from its arguments.
        command = [sys.executable, "-c", "from lab.forking import wait_for_order; wait_for_order()()"]
        return ours, subprocess.Popen(command, stdin=theirs.fileno(), start_new_session=True, cwd=REPOSITORY)


def _end() -> None:
    """End the process that forks."""
    atexit.unregister(_end)
    ours, process = _forking()
    ours.close()
    process.kill()
    process.wait()
    _forking.cache_clear()
