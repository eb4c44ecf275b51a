"""One rendering of an expensive answer for everybody who asks at about the same time.

Forty clients that scrape thousands of servers at once cost as much as one: the answer is made once, in chunks, and each
client is sent the chunks at its own pace.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable

MOST_KEPT = 4
"""Renderings in memory at once, old ones included that slow clients still read. One more waits until one is let go."""


class _Rendering:
    """An answer that is being made, or that is ready."""

    __slots__ = ("began", "changed", "chunks", "error", "is_over", "readers", "task")

    def __init__(self, began: float) -> None:
        self.began = began
        self.chunks: list[bytes] = []
        self.is_over = False
        self.error: Exception | None = None
        self.changed = asyncio.Event()
        """Set, and replaced, whenever there is more."""
        self.readers = 0
        self.task: asyncio.Task[None] | None = None

    def tell(self) -> None:
        """Wake everybody who waits for more."""
        self.changed.set()
        self.changed = asyncio.Event()

    async def make(self, pieces: AsyncIterator[bytes]) -> None:
        """Take the chunks as they are made. An exception goes to the readers."""
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
    """Renders an answer for everybody who asks for it.

    render: makes the answer, in chunks. What it raises, every client of that rendering gets.
    fresh_s: how long an answer is still new enough for the next client, seconds from when it began to be made. With 0
        only those share an answer who waited while the one before was made.
    clock: monotonic, seconds.
    """

    def __init__(
        self,
        render: Callable[[], AsyncIterator[bytes]],
        *,
        fresh_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._render = render
        self._fresh_s = fresh_s
        self._clock = clock
        self._latest: _Rendering | None = None
        """What the next client gets, as long as it is fresh."""
        self._kept: list[_Rendering] = []
        self._freed = asyncio.Event()

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        """Yield the chunks of an answer that is fresh, or begins now. Close the iterator when you stop early."""
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
        """Return the latest rendering, or begin one as soon as none is under way and there is room for it."""
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
        """Let go of an answer that nobody may ask for any more: the next client may be long in coming."""
        if rendering is self._latest and rendering.is_over:
            self._latest = None
        self._sweep()

    def _sweep(self) -> None:
        """Forget the renderings that are over, that nobody reads and that nobody will be given."""
        self._kept = [each for each in self._kept if not each.is_over or each.readers or each is self._latest]
        self._freed.set()
