"""Runs one hook: what waits for it, its workers, what is tried again, and what is told of it."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Protocol

from lvs_healthd.config.hook_model import Hook
from lvs_healthd.events.kinds import Event, HookDropped, HookFailed, HookRecovered
from lvs_healthd.hooks.digest import Digest, Gathered
from lvs_healthd.hooks.facts import Message, NotToldError, Told
from lvs_healthd.hooks.queues import Queues

WORKERS = 4
"""How many programs of one hook run at once. One that hangs holds up a quarter of the others, until its timeout."""

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 60.0
"""The first and the longest pause before something is tried again, seconds."""

GIVE_UP_S = 600.0
"""After how long a message is given up that cannot be told, seconds. Later, it would be news of the past."""

TELL_AGAIN_S = 60.0
"""How often it is told at most that a hook fails, or that it drops messages, seconds."""

REPEAT_TURN_S = 1.0
"""How often to look for what is to be told again, seconds."""

SENT, FAILED, DROPPED = RESULTS = ("sent", "failed", "dropped")
"""What becomes of messages."""


class Sender(Protocol):
    """Tells somebody."""

    async def send(self, payload: object) -> None:
        """Tell one thing. Raises `NotToldError`."""

    async def close(self) -> None:
        """Close what is open."""


class Convention(Protocol):
    """What is told of which events, and when."""

    @property
    def names(self) -> AbstractSet[str]:
        """The names of the events that may matter."""

    def wants(self, event: Event, *, in_shadow: bool) -> bool:
        """Return whether an event with such a name matters.

        in_shadow: whether it is only decided, because the daemon or its service is in shadow mode.
        """

    def messages(self, told: Told) -> Iterable[Message]:
        """Return what to tell because of an event that matters."""

    def gathered(self, gathered: Gathered, /) -> Message:
        """Return what to tell of several events."""

    def repeated(self) -> Iterable[Message]:
        """Return what is to be told again now."""

    def keep(self, services: frozenset[str]) -> None:
        """Forget what is known of all services but these."""


class Observer(Protocol):
    """Counts what becomes of messages, for the metrics."""

    def hook(self, hook: str, result: str, times: int) -> None:
        """Count messages. `result` is one of `RESULTS`; with 0 `times` they are counted from now on."""

    def forget_hook(self, hook: str) -> None:
        """Forget a hook that is no longer configured."""


class HookRun:
    """One hook. Whoever has something to tell never waits for it.

    hook: the hook.
    convention: what it is told.
    sender: tells it.
    workers: how many messages may be under way at once.
    emit: receives the events about the hook itself.
    count: counts messages by the hook's name and what became of them.
    clock: monotonic time, seconds.
    """

    def __init__(
        self,
        hook: Hook,
        convention: Convention,
        sender: Sender,
        *,
        workers: int,
        emit: Callable[[Event], None],
        count: Callable[[str, str, int], None],
        clock: Callable[[], float],
    ) -> None:
        self.hook = hook
        self.convention = convention
        self._sender = sender
        self._emit = emit
        self._count = count
        self._clock = clock
        self._queues = Queues(workers)
        self._digest = Digest()
        self._begun = asyncio.Event()
        """Is set when the digest has an event."""
        self._closing = asyncio.Event()
        self._under_way = 0
        self._dropped = 0
        self._dropped_told: float | None = None
        self._trouble = _Trouble(hook.name, emit, clock)
        work = [self._gather()] if hook.every else [self._work(place) for place in range(workers)]
        if hook.repeat:
            work.append(self._repeat())
        self.tasks = [asyncio.create_task(each, name=f"hook {hook.name}") for each in work]

    @property
    def waiting(self) -> int:
        """How many messages wait or are under way. What is being gathered is one."""
        return len(self._queues) + self._under_way + (self._digest.since is not None)

    @property
    def error(self) -> str:
        """Why the last message could not be told; empty if it could."""
        return self._trouble.error

    def take(self, told: Told) -> None:
        """Tell of an event. Returns at once."""
        if self.hook.every:
            self._digest.add(told, self._clock())
            self._begun.set()
            return
        for message in self.convention.messages(told):
            self._put(message)

    def miss(self) -> None:
        """Count an event that came when too many others waited."""
        self._drop(1)
        self._tell_dropped()

    async def finish(self, within_s: float) -> None:
        """Tell what waits, but give up after `within_s` seconds."""
        self._closing.set()
        self._begun.set()
        self._queues.close()
        _, late = await asyncio.wait(self.tasks, timeout=within_s)
        lost = self.waiting
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)
        if lost:
            self._drop(lost)
        self._tell_dropped(at_once=True)
        await self._sender.close()

    def _put(self, message: Message) -> None:
        dropped = self._queues.put(message)
        if dropped:
            self._drop(dropped)
            self._tell_dropped()

    async def _work(self, place: int) -> None:
        """Tell what waits in one queue, until there is no more to come."""
        while (message := await self._queues.take(place)) is not None:
            await self._tell(message)

    async def _gather(self) -> None:
        """Tell together what happens within `every`, until there is no more to come."""
        while True:
            await self._begun.wait()
            since = self._digest.since
            if since is None:
                if self._closing.is_set():
                    return
                self._begun.clear()
                continue
            await self._pause(since + self.hook.every - self._clock())
            await self._tell(self.convention.gathered(self._digest.take()))

    async def _repeat(self) -> None:
        while not self._closing.is_set():
            await self._pause(REPEAT_TURN_S)
            for message in self.convention.repeated():
                self._put(message)

    async def _tell(self, message: Message) -> None:
        self._under_way += 1
        try:
            result = await self._told(message)
        finally:
            self._under_way -= 1
        self._count(self.hook.name, result, 1)
        self._tell_dropped()

    async def _told(self, message: Message) -> str:
        """Tell something, if need be again and again. Return what became of it."""
        began, pause_s, payload = self._clock(), FIRST_RETRY_S, message.made()
        while True:
            try:
                await self._sender.send(payload)
            except NotToldError as error:
                is_over = not error.may_work_later or self._clock() - began + pause_s > GIVE_UP_S
                is_over = is_over or self._closing.is_set()
                self._trouble.failed(message.about, str(error), None if is_over else pause_s)
                if is_over:
                    return FAILED
            else:
                self._trouble.worked()
                return SENT
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, LAST_RETRY_S)

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the hook is being closed."""
        if seconds > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._closing.wait()

    def _drop(self, times: int) -> None:
        self._dropped += times
        self._count(self.hook.name, DROPPED, times)

    def _tell_dropped(self, *, at_once: bool = False) -> None:
        now = self._clock()
        is_due = at_once or self._dropped_told is None or now - self._dropped_told >= TELL_AGAIN_S
        if self._dropped and is_due:
            self._emit(HookDropped(hook=self.hook.name, dropped=self._dropped, waiting=self.waiting))
            self._dropped, self._dropped_told = 0, now


