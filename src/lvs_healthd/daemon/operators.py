"""Carries out what operators order about servers: drain, disable, enable, weight. Keeps it, and ends it on time.

An order is written to its file before it takes effect, so that a crash cannot forget it.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from lvs_healthd.api.peers import Peer
from lvs_healthd.config.model import Config
from lvs_healthd.daemon.drains import Drains, drain_advice
from lvs_healthd.daemon.fleet_writes import OrdersChangedError, Seen
from lvs_healthd.daemon.lacking import lacking
from lvs_healthd.daemon.meant import meant_absent, meant_servers
from lvs_healthd.daemon.order_changes import Change, Giver, RefusedOrderError, change_of, still_ordered
from lvs_healthd.daemon.orders_file import OrdersFile
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ServerState
from lvs_healthd.decide.overrides import Overrides, about, in_words, names_of
from lvs_healthd.events.kinds import (
    Event,
    OverrideEnded,
    OverrideEnding,
    OverrideSet,
    StateError,
)
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.plan.precedence import Special
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.runtime.exceptions import HealthdError
from lvs_healthd.runtime.pace import paced
from lvs_healthd.runtime.threads import HungError
from lvs_healthd.state.fleet_orders import in_force, key_of
from lvs_healthd.state.overrides import Kind, Override
from lvs_healthd.state.safe_file import StateFileError
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.override_values import OverriddenServer, OverrideOutcome, OverrideRequest


class FleetWide(Protocol):
    """Carries out orders for the whole fleet; implemented by `FleetOrders`."""

    @property
    def name(self) -> str:
        """How this director is called in the fleet."""

    @property
    def seen(self) -> Seen:
        """What of etcd is in force here."""

    async def order(self, change: Change, why: str, seen: Seen) -> None:
        """Have all directors take what an order changes, and wait until it counts here. Raises `HealthdError`.

        why: who has ordered it.
        seen: what it was made from. `OrdersChangedError` is raised if somebody else has ordered something since.
        """

    async def catch_up(self, seen: Seen) -> None:
        """Wait until something else is in force than was seen. Raises `HealthdError`."""

    def is_lost(self, override: Override) -> bool:
        """Return whether etcd has an order no more, though nobody has ended it."""


class _Plan(NamedTuple):
    """What an order is about, and what it changes."""

    servers: list[ServerState]
    absent: list[Override]
    """The orders that it ends about servers that are not configured."""
    change: Change
    before: dict[tuple[ServiceKey, DestinationKey], Special | None]
    """What set each of the servers apart before."""
    was_lost: bool
    """Whether it ends an order that etcd had lost."""


ALSO_LOST = "etcd had lost the order: it may still count on other directors, so type the same there"


class OperatorsHand:
    """Carries out orders.

    fleet: carries out those for the whole fleet.
    file: returns the path of the file that keeps them, and None in shadow mode, in which there are none.
    replan: brings the wanted table up to date.
    wall: Unix time, seconds.
    """

    def __init__(
        self,
        decisions: Decisions,
        reconciler: Reconciler,
        emit: Callable[[Event], None],
        *,
        fleet: FleetWide,
        file: Callable[[], Path | None],
        replan: Callable[[], None],
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._decisions = decisions
        self._overrides: Overrides = decisions.overrides
        self._drains = Drains(decisions, reconciler, emit, replan=replan, clock=clock)
        self._emit = emit
        self._fleet = fleet
        self._file = file
        self._replan = replan
        self._wall = wall
        self._turn = asyncio.Lock()
        """Whoever changes the orders has it, because writing the file takes a while."""
        self._disk = OrdersFile()
        self._kept_in: Path | None = None
        """The file that keeps the orders in force; None while there is none."""
        self._error = ""
        """Why the file could not be written last when an order ended; empty if it could."""

    async def load(self) -> None:
        """Read the orders at start. A file that cannot be used is reported, and then there are none.

        Raises `HungError` when reading takes too long, because nobody who was drained may be put back.
        """
        file = self._file()
        if file is not None:
            await self._load(file)

    async def move(self, file: Path | None) -> None:
        """Keep the orders in this file from now on. The old one is left as it is.

        file: None in shadow mode. If the daemon began in shadow mode, the orders that the file holds come into force.
        """
        async with self._turn:
            before = self._kept_in
            if file is None or file == before:
                return
            if before is None:
                try:
                    await self._load(file)
                except HungError as error:
                    self._emit(StateError(file=str(file), error=str(error)))
                await self._take_effect(self._overrides)
                return
            self._kept_in = file
            if not self._overrides.own:
                return
            try:
                await self._disk.write(file, self._overrides.own)
            except HealthdError as error:
                self._emit(StateError(file=str(file), error=str(error)))

    async def _load(self, file: Path) -> None:
        self._kept_in = file
        try:
            kept = await self._disk.read(file)
        except StateFileError as error:
            self._emit(StateError(file=str(file), error=str(error)))
            return
        self._overrides.replace((*(each for each in kept if not each.director), *self._overrides.shared))

    async def order(self, request: OverrideRequest, by: Peer) -> OverrideOutcome:
        """Carry out an order. Return what came of it."""
        try:
            if request.fleet:
                plan = await self._for_fleet(request, by)
            else:
                async with self._turn:
                    plan = self._planned(request, by)
                    await self._carry_out(plan, f"{request.verb} by uid {by.uid}")
        except (UnknownNameError, RefusedOrderError, HealthdError) as error:
            return OverrideOutcome(refused=str(error), is_usage=isinstance(error, UnknownNameError))
        return OverrideOutcome(
            servers=tuple(self._described(plan.before)),
            advice=(
                *(drain_advice(plan.servers) if request.verb == "drain" else ()),
                *(f"{each.server} is not configured now; it is not {in_words(each)} any more" for each in plan.absent),
                *((ALSO_LOST,) if plan.was_lost else ()),
                *still_ordered(self._overrides, request, plan.servers),
                *(self._still_drained(plan.servers) if request.verb == "enable" else ()),
            ),
        )

    async def _for_fleet(self, request: OverrideRequest, by: Peer) -> "_Plan":
        """Have the whole fleet take an order. What somebody else has ordered meanwhile is taken into account once.

        It comes into force by `share`, as on all other directors. So the turn is left before that.
        """
        for is_last in (False, True):
            async with self._turn:
                plan, seen = self._planned(request, by), self._fleet.seen
            try:
                await self._fleet.order(plan.change, f"{request.verb} by uid {by.uid}", seen)
            except OrdersChangedError:
                if is_last:
                    raise
                await self._fleet.catch_up(seen)
            else:
                return plan
        raise AssertionError("the last one returns or raises")

    def _planned(self, request: OverrideRequest, by: Peer) -> "_Plan":
        """Return what an order is about and changes. Raises `UnknownNameError` and `RefusedOrderError`."""
        self._file_of_orders()
        servers, absent = self._meant(request)
        giver = Giver(by.uid, self._fleet.name, self._wall())
        change = Change([], absent) if absent else change_of(self._overrides, request, servers, giver)
        if not request.force and (bereft := list(lacking(servers, self._after(change)))):
            raise RefusedOrderError(f"this would leave {' and '.join(bereft)}; --force if that is meant")
        before = {(server.service.key, server.key): server.special for server in servers}
        return _Plan(servers, absent, change, before, any(map(self._fleet.is_lost, change.removed)))

    def _file_of_orders(self) -> Path:
        """Return where orders are kept. Raises `RefusedOrderError` in shadow mode."""
        file = self._file()
        if file is None:
            raise RefusedOrderError("this daemon is in shadow mode: it writes nothing, so it takes no orders")
        return file

    async def _carry_out(self, plan: "_Plan", why: str) -> None:
        """Put an order for this director into force. Raises `HealthdError` if it cannot be kept."""
        await self._disk.write(self._file_of_orders(), self._after(plan.change).own)
        plan.change.apply(self._overrides)
        await self._tell(plan.change, lambda _: why)
        # A reload may have replaced the servers, or added some, while the file was written.
        await self._take_effect([*plan.change.put, *plan.change.removed])

    async def share(self, orders: Sequence[Override], why_of: Callable[[Override], str]) -> None:
        """Put orders into force in place of all others that the fleet shares.

        why_of: says why an order has ended.
        """
        async with self._turn:
            orders = in_force(orders, self._wall())  # one may have ended while this waited
            before = self._overrides.shared
            known, said = set(before), {key_of(each) for each in orders}
            put = [each for each in orders if each not in known]
            change = Change(put, [each for each in before if key_of(each) not in said])
            if put or change.removed:
                change.apply(self._overrides)
                await self._tell(change, why_of)
                await self._take_effect([*change.put, *change.removed])

    def _still_drained(self, servers: Iterable[ServerState]) -> Iterator[str]:
        """Say which servers files of the maintenance folder go on draining, each file and server once."""
        told = (self._overrides.maintenance.still_drained(each.key) for each in servers)
        yield from dict.fromkeys(filter(None, told))

    def _after(self, change: Change) -> Overrides:
        """Return what the orders in force will be."""
        after = Overrides(self._overrides.maintenance)
        after.replace(self._overrides)
        change.apply(after)
        return after

    def _meant(self, request: OverrideRequest) -> tuple[list[ServerState], list[Override]]:
        """Return the configured servers that an order is about, or the orders that it takes back about others."""
        try:
            return meant_servers(self._decisions.services, request), []
        except UnknownNameError:
            absent = meant_absent(self._decisions.services, self._overrides, request)
            if not absent:
                raise
            return [], absent

    def _described(
        self, before: Mapping[tuple[ServiceKey, DestinationKey], Special | None]
    ) -> Iterator[OverriddenServer]:
        """Say how servers stand now that an order has taken effect.

        before: what set each of them apart before.
        """
        known: dict[tuple[ServiceKey, DestinationKey], ServerState] = {}
        for key in {service for service, _ in before}:
            service = self._decisions.service(key)
            known |= {(key, server.key): server for server in (service.members if service is not None else ())}
        for place, was in before.items():
            if place in known:
                yield _described(known[place], known[place].special != was)

    async def turn(self) -> None:
        """End the orders whose time is over, tell of those that end soon, and see which drained servers are empty."""
        await self._mend()
        now = self._wall()
        if len(self._overrides):
            await self._look_at_ends(now)
        if len(self._overrides) or self._overrides.maintenance.folder.saved:
            await self._drains.turn(now)

    async def _look_at_ends(self, now: float) -> None:
        ending = self._overrides.ending(now)
        names = names_of(self._decisions.services, ending)
        for each in ending:
            self._emit(
                OverrideEnding(
                    kind=each.kind,
                    service=names[each.service],
                    server=each.server,
                    reason=each.reason,
                    uid=each.uid,
                    in_s=round((each.until or now) - now, 1),
                    director=each.director,
                )
            )
        if over := self._overrides.ended(now):
            await self._end(over)

    async def _mend(self) -> None:
        """Write the file again if something may be in it that was refused."""
        if not self._disk.is_doubtful or self._disk.is_busy:
            return
        async with self._turn:
            file = self._file()
            if file is not None:
                with contextlib.suppress(HealthdError):  # the next turn tries again
                    await self._disk.write(file, self._overrides.own)

    async def _end(self, over: list[Override]) -> None:
        """Let orders end, and have the file say so after that.

        What has ended has ended, however long the file takes: a restart would end it too, because the file says until
        when it holds.
        """
        change = Change([], over)
        change.apply(self._overrides)
        await self._tell(change, lambda _: "its time is over")
        await self._take_effect(over)
        if all(each.director for each in over):
            return
        async with self._turn:
            file, error = self._file(), ""
            if file is None:
                return
            try:
                await self._disk.write(file, self._overrides.own)
            except HealthdError as caught:
                error = str(caught)
            if error and error != self._error:
                self._emit(StateError(file=str(file), error=error))
            self._error = error

    async def _take_effect(self, orders: Iterable[Override]) -> None:
        """Let orders that were given or have ended count for the servers that they are about."""
        async for server in paced(list(about(self._decisions.services, orders))):
            if self._decisions.service(server.service.key) is not server.service:
                continue  # a reload has replaced it meanwhile, and then they count already
            state, _ = self._overrides.of(server.service.key, server.key)
            if state is None or state.kind is not Kind.DRAIN:
                self._overrides.filled(server.service.key, server.key)
            self._decisions.reconsider([server])
        self._replan()

    async def _tell(self, change: Change, why_of: Callable[[Override], str]) -> None:
        now = self._wall()
        names = names_of(self._decisions.services, [*change.removed, *change.put])
        async for each in paced(change.removed):
            self._emit(
                OverrideEnded(
                    kind=each.kind,
                    service=names[each.service],
                    server=each.server,
                    why=why_of(each),
                    after_s=round(now - each.since, 1),
                    director=each.director,
                )
            )
        async for each in paced(change.put):
            self._emit(
                OverrideSet(
                    kind=each.kind,
                    service=names[each.service],
                    server=each.server,
                    weight=each.weight,
                    reason=each.reason,
                    uid=each.uid,
                    until="" if each.until is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(each.until)),
                    director=each.director,
                )
            )


def _described(server: ServerState, changed: bool) -> OverriddenServer:  # noqa: FBT001
    apart = server.special
    return OverriddenServer(
        service=server.service.config.name,
        server=str(server.key),
        verdict=server.health.verdict,
        state="" if apart is None or apart.state is None else apart.state,
        weight=server.config.weight if apart is None else apart.weight,
        was_changed=changed,
    )


def overrides_file(config: Config) -> Path:
    """Return the path of the file with the orders."""
    return Path(config.daemon.overrides or Path(config.daemon.state).with_name("overrides.json"))
