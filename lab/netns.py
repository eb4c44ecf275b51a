"""A network namespace, which is one machine of the lab: it has its own network stack, but shares everything else."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

COMMAND_DEADLINE_S = 30.0
"""How long one administrative command may take, seconds. It takes a fraction of a second, and ten times as long in an
emulated guest."""

_CLONE_NEWNET = 0x40000000  # sched.h


@dataclass(frozen=True, slots=True)
class Namespace:
    """A named network namespace, as `ip netns` knows it."""

    name: str

    def run(
        self, command: Sequence[str], *, stdin: str = "", check: bool = True, timeout_s: float = COMMAND_DEADLINE_S
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` in the namespace, wait for its end, and return the result with its output.

        check: whether to raise `CommandError`, with the command's output, when its exit status is not 0.

        Raises `subprocess.TimeoutExpired` after `timeout_s` seconds.
        """
        with self.entered():
            result = subprocess.run(
                command, input=stdin, check=False, capture_output=True, text=True, timeout=timeout_s
            )
        if check and result.returncode != 0:
            raise CommandError(f"{self.name}: {' '.join(command)}: {(result.stderr or result.stdout).strip()}")
        return result

    def popen(
        self,
        command: Sequence[str],
        *,
        stdout: IO[str] | int | None = None,
        stderr: IO[str] | int | None = None,
        env: dict[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start `command` in the namespace. `env` is added to this process's environment."""
        with self.entered():
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                text=True,
                env={**os.environ, **env} if env else None,
            )

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread into the namespace for the length of the block.

        Sockets and processes that the thread makes there stay in the namespace afterwards. Meanwhile, the thread still
        sees the /sys of its own namespace. (`os.setns` exists only since Python 3.12.)
        """
        with Path("/proc/thread-self/ns/net").open("rb") as outside, self.path.open("rb") as inside:
            enter(inside.fileno())
            try:
                yield
            finally:
                enter(outside.fileno())

    @property
    def path(self) -> Path:
        """The file that represents the namespace."""
        return Path("/run/netns") / self.name

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words to put before a command so that it runs in the namespace.

        `run` and `popen` do not need them, and are twice as fast.
        """
        return ("ip", "netns", "exec", self.name)


@dataclass(frozen=True, slots=True)
class RealServer(Namespace):
    """A real server's namespace and its addresses."""

    address: str
    address6: str


class CommandError(Exception):
    """Raised when a command in the lab fails. The message contains what the command said."""


def enter(fileno: int) -> None:
    """Move the calling thread into the network namespace of this open file."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fileno, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
