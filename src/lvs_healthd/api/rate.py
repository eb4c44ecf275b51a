"""How slowly a client may read its answer. One that takes a few bytes now and then would keep it in memory for hours.

`clients` drops a client that stops reading. Here the whole of an answer counts: the time that the daemon has waited for
the client, against the bytes that the client's side has taken.
"""

import asyncio

LEAST_BYTES_PER_S = 64 * 1024
"""The slowest reading, bytes per second: half a megabit. At this rate 12 MB, the metrics of 10 000 servers, take three
minutes, which is longer than any scrape may take."""

GRACE_S = 15.0
"""How long a client may be slower than that, seconds."""


class Pace:
    """The pace at which one client takes one answer."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waited_s = 0.0
        self._taken = 0
        self._began = 0.0

    def waiting(self) -> asyncio.Timeout:
        """Begin to wait for the client. Return a context that raises `TimeoutError` when that takes too long."""
        self._began = self._loop.time()
        left_s = GRACE_S + self._taken / LEAST_BYTES_PER_S - self._waited_s
        return asyncio.timeout_at(self._began + left_s)

    def taken(self, length: int) -> None:
        """Note that the client's side has taken so many bytes."""
        self._waited_s += self._loop.time() - self._began
        self._taken += length
