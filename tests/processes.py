"""Looks for processes the way an administrator would."""

import asyncio
import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from signal import Signals


def is_running(pid: int) -> bool:
    """Return whether a process runs. A process that has ended and only waits to be reaped does not."""
    return _stat(pid)[:1] not in ([], ["Z"])


def is_stopped(pid: int) -> bool:
    """Return whether all threads of a process are stopped, or it has ended.

    SIGSTOP is obeyed a while after it was sent, thread by thread, on a busy machine also milliseconds later.
    """
    stats = [stat.read_text() for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(")")[2].split()[0] in "TZ" for stat in stats)


def children(pid: int) -> list[int]:
    """Return the processes that this one has started."""
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [number for number in numbers if _stat(number)[1:2] == [str(pid)]]


def signal_all(pids: Iterable[int], number: Signals) -> None:
    """Send a signal to each of these processes that still exists."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


async def until_gone(*pids: int) -> None:
    """Wait until none of these processes runs."""
    async with asyncio.timeout(30):
        while any(is_running(pid) for pid in pids):
            await asyncio.sleep(0.01)


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; empty when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
