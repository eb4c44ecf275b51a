"""Runs calls that may block on threads that never delay the end of the process."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from lvs_healthd.runtime.exceptions import HostError

_T = TypeVar("_T")

MOST = 32
"""The most threads at once. The daemon needs a handful. A call that hangs is abandoned, and keeps its thread."""


class HungError(HostError):
    """A call on a thread took too long; the message says what it was for."""


async def in_thread(function: Callable[..., _T], *arguments: object, timeout_s: float, what: str) -> _T:
    """Call `function` on a thread of the loop's default executor, and return what it returns.

    timeout_s: how long it may take, seconds. A call that hangs keeps its thread, and its result is dropped.
    what: what the call does, for the message: "reading config.toml".

    Raises `HungError`, and what the call raises.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
    except TimeoutError as error:
        raise HungError(
            f"{what} has taken more than {timeout_s:g}s: a file system hangs, or the machine is overloaded"
        ) from error


class Threads(ThreadPoolExecutor):
    """A default executor for an event loop whose threads are daemon threads and never waited for.

    The standard executor's threads are joined without a timeout, when the loop closes and when the interpreter ends. A
    file system or a program that hangs would delay the stop until systemd kills the daemon. Idle threads are used
    again. When all `MOST` threads are busy, a call waits for one.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)  # the base class's own thread, which it never starts
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = 0
        self._started = 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:  # noqa: ANN401
        """Call `function` on a thread. Raises `RuntimeError` when there is no thread and none can be started."""
        future: Future[Any] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                self._finished()
                return
            # Counted before the result is set: whoever waits for it may call again at once and must find this thread
            # free.
            try:
                result = function(*arguments, **named)
            except BaseException as error:  # noqa: BLE001  # it is for whoever waits
                self._finished()
                future.set_exception(error)
            else:
                self._finished()
                future.set_result(result)

        with self._lock:
            if self._unfinished >= self._started and self._started < MOST:
                self._start()
            self._unfinished += 1
        self._calls.put(call)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # inherited
        """Do nothing: the threads end with the process."""

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, name=f"call {self._started + 1}", daemon=True).start()
        except RuntimeError:  # a limit of the system: the threads that exist will take the call
            if not self._started:
                raise
        else:
            self._started += 1

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            call()
            del call  # and everything it refers to

    def _finished(self) -> None:
        with self._lock:
            self._unfinished -= 1
