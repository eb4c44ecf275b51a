"""Waiting for a condition, never for a number of seconds."""

import time
from collections.abc import Callable

POLL_S = 0.02


def wait_until(
    condition: Callable[[], bool], *, timeout_s: float, what: str | Callable[[], str], poll_s: float = POLL_S
) -> float:
    """Return as soon as `condition()` is true, with the seconds it took.

    A pause is `poll_s`, or as long as the condition took: what is waited for may need the same processor. Raises
    `TimeoutError`, saying `what` was waited for, after `timeout_s`.
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
