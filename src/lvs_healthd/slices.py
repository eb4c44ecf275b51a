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


async def joined(pieces: Iterable[str]) -> str:
    """Join strings that are made while they are asked for, with a turn of the event loop after some 5 ms of work."""
    return "".join([piece async for piece in sliced(pieces, _TEXT_SLICE, _cost)])


_TEXT_SLICE = 600_000
_EMPTY_COST = 20_000


def _cost(piece: str) -> int:
    """Return its length; an empty one stands for work that came to nothing yet."""
    return len(piece) or _EMPTY_COST
