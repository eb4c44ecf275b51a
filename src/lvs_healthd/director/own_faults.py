"""Watches for faults of the director's own network that make healthy servers seem dead, and reports them.

A broken interface, or a full table of the kernel, makes the probes of healthy servers fail. `decide.blame` asks here
whether there was such a fault during a probe. Only this process's network namespace is watched, because probes run in
it.
"""

import asyncio
from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from lvs_healthd.director import links
from lvs_healthd.director.links import Links
from lvs_healthd.director.overflows import EVERY_S, Overflows
from lvs_healthd.events.kinds import Event, NetworkImpaired, NetworkRecovered, NetworkUnwatched
from lvs_healthd.runtime.moments import until_next_moment
from lvs_healthd.runtime.pace import paced
from lvs_healthd.runtime.threads import HungError, in_thread

RETRY_S = 2.0
"""How long to wait before watching the interfaces again after an error, or after reports were lost, seconds."""

IMPORT_S = 60.0
"""How long the import of pyroute2 may take, seconds."""

ROUTE_S = 5.0
"""For how long the interface of a target's route is remembered, seconds."""

MOST_ROUTES = 256
"""How many routes a thread asks for in one go. That takes about 0.1 s."""

BLAMED_S = 60.0
"""A broken interface is not reported any more when no probe has failed because of it for this long, seconds."""

_ROOM = 65536
"""The most bytes that one read of reports takes."""


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
        """The addresses whose routes have still to be asked for, each with the callbacks that wait for it."""
        self._asked = asyncio.Event()
        self._blamed: dict[str, float] = {}
        """The faults of interfaces that probes met, each with the last time of that."""
        self._told: dict[str, float] = {}
        """The faults that are reported and not over, each with the time of its report."""
        self._error = ""

    @property
    def ongoing(self) -> tuple[str, ...]:
        """The faults that are there now, in words."""
        return tuple(self._told)

    @property
    def full_tables(self) -> tuple[str, ...]:
        """The tables of the kernel that are full now, in words."""
        return self._overflows.ongoing()

    def is_ours(self, address: str) -> bool:
        """Whether an address is one of the director's own."""
        return self._links.is_ours(address)

    def table(self, address: str, began: float, now: float) -> str:
        """Return in words which of the kernel's tables was too full for a probe of `address`; "" if none was.

        began, now: when the probe began and ended, seconds on the monotonic clock.
        """
        return self._overflows.during(address, began, now)

    def link(self, address: str, began: float, interface: str = "") -> str | None:
        """Return in words what is, or was since `began`, wrong with our interface towards `address`; "" if nothing.

        began: seconds on the monotonic clock.
        interface: the name of the interface; "" for that of the route to `address`.

        None means that the kernel must be asked for the route first: see `ask`.
        """
        if not self._links.broken(began):
            return ""
        now = self._clock()
        found = self._links.named(interface, began) if interface else self._links.on_link(address, began)
        if not found and not interface:
            route = self._routes.get(address)
            if route is None or now - route.asked > ROUTE_S:
                return None
            found = self._links.trouble(route.interface, began)
        if found:
            self._blamed[found] = now
        return found

    def ask(self, address: str, then: Callable[[], None]) -> None:
        """Have the kernel asked for the route to `address`. Call `then` when `link` knows the answer."""
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
                await in_thread(links.parser, timeout_s=IMPORT_S, what="importing pyroute2")
                await self._follow_links()
            except (OSError, HungError) as error:
                # The error ENOBUFS means that reports were lost. The next dump contains what they said.
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
                # `sock_recv` returns reports that are already there at once. Without this line, a flood of them would
                # keep the event loop from everything else.
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
            await until_next_moment(EVERY_S)

    def _links_ongoing(self) -> list[str]:
        """Return the faults of interfaces that probes have met lately.

        Other broken interfaces are no fault: a container bridge without containers has no carrier.
        """
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
