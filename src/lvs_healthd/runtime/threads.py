"""Threads for calls that may block: none of them holds up the end of the process."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

MOST = 32
"""Threads at once. The daemon's tasks need a handful; calls that hang are given up, and each keeps its thread."""


class Threads(ThreadPoolExecutor):
    """An event loop's default executor whose threads are daemons, and are never waited for at the end.

    The standard one is joined when the loop closes and again when the interpreter ends, without a limit: a file system
    or a program that hangs would hold up a stop until systemd kills. Idle threads are used again; a call for which
    there is none waits.
    """

    def __init__(self) -> None:
        super().__init__(max_workers=1)  # of its own, which it never starts
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._unfinished = 0
        self._started = 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:  # noqa: ANN401
        """Call it on a thread. Raises `RuntimeError` when there is none and none can be started."""
        future: Future[Any] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                self._finished()
                return
            # Counted before the result is out: whoever waits for it may call again at once, and shall find this thread.
            try:
                result = function(*arguments, **named)
            except BaseException as error:  # noqa: BLE001  # it belongs to whoever waits
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
        """Leave them to themselves."""

    def _start(self) -> None:
        try:
            threading.Thread(target=self._work, name=f"call {self._started + 1}", daemon=True).start()
        except RuntimeError:  # a limit of the system's: those that are there will get to it
            if not self._started:
                raise
        else:
            self._started += 1

    def _work(self) -> None:
        while True:
            call = self._calls.get()
            call()
            del call  # with all it refers to

    def _finished(self) -> None:
        with self._lock:
            self._unfinished -= 1
