"""The daemon's side of one worker process: holds the process and the socket to it, from start to exit."""

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable

from lvs_healthd import __version__
from lvs_healthd.probing.workers.framing import FrameSocket, GarbledFrameError
from lvs_healthd.probing.workers.protocol import MOST_BYTES, Fault, Hello, Report, Told, encoded, said

# -P: a file in the current directory must not shadow a module.
COMMAND = (sys.executable, "-P", "-m", "lvs_healthd.probing.workers")

END_S = 0.4
"""How many seconds a worker may take to end by itself, and again after SIGKILL. The daemon has 2 s to stop in all."""

_RECEIVE_BYTES = 16384
"""How many bytes, about one report, are received at a time, before other workers and other work get their turn."""


class Link:
    """One worker process, and the socket to it.

    The worker is lost when its process has ended, is silent for too long, or sends something that is not valid.

    take: gets the worker's reports. If `take` raises `GarbledFrameError`, the worker is lost. Any other exception is a
        fault of this program, and `lost` raises it.
    """

    def __init__(
        self, process: asyncio.subprocess.Process, opened: socket.socket, take: Callable[[Report], None]
    ) -> None:
        self._process = process
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._fault = ""
        self.heard = self._loop.time()
        """When the worker last sent a message, on the event loop's clock."""
        self.greeted = False
        """Whether the worker has sent any message yet."""
        self._frames = FrameSocket(
            opened,
            most_bytes=MOST_BYTES,
            receive_bytes=_RECEIVE_BYTES,
            take=self._receive,
            gone=lambda: self.lose(""),
            guard=self._guarded,
        )

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    async def lost(self) -> str:
        """Wait until the worker is lost, and return why, in words.

        Raises what `take` raised, other than `GarbledFrameError`.
        """
        why = await self._lost or self._fault
        if why:
            return why
        status = await self._status()
        return "closed its socket" if status is None else _ending(status)

    def lose(self, why: str) -> None:
        """Declare the worker lost.

        why: the reason in words; "" when the exit status of the process gives the reason.
        """
        if not self._lost.done():
            self._lost.set_result(why)

    def send(self, told: Told) -> None:
        """Tell the worker what to probe, and how often.

        Data that the worker's socket cannot take yet waits here, but not for long: a worker that does not read is soon
        lost.
        """
        self._frames.send(encoded(told))

    async def end(self) -> None:
        """Close the socket, so that the worker ends. Kill it when it does not end within `END_S`.

        Returns when the process has ended, or `END_S` after killing it.
        """
        self.close()
        if await self._status() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._status()

    def close(self) -> None:
        """Close the socket. May be called twice."""
        self._frames.close()
        self._lost.cancel()

    async def _status(self) -> int | None:
        """Return the process's exit status, or None when it does not end within `END_S`."""
        # asyncio.timeout does not work here: in Python 3.11 it raises CancelledError in a task that is being cancelled,
        # as when the daemon stops.
        waiting = asyncio.ensure_future(self._process.wait())
        await asyncio.wait((waiting,), timeout=END_S)
        if waiting.done():
            return waiting.result()
        waiting.cancel()
        return None

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except GarbledFrameError as error:
            self.lose(f"garbled its report: {error}")
        except Exception as error:  # noqa: BLE001  # raised by `lost`
            if not self._lost.done():
                self._lost.set_exception(error)

    def _receive(self, payload: bytes) -> None:
        self.heard, self.greeted = self._loop.time(), True
        match said(payload):
            case Report() as report:
                self._take(report)
            case Hello(version=version):
                if version != __version__:
                    self.lose(f"is version {version} and this daemon is {__version__}: restart the daemon")
            case Fault(error=error):
                self._fault = f"ended by a fault of its own: {error}"


async def start(take: Callable[[Report], None], command: tuple[str, ...] = COMMAND) -> Link:
    """Start a worker. Raises `OSError` when the system gives us no process or socket.

    take: gets the worker's reports (see `Link`).
    command: the program to run, to which the descriptor of the worker's socket is added.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *command,
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
            )
    except BaseException:
        ours.close()
        raise
    return Link(process, ours, take)


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:  # most real-time signals have no name
        return f"was killed by signal {-status}"
