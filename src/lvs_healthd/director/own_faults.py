"""Watches for faults of the director's own network that make healthy servers seem dead, and tells of them.

A broken interface, or a full table of the kernel, fails the probes of servers that are well. `decide.blame` asks here
whether such a fault was there during a probe. Probes run in this process's network namespace, which is watched.
"""

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from lvs_healthd.director import links
from lvs_healthd.director.links import Links
from lvs_healthd.director.overflows import EVERY_S, Overflows
from lvs_healthd.events.kinds import Event, NetworkImpaired, NetworkRecovered, NetworkUnwatched
from lvs_healthd.runtime.pace import paced
from lvs_healthd.runtime.threads import HungError, in_thread

RETRY_S = 2.0
"""How long to wait before interfaces are watched again after an error, or after reports were lost, seconds."""

ROUTE_S = 5.0
"""For how long the interface of a target's route is remembered, seconds."""

MOST_ROUTES = 256
"""How many routes are asked for in one go on a thread. That takes about 0.1 s."""

BLAMED_S = 60.0
"""A broken interface that has failed no probe for this long is of no interest, seconds."""

_ROOM = 65536


class _Route(NamedTuple):
    """The interface of a target's route."""

    interface: int
    """The interface's index; 0 when there is no route, or when the kernel did not say."""
    asked: float
    """When the kernel was asked, seconds on the monotonic clock."""


class OwnFaults:
    """The faults of the director's own network.

    emit: receives the events.
    clock: monotonic time, seconds.
    """

    def __init__(self, emit: Callable[[Event], None], *, clock: Callable[[], float]) -> None:
        self._emit = emit
        self._clock = clock
        self._links = Links(clock)
        self._overflows = Overflows(clock)
        self._routes: dict[str, _Route] = {}
        self._waiting: dict[str, list[Callable[[], None]]] = {}
        """The addresses whose routes nobody has asked the kernel for yet, with who waits for them."""
        self._asked = asyncio.Event()
        self._blamed: dict[str, float] = {}
        """The faults of interfaces that probes met, each with the time when that was last."""
        self._told: dict[str, float] = {}
        """The faults that are there, each with the time since when."""
        self._error = ""

    @property
    def ongoing(self) -> tuple[str, ...]:
        """The faults that are there now, in words."""
        return tuple(self._told)

    def is_ours(self, address: str) -> bool:
        """Whether an address is one of the director's own."""
        return self._links.is_ours(address)

    def table(self, address: str, began: float, now: float) -> str:
        """Return in words which of the kernel's tables was too full for a probe of `address`; "" if none was.

        began, now: when the probe began and ended, seconds on the monotonic clock.
        """
        return self._overflows.during(address, began, now)

    def link(self, address: str, began: float) -> str | None:
        """Return in words what is, or was since `began`, wrong with our interface towards `address`; "" if nothing.

        None means that the route there must be asked for first: see `ask`.
        """
        if not self._links.broken(began):
            return ""
        now = self._clock()
        found = self._links.on_link(address, began)
        if not found:
            route = self._routes.get(address)
            if route is None or now - route.asked > ROUTE_S:
                return None
            found = self._links.trouble(route.interface, began)
        if found:
            self._blamed[found] = now
        return found

    def ask(self, address: str, then: Callable[[], None]) -> None:
        """Ask the kernel for the route to `address`, and call `then` once `link` can tell."""
        self._waiting.setdefault(address, []).append(then)
        self._asked.set()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_links(), name="interfaces")
            group.create_task(self._answer(), name="routes")
            group.create_task(self._keep_told(), name="tables")

    async def _keep_links(self) -> None:
        while True:
            try:
                await self._follow_links()
            except (OSError, HungError) as error:
                # When reports were lost, which is ENOBUFS, the next dump has what they said.
                self._fail(str(error))
            await asyncio.sleep(RETRY_S)

    async def _follow_links(self) -> None:
        loop = asyncio.get_running_loop()
        with links.listener() as reports:
            deadline_s = 2 * links.DEADLINE_S
            self._links.take_dump(await in_thread(links.dump, timeout_s=deadline_s, what="listing the interfaces"))
            self._error = ""
            while True:
                self._links.take(await loop.sock_recv(reports, _ROOM))
                # Reports that are there already are returned at once, so without this a flood would hold the loop.
                await asyncio.sleep(0)

    def _fail(self, error: str) -> None:
        if error != self._error:
            self._error = error
            self._emit(NetworkUnwatched(error=error, retry_s=RETRY_S))

    async def _answer(self) -> None:
        while True:
            await self._asked.wait()
            addresses = tuple(islice(self._waiting, MOST_ROUTES))
            waiting = [self._waiting.pop(address) for address in addresses]
            if not self._waiting:
                self._asked.clear()
            try:
                found = await in_thread(
                    links.routes, addresses, timeout_s=links.DEADLINE_S, what="asking for the routes to real servers"
                )
            except (OSError, HungError):
                found = {}
            now = self._clock()
            self._routes = {each: route for each, route in self._routes.items() if now - route.asked <= ROUTE_S}
            self._routes.update({address: _Route(found.get(address, 0), now) for address in addresses})
            async for then in paced([then for those in waiting for then in those]):
                then()

    async def _keep_told(self) -> None:
        while True:
            self._overflows.turn()
            self._tell((*self._overflows.ongoing(), *self._links_ongoing()))
            await asyncio.sleep(EVERY_S)

    def _links_ongoing(self) -> list[str]:
        """Return the faults of interfaces that probes meet. A container bridge without containers is no fault."""
        recent = self._clock() - BLAMED_S
        self._blamed = {fault: at for fault, at in self._blamed.items() if at >= recent}
        return [fault for fault in self._links.ongoing() if fault in self._blamed]

    def _tell(self, faults: tuple[str, ...]) -> None:
        now = self._clock()
        for fault in faults:
            if fault not in self._told:
                self._told[fault] = now
                self._emit(NetworkImpaired(fault=fault))
        for fault in [fault for fault in self._told if fault not in faults]:
            since = self._told.pop(fault)
            self._emit(NetworkRecovered(fault=fault, after_s=round(now - since, 3)))
