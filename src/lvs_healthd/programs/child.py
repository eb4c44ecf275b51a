"""Keeps the process that runs programs as a child of the daemon, for where systemd does not run it."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from lvs_healthd.events.kinds import Event, ExecFailed
from lvs_healthd.programs.helper import MOST_PROGRAMS

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 30.0
"""The first and the longest pause before a child that has ended is started again, seconds."""
_PROVEN_S = 60.0
"""If a child has lived for more seconds than this, its end counts as the first one again."""
_START_S = 5.0
"""How long a child may take to make its socket, seconds."""
_LOOK_EVERY_S = 0.02
_END_S = 0.5
"""How long a child may take to end, seconds."""


class Child:
    """A child process that runs programs, once it is wanted.

    most: how many programs may run at once.
    folder: where programs may keep files, whose own folder is there.
    emit: receives the events.
    """

    def __init__(self, most: int, folder: str, emit: Callable[[Event], None]) -> None:
        self._most = most
        self._folder = folder
        self._emit = emit
        self._path = ""
        self._keeping: asyncio.Task[None] | None = None
        self._kept = asyncio.Event()

    async def start(self, path: str) -> None:
        """Start the child unless it has been started, and wait until it serves its socket, but not for ever.

        path: where it is to make its socket. Only the first one counts.
        """
        if self._keeping is None:
            self._path = path
            self._keeping = asyncio.create_task(self._keep(), name="programs")
            self._kept.set()
            with contextlib.suppress(TimeoutError):  # a check then says what is missing
                async with asyncio.timeout(_START_S):
                    while not await is_served(path):  # noqa: ASYNC110  # it is another process that makes the socket
                        await asyncio.sleep(_LOOK_EVERY_S)

    async def run(self) -> None:
        """Wait for ever. Raises what goes wrong, which is a fault of this program."""
        await self._kept.wait()
        if self._keeping is not None:
            await asyncio.shield(self._keeping)

    async def stop(self) -> None:
        """End the child, and with it its programs."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait((self._keeping,))

    async def _keep(self) -> None:
        """Run a child, and another one whenever it has ended, until cancelled."""
        loop = asyncio.get_running_loop()
        pause_s = FIRST_RETRY_S
        while True:
            began = loop.time()
            why = await self._run_once()
            if loop.time() - began > _PROVEN_S:
                pause_s = FIRST_RETRY_S
            self._emit(ExecFailed(reason=why, retry_s=pause_s))
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_RETRY_S)

    async def _run_once(self) -> str:
        """Run a child until it ends, and return why it has."""
        # -P: a file in the current directory must not shadow a module.
        command = (sys.executable, "-P", "-m", "lvs_healthd.programs.helper")
        options = ("--max", str(self._most), "--socket", self._path, "--folder", self._folder)
        try:
            child = await asyncio.create_subprocess_exec(*command, *options, stdin=asyncio.subprocess.PIPE)
        except OSError as error:
            return f"could not be started: {error.strerror}"
        try:
            status = await child.wait()
        finally:
            if child.returncode is None:
                await _ended(child)
        return f"killed by signal {-status}" if status < 0 else f"ended with status {status}"


@contextlib.asynccontextmanager
async def present(path: str) -> AsyncIterator[None]:
    """Run a process that serves `path` for the length of the block, unless one serves it already.

    Programs may keep files beside the socket.
    """
    if await is_served(path):
        yield
        return
    child = Child(MOST_PROGRAMS, str(Path(path).with_name("programs")), lambda _: None)
    await child.start(path)
    try:
        yield
    finally:
        await child.stop()


async def is_served(path: str) -> bool:
    """Return whether a process serves the socket at `path`."""
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


async def _ended(child: asyncio.subprocess.Process) -> None:
    """Let a child end by itself, which kills its programs. If it does not, kill it, and wait as long again."""
    if child.stdin is not None:
        child.stdin.close()
    # Not `asyncio.timeout`: in a task that is being cancelled, Python 3.11.2 takes its end for another cancellation.
    end = asyncio.ensure_future(child.wait())
    await asyncio.wait((end,), timeout=_END_S)
    if not end.done():
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await asyncio.wait((end,), timeout=_END_S)
    end.cancel()
