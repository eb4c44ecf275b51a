"""Lets work that comes again and again come at common moments, so that this process seldom wakes up.

A process that wakes up finds the processor's caches cold, which costs as much as the little that most such work has to
do. Probes start at common moments too (`probing.deadlines.TICK_S`), of which these are some.
"""

import asyncio
import math


def moment_after(now: float, every_s: float) -> float:
    """Return the next common moment: between a half and one and a half of `every_s` seconds from `now`.

    every_s: how far apart the moments are, seconds. Those of multiples of it are among them.
    """
    return math.ceil((now + every_s / 2) / every_s) * every_s


def next_moment(every_s: float) -> float:
    """Return the next common moment on the event loop's clock."""
    return moment_after(asyncio.get_running_loop().time(), every_s)


async def until_next_moment(every_s: float) -> None:
    """Sleep until the next common moment. Whoever does nothing else for long turns every `every_s` seconds."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[None] = loop.create_future()
    timer = loop.call_at(next_moment(every_s), _wake, waiting)
    try:
        await waiting
    finally:
        timer.cancel()


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
