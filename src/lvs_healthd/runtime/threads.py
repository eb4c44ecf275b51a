"""Runs calls that may block on threads that never delay the end of the process."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

MOST = 32
"""The most threads at once. The daemon needs a handful. A call that hangs is abandoned, and keeps its thread."""


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
