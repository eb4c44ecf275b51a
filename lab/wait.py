"""Waits for a condition, so that no test has to wait for a fixed time."""

import time
from collections.abc import Callable

POLL_S = 0.02


def wait_until(
    condition: Callable[[], bool], *, timeout_s: float, what: str | Callable[[], str], poll_s: float = POLL_S
) -> float:
    """Wait until `condition()` is true, and return how long that took, seconds.

    timeout_s: the longest time to wait, seconds.
    what: what is waited for, as text for the error, or a function that returns it.
    poll_s: the shortest pause between two calls of the condition, seconds. If a call takes longer than that, the pause
        is as long as the call, because the condition may need the same processor to become true.

    Raises `TimeoutError`.
    """
    started = time.monotonic()
    while True:
        asked = time.monotonic()
        if condition():
            break
        now = time.monotonic()
        if now - started > timeout_s:
            raise TimeoutError(f"waited {timeout_s:g} s for {what() if callable(what) else what}")
        time.sleep(max(poll_s, now - asked))
    return time.monotonic() - started
