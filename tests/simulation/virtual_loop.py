"""An event loop whose time is a number: it never waits, but jumps to the next timer."""

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar

_T = TypeVar("_T")

WALL = 2_000_000_000.0
"""Unix time when the monotonic clock shows `BEGAN`, seconds. It is later than any release of the program."""
BEGAN = 1000.0
"""What the monotonic clock shows at first, seconds."""


class Clock:
    """All the clocks that the daemon reads. None of them moves by itself."""

    def __init__(self) -> None:
        self.now = BEGAN
        """Monotonic time, seconds."""
        self.shift = WALL - BEGAN
        """Unix time minus monotonic time, seconds."""
        self.work_s = 0.0
        """How long a piece of work seems to take by `perf_counter`, seconds."""
        self.slice_s = 0.0
        """By how much the clock of paced work advances with each reading, seconds; 0 lets no slice ever be over."""
        self._worked = 0.0
        self._paced = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + self.shift

    def perf_counter(self) -> float:
        self._worked += self.work_s
        return self._worked

    def pace(self) -> float:
        self._paced += self.slice_s
        return self._paced


class VirtualLoop:
    """An event loop, as far as the daemon uses one. It runs callbacks and timers in a fixed order.

    Calls for a thread run on the loop, after `thread_s` seconds.

    failed: what goes wrong in a callback or a task that nobody waits for.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.thread_s = 0.0
        """How long the next call on a thread takes, seconds."""
        self.failed: list[BaseException] = []
        self.handlers: dict[int, Callable[[], object]] = {}
        """What is called for a signal."""
        self._itself: Any = self  # asyncio's types ask for a loop with all of its methods
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()

    # What is used to move time

    def settle(self) -> None:
        """Run everything that can run without time passing."""
        ready = self._ready
        while ready:
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()

    def advance(self, seconds: float) -> None:
        """Let time pass. Each timer runs when it is due."""
        until = self.clock.now + seconds
        timers = self._timers
        self.settle()
        while timers and timers[0][0] <= until:
            due, _, handle = heapq.heappop(timers)
            if handle.cancelled():
                continue
            self.clock.now = max(self.clock.now, due)
            handle._run()
            self.settle()
        self.clock.now = max(self.clock.now, until)

    def result(self, work: Coroutine[Any, Any, _T], most_s: float) -> _T:
        """Run a coroutine to its end, and let time pass until then, at most `most_s` seconds."""
        task = self.create_task(work)
        until = self.clock.now + most_s
        self.settle()
        while not task.done():
            if not self._timers or self._timers[0][0] > until:
                task.cancel()
                self.settle()
                raise TimeoutError(f"not done after {most_s:g}s")
            self.advance(max(0.0, self._timers[0][0] - self.clock.now))
        result: _T = task.result()
        return result

    def drop_timers(self) -> None:
        """Forget all timers."""
        self._timers.clear()

    # What asyncio needs

    def time(self) -> float:
        return self.clock.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._itself, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self._itself, context)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.clock.now + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: a cancelled timer is passed over when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self._itself)

    def create_task(self, coro: Any, **keys: Any) -> asyncio.Task[Any]:
        return asyncio.Task(coro, loop=self._itself, **keys)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = self.create_future()

        def call() -> None:
            try:
                found = func(*args)
            except Exception as error:  # noqa: BLE001  # passed on to the waiter
                if not future.done():
                    future.set_exception(error)
            else:
                if not future.done():
                    future.set_result(found)

        if self.thread_s:
            self.call_later(self.thread_s, call)
        else:
            self.call_soon(call)
        return future

    def set_default_executor(self, executor: Any) -> None:
        """Do nothing: there are no threads."""

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        self.handlers[sig] = lambda: callback(*args)

    def remove_signal_handler(self, sig: int) -> bool:
        return self.handlers.pop(sig, None) is not None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.failed.append(error if error is not None else RuntimeError(context["message"]))

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False


class Running:
    """Makes a loop the running one of this thread while a `with` block lasts."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def __enter__(self) -> VirtualLoop:
        asyncio._set_running_loop(self._loop._itself)
        return self._loop

    def __exit__(self, *_: object) -> None:
        asyncio._set_running_loop(None)
