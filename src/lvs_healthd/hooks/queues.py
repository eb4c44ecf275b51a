"""Holds the messages that wait, in a bounded space, each lane in its order."""

import asyncio
import zlib
from collections import deque

from lvs_healthd.hooks.facts import Message

MOST_WAITING = 1000
"""How many messages of one hook wait at most. Then the oldest ones are dropped, because what is told should be true."""


class Queues:
    """The messages of one hook, for several workers.

    A lane's messages all go to the same worker, so that they are told in their order.

    workers: how many workers there are.
    """

    def __init__(self, workers: int) -> None:
        self._queues: tuple[deque[Message], ...] = tuple(deque() for _ in range(workers))
        self._filled = tuple(asyncio.Event() for _ in range(workers))
        self._is_closed = False

    def __len__(self) -> int:
        return sum(map(len, self._queues))

    def put(self, message: Message) -> int:
        """Let a message wait. Return how many others were dropped for it."""
        place = zlib.crc32(message.lane.encode("utf-8", "replace")) % len(self._queues)
        dropped = 0
        while len(self) >= MOST_WAITING:
            max(self._queues, key=len).popleft()
            dropped += 1
        self._queues[place].append(message)
        self._filled[place].set()
        return dropped

    async def take(self, place: int) -> Message | None:
        """Wait for the next message of a worker, and return it; None when there are none and no more come."""
        queue, filled = self._queues[place], self._filled[place]
        while not queue:
            if self._is_closed:
                return None
            filled.clear()
            await filled.wait()
        return queue.popleft()

    def close(self) -> None:
        """Let no worker wait for more."""
        self._is_closed = True
        for each in self._filled:
            each.set()
