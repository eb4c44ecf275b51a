"""Runs one program to its end: in a process group of its own, with bounded input, output and time."""

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Awaitable
from typing import IO

from lvs_healthd.programs.messages import Finished, NotRun, Request

KILL_AFTER_S = 2.0
"""How long a program has to end after SIGTERM before SIGKILL, seconds. keepalived waits as long."""

MOST_OUTPUT = 65536
"""How many bytes of a program's output are kept. The rest is read and dropped, so that the program never blocks."""

_READ_SIZE = 65536


class Running:
    """A program that has been started.

    request: the program.
    folder: where it may keep files; "" if nowhere.

    Raises `NotRunError` when it cannot be.
    """

    def __init__(self, request: Request, folder: str) -> None:
        self._timeout_s = request.timeout_s
        self._output = bytearray()
        self._told = memoryview(request.told.encode("utf-8", "replace"))
        self._loop = asyncio.get_running_loop()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # what the configuration says, without a shell
                request.argv,
                env=request.environment | (dict.fromkeys(request.folders, folder) if folder else {}),
                cwd="/",
                stdin=subprocess.PIPE if self._told else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            raise NotRunError(f"cannot run {request.argv[0]}: {reason}") from error

    async def finish(self, no_longer_wanted: Awaitable[object]) -> Finished:
        """Wait until the program has ended, and return what came of it.

        Ends the program when its time is up, or when `no_longer_wanted` is done. Whatever it has started and left
        behind in its process group is killed.
        """
        pipe = self._pipe()
        told = self._process.stdin
        descriptor = os.pidfd_open(self._process.pid)
        exited: asyncio.Future[None] = self._loop.create_future()
        unwanted = asyncio.ensure_future(no_longer_wanted)
        self._loop.add_reader(pipe.fileno(), self._read, pipe)
        self._loop.add_reader(descriptor, _done, exited)
        if told is not None:
            os.set_blocking(told.fileno(), False)
            self._loop.add_writer(told.fileno(), self._tell, told)
        try:
            await asyncio.wait((exited, unwanted), timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            timed_out = not exited.done()
            if timed_out:
                self.signal(signal.SIGTERM)
                await asyncio.wait((exited,), timeout=KILL_AFTER_S)
            # The process is not reaped yet, so its group cannot be another one's.
            self.signal(signal.SIGKILL)
            await exited
            self._read(pipe)
        finally:
            self.signal(signal.SIGKILL)
            self._loop.remove_reader(descriptor)
            os.close(descriptor)
            if told is not None:
                self._end_telling(told)
            self._loop.remove_reader(pipe.fileno())
            pipe.close()
            self._process.wait()
        output = bytes(self._output).decode("utf-8", "replace")
        return Finished(status=self._process.returncode, output=output, timed_out=timed_out)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the program's whole process group."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _pipe(self) -> IO[bytes]:
        pipe = self._process.stdout
        if pipe is None:
            raise AssertionError("a program is started with a pipe for its output")
        os.set_blocking(pipe.fileno(), False)
        return pipe

    def _tell(self, told: IO[bytes]) -> None:
        """Write as much as the program takes now, and end its input after all of it. It need not read anything."""
        try:
            self._told = self._told[os.write(told.fileno(), self._told) :]
        except BlockingIOError:
            return
        except OSError:  # it has closed its input
            self._told = self._told[:0]
        if not self._told:
            self._end_telling(told)

    def _end_telling(self, told: IO[bytes]) -> None:
        if not told.closed:
            self._loop.remove_writer(told.fileno())
            told.close()

    def _read(self, pipe: IO[bytes]) -> None:
        """Read what there is, and keep as much as allowed."""
        while True:
            try:
                data = os.read(pipe.fileno(), _READ_SIZE)
            except BlockingIOError:
                return
            if not data:
                self._loop.remove_reader(pipe.fileno())
                return
            self._output += data[: MOST_OUTPUT - len(self._output)]
            if len(data) < _READ_SIZE:
                return


class NotRunError(Exception):
    """Raised when a program cannot be started. The message says which and why."""

    def answer(self) -> NotRun:
        """Return the message for whoever asked."""
        return NotRun(str(self))


def _done(exited: "asyncio.Future[None]") -> None:
    if not exited.done():
        exited.set_result(None)
