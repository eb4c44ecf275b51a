"""Keeps the collection of garbage short, and gives memory that is free back to the system."""

import ctypes
import gc
import math
import time
from collections.abc import Callable

_malloc_trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""malloc_trim(3), which only glibc has."""


SHARE = 0.005
"""The largest share of the time that may be spent on giving memory back, 0 to 1."""

_next_time = -math.inf
"""When memory may be given back again, seconds on the monotonic clock."""


def spare_long_lived() -> None:
    """Exclude all objects that exist now from later garbage collections.

    Fifty thousand servers are a million objects, and one full collection of them blocks the event loop for 0.2 s. The
    objects stay excluded for good, even after a reload. The price is that objects of a configuration that refer to each
    other are never freed unless these references are dropped along with the objects.
    """
    gc.collect()
    gc.freeze()


def give_back_free_memory() -> None:
    """Give memory that is free back to the system, wherever it lies. By itself, glibc gives back only the end of it.

    After a start with 10 000 servers that is 10 MB of 100. It takes a few milliseconds, so call it on a thread. Nobody
    else in the process can allocate meanwhile, so it is not done again at once (`SHARE`).
    """
    global _next_time  # noqa: PLW0603  # the memory of the process is one thing
    began = time.monotonic()
    if _malloc_trim is not None and began >= _next_time:
        _malloc_trim(0)
        ended = time.monotonic()
        _next_time = ended + (ended - began) / SHARE
