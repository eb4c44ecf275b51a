"""Runs the real daemon as a child process and reads its log as an operator's tools would."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from lab.forks import Fork, fork, new_interpreter, run
from lab.netns import Namespace

LvsHealthd = (str(Path(sys.executable).with_name("lvs-healthd")),)
Line = dict[str, Any]

TIMEOUT_S = 90.0
"""Far more than anything here takes, even emulated. A test waits for an event, not for time to pass."""


class DaemonProcess:
    """One running `lvs-healthd run`."""

    def __init__(self, process: "asyncio.subprocess.Process | ForkedProcess") -> None:
        self.process = process
        self.lines: list[Line] = []
        self.garbage: list[str] = []
        self._grown = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for raw in self.process.stderr:
            text = raw.decode()
            try:
                self.lines.append(json.loads(text))
            except ValueError:
                self.garbage.append(text)
            self._grown.set()
        self._grown.set()

    @property
    def pid(self) -> int:
        return self.process.pid

    def of(self, event: str, **fields: object) -> list[Line]:
        """Return the log lines of this event with these fields."""
        return [line for line in self.lines if line["event"] == event and _has(line, fields)]

    async def until(self, event: str, *, after: int = 0, **fields: object) -> Line:
        """Wait for a line of this event with these fields, at or after position `after` in the log."""
        return await self.until_line(lambda line: line["event"] == event and _has(line, fields), event, after=after)

    async def until_line(self, wanted: Callable[[Line], bool], what: str, *, after: int = 0) -> Line:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while True:
                    self._grown.clear()
                    for line in self.lines[after:]:
                        if wanted(line):
                            return line
                    assert not self._reader.done(), f"daemon ended before {what}: {self.lines} {self.garbage}"
                    await self._grown.wait()
        except TimeoutError:
            raise AssertionError(f"no {what} in {TIMEOUT_S:g}s: {self.lines} {self.garbage}") from None

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the process to end, and return its exit status."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        async with asyncio.timeout(TIMEOUT_S):
            # A time limit must not end the reader: `daemon` needs it to end the process after that.
            await asyncio.shield(self._reader)
            return await self.process.wait()


def _has(line: Line, fields: Mapping[str, object]) -> bool:
    return all(line.get(name) == value for name, value in fields.items())


class ForkedProcess:
    """A fork of lvs-healthd (`lab.forks`), seen as asyncio sees a process."""

    def __init__(self, process: Fork, stderr: asyncio.StreamReader) -> None:
        self._process = process
        self.pid = process.pid
        self.send_signal = process.send_signal
        self.kill = process.kill
        self.stderr = stderr

    @classmethod
    async def start(
        cls, words: list[str], namespace: Namespace | None, env: Mapping[str, str] | None
    ) -> "ForkedProcess":
        reading, writing = os.pipe()
        stderr = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stderr), os.fdopen(reading, "rb")
        )
        try:
            return cls(fork(words, namespace=namespace, stderr=writing, env=env), stderr)
        finally:
            os.close(writing)

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    async def wait(self) -> int:
        if self._process.poll() is None:
            ended = asyncio.Event()
            loop = asyncio.get_running_loop()
            file = self._process.fileno()
            loop.add_reader(file, ended.set)
            try:
                await ended.wait()
            finally:
                loop.remove_reader(file)
        return self._process.wait()


@contextlib.asynccontextmanager
async def daemon(
    config: Path,
    *options: str,
    command: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    before: str = "",
    imports: bool = False,
    namespace: Namespace | None = None,
) -> AsyncIterator[DaemonProcess]:
    """Run `lvs-healthd run --config FILE OPTIONS` for the block.

    It is a fork of a process that has imported everything already, but not with a `command`, with `before`, with
    `imports`, or with an `env` that Python itself reads.

    command: words to put before those of lvs-healthd (as in `prlimit …`).
    before: Python code to run first in the daemon's process, for example to shorten a time limit.
    imports: whether it must import by itself, as at a real start.
    namespace: the network namespace to run in.
    """
    words = ["run", "--config", str(config), *options]
    process: asyncio.subprocess.Process | ForkedProcess
    if command or before or imports or any(map(new_interpreter, env or {})):
        changed = (sys.executable, "-c", f"{before}\nfrom lvs_healthd.cli import main; main()")
        process = await asyncio.create_subprocess_exec(
            *(namespace.prefix if namespace else ()),
            *command,
            *(changed if before else LvsHealthd),
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )
    else:
        process = await ForkedProcess.start(words, namespace, env)
    running = DaemonProcess(process)
    try:
        yield running
    finally:
        await running.stop(signal.SIGKILL)


async def run_cli(
    *words: str, namespace: Namespace | None = None, timeout_s: float = TIMEOUT_S
) -> tuple[int, str, str]:
    """Run one `lvs-healthd` verb to its end, and return (exit status, stdout, stderr). It is a fork, like `daemon`.

    namespace: the network namespace to run in.
    """
    result = await asyncio.to_thread(run, words, namespace=namespace, timeout_s=timeout_s)
    return result.returncode, result.stdout, result.stderr