class _Trouble:
    """Tells that a hook fails, and that it works again, but not for each message."""

    def __init__(self, hook: str, emit: Callable[[Event], None], clock: Callable[[], float]) -> None:
        self._hook = hook
        self._emit = emit
        self._clock = clock
        self._since: float | None = None
        """When the failure began that was told; None if none is under way."""
        self._told_at: float | None = None
        self._error_told = ""
        self._given_up = 0
        self.error = ""
        """Why the last message could not be told; empty if it could."""

    def failed(self, about: str, error: str, retry_s: float | None) -> None:
        """Note a failure. It is given up if `retry_s` is None."""
        self._given_up += retry_s is None
        self.error = error
        now = self._clock()
        if self._told_at is not None and now - self._told_at < TELL_AGAIN_S:
            return
        if self._since is not None and error == self._error_told:
            return
        self._since = now if self._since is None else self._since
        self._told_at, self._error_told = now, error
        self._emit(HookFailed(hook=self._hook, about=about, error=error, retry_s=retry_s))

    def worked(self) -> None:
        """Note that something was told."""
        if self._since is not None:
            after_s = round(self._clock() - self._since, 3)
            self._emit(HookRecovered(hook=self._hook, failed=self._given_up, after_s=after_s))
            self._since = None
        self._given_up, self.error = 0, ""
