"""All hooks: listens to the events, and keeps the hooks that a configuration has."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from lvs_healthd.config.hook_model import Hook
from lvs_healthd.config.model import Config, Mode
from lvs_healthd.events.kinds import Event
from lvs_healthd.hooks.conventions import convention_of, sender_of
from lvs_healthd.hooks.facts import Lookup, Told
from lvs_healthd.hooks.run import RESULTS, HookRun, Observer
from lvs_healthd.runtime.pace import Pace

MOST_ARRIVED = 100_000
"""How many events wait at most until they are passed on. Then new ones are dropped, and counted for each hook."""

RETIRE_S = 30.0
"""How long a hook that a reload has removed or changed may take to tell what waits, seconds."""


class Hooks:
    """Tells the configured hooks of events. It is a listener on the event bus.

    lookup: finds what is known of servers.
    emit: receives the events about hooks themselves.
    clock: monotonic time, seconds.
    wall: Unix time, seconds.
    """

    def __init__(
        self,
        lookup: Lookup,
        emit: Callable[[Event], None],
        observer: Observer,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._lookup = lookup
        self._emit = emit
        self._observer = observer
        self._clock = clock
        self._wall = wall
        self._runs: dict[tuple[Hook, str], HookRun] = {}
        self._interested: dict[str, list[HookRun]] = {}
        """The hooks that may want an event, by its name."""
        self._arrived: deque[tuple[Told, bool]] = deque()
        """Events that have not been passed on yet, each with whether it was only decided."""
        self._has_arrived = asyncio.Event()
        self._retiring: dict[asyncio.Task[None], HookRun] = {}
        """Hooks that are no longer configured, each with the task that ends it."""
        self._names: set[str] = set()
        self._is_shadow = False
        self._shadowed: frozenset[str] = frozenset()
        self._failed: asyncio.Queue[BaseException] = asyncio.Queue()

    def listen(self, event: Event) -> None:
        """Take an event from the bus. What follows from it is done later, a millisecond at a time."""
        interested = self._interested.get(event.name)
        if not interested:
            return
        if len(self._arrived) >= MOST_ARRIVED:
            for run in interested:
                run.miss()
            return
        in_shadow = self._is_shadow or getattr(event, "service", None) in self._shadowed
        self._arrived.append((Told(event, self._wall()), in_shadow))
        self._has_arrived.set()

    def configure(self, config: Config, helper: str, *, is_shadow: bool) -> None:
        """Run the hooks of a configuration. One that has not changed keeps what waits.

        helper: the socket of the process that runs programs.
        is_shadow: whether the daemon is in shadow mode.
        """
        self._is_shadow = is_shadow
        self._shadowed = frozenset(service.name for service in config.services if service.mode is Mode.SHADOW)
        names = {hook.name for hook in config.hooks}
        for name in self._names - names:
            self._observer.forget_hook(name)
        for name in names - self._names:
            for result in RESULTS:
                self._observer.hook(name, result, 0)
        self._names = names
        before, self._runs = self._runs, {}
        for hook in config.hooks:
            key = (hook, helper if hook.command else "")
            self._runs[key] = before.pop(key) if key in before else self._made(hook, helper)
        services = frozenset(service.name for service in config.services)
        interested: dict[str, list[HookRun]] = {}
        for run in self._runs.values():
            run.convention.keep(services)
            for name in run.convention.names:
                interested.setdefault(name, []).append(run)
        self._interested = interested
        for run in before.values():
            task = asyncio.create_task(run.finish(RETIRE_S), name=f"end of hook {run.hook.name}")
            self._retiring[task] = run
            task.add_done_callback(self._ended)

    def waiting(self) -> dict[str, int]:
        """Return how many messages wait in each hook, by its name."""
        return {run.hook.name: run.waiting for run in self._runs.values()}

    def errors(self) -> tuple[str, ...]:
        """Return the hooks whose last message could not be told, each with why."""
        return tuple(f"{run.hook.name}: {run.error}" for run in self._runs.values() if run.error)

    async def run(self) -> None:
        """Pass events on, until cancelled. Raises what goes wrong in a hook's own code, a fault of this program."""
        failing = asyncio.ensure_future(self._failed.get())
        try:
            while not failing.done():
                arriving = asyncio.ensure_future(self._has_arrived.wait())
                try:
                    await asyncio.wait((failing, arriving), return_when=asyncio.FIRST_COMPLETED)
                finally:
                    arriving.cancel()
                await self._pass_on()
            raise failing.result()
        finally:
            failing.cancel()

    async def _pass_on(self) -> None:
        """Give every hook what it is told of."""
        pace = Pace()
        while self._arrived:
            told, in_shadow = self._arrived.popleft()
            for run in self._interested.get(told.event.name, ()):
                if run.convention.wants(told.event, in_shadow=in_shadow):
                    run.take(told)
            if pace.is_over():
                await pace.rest()
        self._has_arrived.clear()

    async def stop(self, within_s: float) -> None:
        """Tell what waits, but give up after `within_s` seconds."""
        await self._pass_on()
        self._interested = {}
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*(run.finish(within_s) for run in (*retiring.values(), *self._runs.values())))
        self._runs = {}

    def _made(self, hook: Hook, helper: str) -> HookRun:
        sender, workers = sender_of(hook, helper)
        run = HookRun(
            hook,
            convention_of(hook, self._lookup, self._clock, self._wall),
            sender,
            workers=workers,
            emit=self._emit,
            count=self._count,
            clock=self._clock,
        )
        for task in run.tasks:
            task.add_done_callback(self._ended)
        return run

    def _count(self, hook: str, result: str, times: int) -> None:
        """Count messages, unless the hook is not configured any more."""
        if hook in self._names:
            self._observer.hook(hook, result, times)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._retiring.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed.put_nowait(error)
