"""Runs calls that may block. They run on threads that never delay the end of the process."""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from lvs_healthd.runtime.exceptions import HostError

_T = TypeVar("_T")

MOST = 32
"""The maximum number of threads. The daemon needs a handful; a call that hangs is abandoned, and keeps its thread."""


class HungError(HostError):
    """Raised when a call on a thread takes too long. The message says what the call was for."""


async def in_thread(function: Callable[..., _T], *arguments: object, timeout_s: float, what: str) -> _T:
    """Call `function` on a thread of the event loop's default executor, and return its result.

    timeout_s: how long the call may take, seconds. A call that hangs keeps its thread, and its result is dropped.
    what: what the call does, for the message: "reading config.toml".

    Raises `HungError`, and any exception of the call.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
    except TimeoutError as error:
        raise _hung(timeout_s, what) from error


def _hung(timeout_s: float, what: str) -> HungError:
    return HungError(f"{what} has taken more than {timeout_s:g}s: a file system hangs, or the machine is overloaded")


class LoneCall:
    """Makes a call on a thread again and again, but never while an earlier one hangs. So it keeps no second thread."""

    def __init__(self) -> None:
        self._is_running = False

    async def __call__(self, function: Callable[..., _T], *arguments: object, timeout_s: float, what: str) -> _T:
        """Call `function` as `in_thread` does. Raises `HungError` at once while an earlier call has not come back."""
        if self._is_running:
            raise _hung(timeout_s, what)

        def call() -> _T:
            self._is_running = True
            try:
                return function(*arguments)
            finally:
                self._is_running = False

        return await in_thread(call, timeout_s=timeout_s, what=what)


class Threads(ThreadPoolExecutor):
    """A default executor for an event loop. Its threads are daemon threads, so that nothing ever waits for them.

    The standard executor's threads are joined without a timeout, when the event loop closes and when the interpreter
    ends. So a file system or a program that hangs would delay a stop until systemd kills the daemon. Here, idle threads
    are used again. When all `MOST` threads are busy, a call waits for one.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)  # the base class requires at least one, but never starts a thread here
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
            # The call is counted as finished before its result is set, because a waiter may call again at once, and
            # this thread must then count as free.
            try:
                result = function(*arguments, **named)
            except BaseException as error:  # noqa: BLE001  # passed on to the waiter
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
            del call  # so that what it refers to can be freed

    def _finished(self) -> None:
        with self._lock:
            self._unfinished -= 1
