"""Decides how slowly a client may read its answer.

A client that takes only a few bytes now and then would keep its answer in memory for hours. `clients` drops a client
that stops reading. This module judges a whole answer: it compares the time for which the daemon has waited for the
client with the number of bytes that the client's side has taken.
"""

import asyncio

LEAST_BYTES_PER_S = 64 * 1024
"""The slowest rate at which a client may read, bytes per second (half a megabit per second). At this rate 12 MB, the
metrics of 10 000 servers, take three minutes, which is longer than any scrape may take."""

GRACE_S = 15.0
"""By how much a client may exceed the time that `LEAST_BYTES_PER_S` allows for what it has taken, seconds."""


class ReadingRate:
    """The rate at which one client reads one answer. Needs a running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waited_s = 0.0
        self._taken = 0
        self._began = 0.0

    def waiting(self) -> asyncio.Timeout:
        """Begin to wait for the client. Return a context that raises `TimeoutError` when the wait is too long."""
        self._began = self._loop.time()
        left_s = GRACE_S + self._taken / LEAST_BYTES_PER_S - self._waited_s
        return asyncio.timeout_at(self._began + left_s)

    def taken(self, length: int) -> None:
        """Note that the wait is over, and that the client's side has taken `length` bytes."""
        self._waited_s += self._loop.time() - self._began
        self._taken += length
