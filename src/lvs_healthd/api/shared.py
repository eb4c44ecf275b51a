"""Makes an expensive answer only once for all clients that ask at about the same time.

So forty clients that scrape thousands of servers at once cost as much as one client. The answer is made in chunks, and
each client gets the chunks at its own pace. Answers that differ from client to client are made in turn, chunk by chunk.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable

MOST_KEPT = 4
"""The maximum number of answers in memory, including old ones that slow clients still read. When there are that many,
the next answer is not begun before one of them is dropped."""

LARGE = 1024 * 1024
"""An answer of at least so many bytes leaves so much free memory behind that it is worth giving back."""


async def in_turn(pieces: AsyncGenerator[bytes, None], turn: asyncio.Lock) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of an answer. Nobody else who holds to the same `turn` makes a chunk at the same time.

    The work on an answer is paced: it lets the event loop run after each slice. Without turns, forty clients would take
    forty slices each time. The turn is over before a chunk is sent, so a client that reads slowly delays no other.
    """
    async with contextlib.aclosing(pieces):
        while True:
            async with turn:
                piece = await anext(pieces, None)
            if piece is None:
                return
            yield piece


class _Rendering:
    """One answer, which is being made or is complete."""

    __slots__ = ("began", "changed", "chunks", "error", "is_over", "readers", "task")

    def __init__(self, began: float) -> None:
        self.began = began
        self.chunks: list[bytes] = []
        self.is_over = False
        self.error: Exception | None = None
        self.changed = asyncio.Event()
        """Set and then replaced by a new event whenever there are more chunks, or the answer is over."""
        self.readers = 0
        self.task: asyncio.Task[None] | None = None

    def tell(self) -> None:
        """Wake all clients that wait for more chunks."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def make(self, pieces: AsyncIterator[bytes]) -> None:
        """Collect the chunks as they are made. If making them fails, each client of this answer gets the exception."""
        try:
            async for chunk in pieces:
                self.chunks.append(chunk)
                self.tell()
        except Exception as error:  # noqa: BLE001  # raised by every reader
            self.error = error
        finally:
            self.is_over = True
            self.tell()


class SharedAnswer:
    """Makes an answer, and shares it among the clients that ask for it at about the same time.

    render: makes the answer, in chunks. If it raises an exception, every client of that answer gets the exception.
    fresh_s: how long an answer is still new enough for another client, counted from when it was begun, seconds. With 0,
        only clients that waited while the previous answer was made share an answer.
    freed: called when a large answer is no longer in memory.
    clock: monotonic time, seconds.
    """

    def __init__(
        self,
        render: Callable[[], AsyncIterator[bytes]],
        *,
        fresh_s: float,
        freed: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._render = render
        self._large_freed = freed
        self._fresh_s = fresh_s
        self._clock = clock
        self._latest: _Rendering | None = None
        """The answer that the next client gets if it is still fresh."""
        self._kept: list[_Rendering] = []
        self._freed = asyncio.Event()

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        """Yield the chunks of a fresh answer; make one if there is none.

        A caller that does not read to the end must close the iterator.
        """
        rendering = await self._fresh()
        rendering.readers += 1
        try:
            position = 0
            while True:
                changed = rendering.changed
                while position < len(rendering.chunks):
                    yield rendering.chunks[position]
                    position += 1
                if rendering.error is not None:
                    raise rendering.error
                if rendering.is_over:
                    return
                await changed.wait()
        finally:
            rendering.readers -= 1
            self._sweep()

    async def _fresh(self) -> _Rendering:
        """Return the latest answer if it is fresh.

        If it is not, begin another one as soon as no answer is being made and there is room for one more.
        """
        oldest = self._clock() - self._fresh_s
        while True:
            latest = self._latest
            if latest is not None and latest.began >= oldest:
                return latest
            if latest is not None and latest.is_over:
                self._latest = latest = None
                self._sweep()
            if latest is None and len(self._kept) < MOST_KEPT:
                return self._begin()
            self._freed.clear()
            await self._freed.wait()

    def _begin(self) -> _Rendering:
        rendering = self._latest = _Rendering(self._clock())
        self._kept.append(rendering)
        rendering.task = asyncio.create_task(rendering.make(self._render()), name="rendering")
        rendering.task.add_done_callback(lambda _: self._sweep())
        asyncio.get_running_loop().call_later(self._fresh_s, self._expire, rendering)
        return rendering

    def _expire(self, rendering: _Rendering) -> None:
        """Drop an answer that is no longer fresh, so that it takes no memory until the next client comes."""
        if rendering is self._latest and rendering.is_over:
            self._latest = None
        self._sweep()

    def _sweep(self) -> None:
        """Drop the complete answers that no client reads or will get."""
        dropped = [each for each in self._kept if each.is_over and not each.readers and each is not self._latest]
        self._kept = [each for each in self._kept if each not in dropped]
        freed = 0
        for each in dropped:
            freed += sum(map(len, each.chunks))
            each.chunks.clear()
        if freed >= LARGE:
            self._large_freed()
        self._freed.set()
