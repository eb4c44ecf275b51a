"""A network namespace: a machine of the lab, as far as the network is concerned."""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

COMMAND_DEADLINE_S = 30.0
"""For one administrative command. It takes a fraction of a second, ten times that in an emulated guest."""

_CLONE_NEWNET = 0x40000000  # sched.h


@dataclass(frozen=True, slots=True)
class Namespace:
    """A named network namespace, as `ip netns` knows it."""

    name: str

    def run(
        self, command: Sequence[str], *, stdin: str = "", check: bool = True, timeout_s: float = COMMAND_DEADLINE_S
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` inside to its end; its output is in the result.

        Raises `CommandError`, with what the command said, when `check` and its exit status is not 0.
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
        """Start `command` inside."""
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
        """Move the calling thread inside for a while: what it opens or starts there stays there after it has left.

        It sees the /sys of where it came from. (`os.setns` came with Python 3.12.)
        """
        with Path("/proc/thread-self/ns/net").open("rb") as outside, self.path.open("rb") as inside:
            _setns(inside.fileno())
            try:
                yield
            finally:
                _setns(outside.fileno())

    @property
    def path(self) -> Path:
        """The file that stands for the namespace."""
        return Path("/run/netns") / self.name

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command so that it runs inside; `run` and `popen` do without, which is twice as fast."""
        return ("ip", "netns", "exec", self.name)


@dataclass(frozen=True, slots=True)
class RealServer(Namespace):
    """A real server's namespace and its addresses."""

    address: str
    address6: str


class CommandError(Exception):
    """A command in the lab failed; the message is what it said."""


def _setns(fileno: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fileno, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
