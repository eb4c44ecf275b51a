"""Splits long work into slices, so that the event loop runs every few milliseconds even with a large configuration.

A slice is a length of time and not a number of items, so one constant fits every kind of work on every machine.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

SLICE_S = 0.001
"""How long work may hold the event loop at a time, seconds. Probes that wait for the loop are late by that much."""

LONG_SLICE_S = 0.004
"""How long a slice may be for probes that have fallen behind, seconds. It is longer than `SLICE_S`, because other paced
work gets a slice between any two slices of probes."""

CHUNK_CHARS = 65536
"""How long a chunk of text becomes, characters. A chunk is in memory twice while it is encoded, and the C library keeps
what larger blocks have left behind."""

clock = time.perf_counter

_T = TypeVar("_T")


class Pace:
    """Says when a slice of work is over. To read the clock takes 50 ns, so work can ask after every item."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Begin a slice now."""
        self._end = clock() + SLICE_S

    def is_over(self) -> bool:
        """Return whether the slice is over, so that the event loop should run."""
        return clock() >= self._end

    async def rest(self) -> None:
        """Let the event loop run once, then begin the next slice."""
        await asyncio.sleep(0)
        self.restart()


async def paced(items: Iterable[_T]) -> AsyncIterator[_T]:
    """Yield the items, and let the event loop run whenever a slice is over. A slice includes the consumer's work."""
    pace = Pace()
    for item in items:
        yield item
        if pace.is_over():
            await pace.rest()


async def chunks(pieces: Iterable[str]) -> AsyncIterator[str]:
    """Join small strings into chunks of about `CHUNK_CHARS`. The event loop runs whenever a slice of work is over.

    pieces: the strings. A slice includes the work of making them, if this is a generator.
    """
    pace = Pace()
    gathered: list[str] = []
    length = 0
    for piece in pieces:
        gathered.append(piece)
        length += len(piece)
        is_slice_over = pace.is_over()
        if is_slice_over or length >= CHUNK_CHARS:
            yield "".join(gathered)
            gathered.clear()
            length = 0
        if is_slice_over:
            await pace.rest()
    yield "".join(gathered)
