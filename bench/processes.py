"""Starts a program that is measured, reads what it has used so far, and ends it."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

PYTHON = sys.executable
ROOT = Path(__file__).parent.parent
PEER_CPU = 1
"""The processor on which the real servers run, so that they do not take time from the measured program."""
MEASURED_CPU = 0

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STOP_S = 10.0
_PEER_NICE = -10
_LAST_LINES = 8
_LAST_COLUMNS = 300


class Cpu(NamedTuple):
    """Processor time used, seconds. `total` is the scheduler's exact count; user and system come from its ticks."""

    total: float
    user: float
    system: float

    def since(self, before: "Cpu") -> "Cpu":
        """Return what was used since an earlier reading."""
        return Cpu(self.total - before.total, self.user - before.user, self.system - before.system)


def end_in_good_order() -> None:
    """Make SIGTERM unwind this program, so that everything it has started ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


class Program:
    """One running program with its children. Build one with `running`."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self.calm_from = 0.0
        """When its start was over, Unix time. Whoever waits for the start sets it. Complaints before it are ignored."""
        self._process = process
        self._output = output

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def wait(self, timeout_s: float) -> int:
        """Wait for its end and return its exit status. Raises `subprocess.TimeoutExpired`."""
        return self._process.wait(timeout_s)

    def output(self) -> str:
        """Return what it has printed so far, including standard error."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def output_from(self, offset: int) -> bytes:
        """Return what it has printed after the first `offset` bytes."""
        with self._output.open("rb") as file:
            file.seek(offset)
            return file.read()

    def last_words(self) -> str:
        """Return the end of its output, for a message."""
        lines = self.output().splitlines()[-_LAST_LINES:]
        return "\n".join(line[:_LAST_COLUMNS] for line in lines) or "(it has printed nothing)"

    def cpu(self) -> Cpu:
        """Read the processor time that it and its children have used so far."""
        total = user = system = 0.0
        for pid in self._family():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
                user += int(fields[11]) / _TICKS_PER_S
                system += int(fields[12]) / _TICKS_PER_S
                for task in Path(f"/proc/{pid}/task").iterdir():
                    total += int((task / "schedstat").read_text(encoding="ascii").split()[0]) / 1e9
        return Cpu(total, user, system)

    def resident_bytes(self) -> int:
        """Read the resident memory (RSS) of it and its children."""
        return sum(resident_bytes(pid) for pid in self._family())

    def children(self) -> list[int]:
        """Return the process ids of its children and theirs, oldest first within one thread."""
        return self._family()[1:]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it and its children, and wait until they are gone."""
        handles = [os.pidfd_open(pid) for pid in self._family()]
        for handle in handles:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        for handle in handles:
            select.select([handle], [], [], _STOP_S)
            os.close(handle)
        self._process.wait()

    def threads(self) -> int:
        """Count its threads."""
        return threads(self.pid)

    def stop(self) -> None:
        """End it, in an orderly way if possible."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()

    def _family(self) -> list[int]:
        family = [self.pid]
        for pid in family:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                # The kernel lists a child under the thread that made it.
                for task in Path(f"/proc/{pid}/task").iterdir():
                    children = (task / "children").read_text(encoding="ascii")
                    family += [int(child) for child in children.split()]
        return family


def resident_bytes(pid: int) -> int:
    """Read the resident memory (RSS) of one process. Raises `OSError` when it has ended."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def descriptors(pid: int) -> int:
    """Count the open descriptors of one process. Raises `OSError` when it has ended."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def threads(pid: int) -> int:
    """Count the threads of one process. Raises `OSError` when it has ended."""
    return sum(1 for _ in Path(f"/proc/{pid}/task").iterdir())


Command = Sequence[object]
"""A program and its arguments, each written with `str`."""


@contextlib.contextmanager
def running(
    command: Command, *, cpu: int = MEASURED_CPU, environment: dict[str, str] | None = None
) -> Iterator[Program]:
    """Run a command on one processor for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        output = Path(folder) / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(
                ["taskset", "-c", str(cpu), *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
            )
        program = Program(process, output)
        if cpu == PEER_CPU:
            # Other programs on that processor must not slow the real servers down.
            with contextlib.suppress(PermissionError, ProcessLookupError):
                os.setpriority(os.PRIO_PROCESS, process.pid, _PEER_NICE)
        try:
            yield program
        finally:
            program.stop()


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str, poll_s: float = 0.02) -> float:
    """Wait for a condition and return how long that took, seconds. Raises `TimeoutError` after `timeout_s`."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > timeout_s:
            raise TimeoutError(f"waited {timeout_s:g} s for {what}")
        time.sleep(poll_s)
    return time.monotonic() - began
