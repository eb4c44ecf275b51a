"""Threads for calls that may block: none of them holds up the end of the process."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Threads(ThreadPoolExecutor):
    """An event loop's default executor: each call on a daemon thread of its own, never waited for at the end.

    The standard one is joined when the loop closes and again when the interpreter ends, without a limit: a file system
    or a program that hangs would hold up a stop until systemd kills. There are never more calls than tasks that wait
    for one.
    """

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:  # noqa: ANN401
        """Call it on a thread."""
        future: Future[Any] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = function(*arguments, **named)
            except BaseException as error:  # noqa: BLE001  # it belongs to whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=call, name="call", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002  # inherited
        """Leave them to themselves."""
