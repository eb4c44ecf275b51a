"""Keeps the process that runs programs as a child of the daemon, for where systemd does not run it."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable

from lvs_healthd.events.kinds import Event, ExecFailed
from lvs_healthd.programs.helper import MOST_PROGRAMS

FIRST_RETRY_S = 0.5
LAST_RETRY_S = 30.0
"""The first and the longest pause before a child that has ended is started again, seconds."""
_PROVEN_S = 60.0
"""If a child has lived for more seconds than this, its end counts as the first one again."""
_START_S = 10.0
"""How long a child may take to make its socket, seconds."""
_LOOK_EVERY_S = 0.02
_END_S = 0.5
"""How long a child may take to end, seconds."""


class Child:
    """A child process that runs programs, once it is wanted.

    most: how many programs may run at once.
    emit: receives the events.
    """

    def __init__(self, most: int, emit: Callable[[Event], None]) -> None:
        self._most = most
        self._emit = emit
        self._path = ""
        self._wanted = asyncio.Event()

    def want(self, path: str) -> None:
        """Start the child if it is not running yet.

        path: where it is to make its socket. Only the first one counts.
        """
        self._path = self._path or path
        self._wanted.set()

    async def run(self) -> None:
        """Keep the child running once it is wanted, until cancelled."""
        await self._wanted.wait()
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
        options = ("--max", str(self._most), "--socket", self._path)
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
    """Run a process that serves `path` for the length of the block, unless one serves it already."""
    if await _is_served(path):
        yield
        return
    child = Child(MOST_PROGRAMS, lambda _: None)
    child.want(path)
    running = asyncio.create_task(child.run())
    try:
        with contextlib.suppress(TimeoutError):  # a check then says what is missing
            async with asyncio.timeout(_START_S):
                while not await _is_served(path):  # noqa: ASYNC110  # it is another process that makes the socket
                    await asyncio.sleep(_LOOK_EVERY_S)
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def _is_served(path: str) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(path)
    except OSError:
        return False
    writer.close()
    return True


async def _ended(child: asyncio.subprocess.Process) -> None:
    """Let a child end by itself, which kills its programs. If it does not, kill it."""
    if child.stdin is not None:
        child.stdin.close()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            await child.wait()
            return
    with contextlib.suppress(ProcessLookupError):
        child.kill()
