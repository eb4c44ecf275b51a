"""Long work in slices: the event loop turns in between, so that probes of tens of thousands of servers stay on time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import TypeVar

_T = TypeVar("_T")


async def sliced(items: Iterable[_T], size: int, cost: Callable[[_T], int] | None = None) -> AsyncIterator[_T]:
    """Yield the items, with a turn of the event loop after every `size` of them, or `size` of their `cost`."""
    done = 0
    for item in items:
        yield item
        done += 1 if cost is None else cost(item)
        if done >= size:
            done = 0
            await asyncio.sleep(0)


class Pace:
    """Counts work over nested loops: when `spend` says so, it is time for a turn of the event loop."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._done = 0

    def spend(self, cost: int) -> bool:
        """Count work, in the units of `size`; True when a slice is through."""
        self._done += cost
        if self._done < self._size:
            return False
        self._done = 0
        return True


async def chunks(pieces: Iterable[str]) -> AsyncIterator[str]:
    """Join strings that are made while asked for: 5 ms of work to a chunk, and a turn of the loop after each."""
    gathered: list[str] = []
    cost = 0
    for piece in pieces:
        gathered.append(piece)
        # An empty one stands for work that came to nothing yet.
        cost += len(piece) or _EMPTY_COST
        if cost >= _TEXT_SLICE:
            yield "".join(gathered)
            gathered, cost = [], 0
            await asyncio.sleep(0)
    yield "".join(gathered)


_TEXT_SLICE = 600_000
_EMPTY_COST = 20_000
