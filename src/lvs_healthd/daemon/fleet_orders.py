"""Knows what operators have ordered for the whole fleet: keys of etcd, which all its directors follow.

An order is written to etcd, and counts on each director when that hears of it, on the one where it was given too. Each
ends it by its own clock. Its key goes with a lease, if the order has an end, so that nothing is left in etcd.

Nothing waits for etcd. While it is away, what it said last stays in force, and survives a restart in a file of its own.
"""

import asyncio
import contextlib
import itertools
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.model import Config
from lvs_healthd.daemon.order_changes import Change
from lvs_healthd.daemon.own_file import OwnFile
from lvs_healthd.daemon.store_asked import client_of, name_of
from lvs_healthd.daemon.store_follower import StoreFollower
from lvs_healthd.events.kinds import Event, OverrideError, OverrideLost, StateError
from lvs_healthd.runtime.threads import HungError, in_thread
from lvs_healthd.state.fleet_orders import (
    FOLDER,
    SavedOrders,
    WrongOrderError,
    in_force,
    key_of,
    orders_beside,
    read_order,
    read_orders,
    write_orders,
    written,
)
from lvs_healthd.state.overrides import Override
from lvs_healthd.state.safe_file import StateFileError
from lvs_healthd.store.client import Client, Delete, Put
from lvs_healthd.store.errors import StoreError, UnansweredError
from lvs_healthd.store.following import Snapshot

TURN_S = 1.0
"""The time between two turns while nothing happens, seconds."""

READ_S = 20.0
"""How long reading the file may take, seconds."""

ORDER_S = 10.0
"""How long an order may take until it counts here, seconds. An operator waits for it."""

CLOCKS_S = 2.0
"""How much earlier than here the end of a lease may be in etcd, seconds, because clocks differ."""

MOST_AT_ONCE = 3000
"""About how many servers an order may be: etcd takes it as one transaction."""

MOST_NAMED = 20
"""How many orders an event names at most."""

NO_STORE = "no etcd is configured ([fleet] store), so an order cannot be for the whole fleet; leave --fleet out"

Share = Callable[[Sequence[Override], Callable[[Override], str]], Awaitable[None]]
"""Puts these orders into force, in place of all others that the fleet shares. The function says why one has ended."""


class _Key(NamedTuple):
    """A key of etcd, and what it stands for."""

    value: bytes
    override: Override | None
    """None if nothing is known of that."""


class FleetOrders:
    """The orders that the fleet shares.

    emit: receives the events.
    share: puts them into force.
    clock: monotonic time, seconds.
    wall: Unix time, seconds.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        *,
        share: Share,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._emit = emit
        self._share = share
        self._wall = wall
        self._fleet = Fleet()
        self._had_store = False
        """Whether there has been an etcd since the start. If not, the file is left as it is."""
        self._keys: dict[str, _Key] = {}
        """What etcd says, by the names of the keys without prefix and folder."""
        self._lost: dict[str, Override] = {}
        """The orders in force that etcd has no more, though nobody has ended them."""
        self._cluster = self._revision = 0
        """Where and when it said so; 0 if that is not known."""
        self._is_new = False
        """Whether that has to be put into force."""
        self._why: dict[str, str] = {}
        """Who has ended orders on this director, by the names of their keys."""
        self._taken = asyncio.Condition()
        """Is told whenever something has come into force."""
        self._taken_revision = 0
        self._taken_values: dict[str, bytes] = {}
        """When etcd said what is in force here, and its values."""
        self.file: OwnFile[SavedOrders] = OwnFile(orders_beside, write_orders, emit, clock)
        """Keeps what etcd said over a restart."""
        self._follower = StoreFollower(FOLDER, take=self.take, heard=_nothing, failed=_failed)
        self._woken = asyncio.Event()

    @property
    def name(self) -> str:
        """How this director is called in the fleet."""
        return name_of(self._fleet)

    # Its part in a start and in reloads.

    async def load(self, config: Config) -> list[Override]:
        """Return what was in force before the start. A file that cannot be read is reported, and holds nothing."""
        path = self.file.path(config.daemon.state)
        if not config.fleet.store:
            return []
        try:
            saved = await in_thread(read_orders, path, timeout_s=READ_S, what=f"reading {path}")
        except (StateFileError, HungError) as error:
            self._emit(StateError(file=str(path), error=str(error)))
            return []
        if saved is None or saved.prefix != config.fleet.prefix:
            return []
        self._keys = {key_of(each): _Key(b"", each) for each in saved.overrides}
        self._cluster, self._revision = saved.cluster, saved.revision
        return self._in_force()

    def configured(self, config: Config, *, shadow: bool, force: bool = False) -> None:
        """Take over a configuration that is in force from now on.

        shadow: whether nothing is to be written.
        force: whether what etcd says is meant, also what it says no more.
        """
        self.file.is_unsaved |= self.file.configured(config.daemon.state, shadow=shadow)
        before, self._fleet = self._fleet, config.fleet
        self._had_store |= bool(self._fleet.store)
        if before.store and before.prefix != self._fleet.prefix:
            # What the old one said stays in force until the new one is heard.
            self._cluster = self._revision = 0
        if not self._fleet.store:
            self._is_new = bool(self._keys or self._lost)
            self._keys, self._lost = {}, {}
        if force and self._lost:
            self._lost, self._is_new = {}, True
        self._follower.follow(self._fleet)
        self._woken.set()

    # What etcd says.

    def take(self, snapshot: Snapshot) -> None:
        """Take what etcd says now."""
        begin = f"{self._fleet.prefix}{FOLDER}"
        before, self._keys, wrong = self._keys, {}, []
        for key, value in snapshot.values.items():
            name = key.decode("utf-8", "backslashreplace").removeprefix(begin)
            self._keys[name], error = _read(name, value, before.get(name))
            if error:
                wrong.append((f"{begin}{name}", error))
        for key_name, error in wrong[:MOST_NAMED]:
            self._emit(OverrideError(key=key_name, error=error, todo=f"etcdctl del '{key_name}'"))
        is_other = self._cluster not in {0, snapshot.cluster} or snapshot.revision < self._revision
        lost = {name: each.override for name, each in before.items() if each.override and name not in self._keys}
        if is_other and (gone := {key_of(each): each for each in in_force(lost.values(), self._wall())}):
            self._lost |= gone
            todo = f"order it again with --fleet, or, if it is meant to be over, {_IF_MEANT} on each director"
            self._emit(OverrideLost(orders=tuple(itertools.islice(gone, MOST_NAMED)), count=len(gone), todo=todo))
        self._lost = {name: each for name, each in self._lost.items() if name not in self._keys}
        self._cluster, self._revision = snapshot.cluster, snapshot.revision
        self._is_new = True
        self._woken.set()

    def _in_force(self) -> list[Override]:
        said = (each.override for each in self._keys.values())
        return in_force([*filter(None, said), *self._lost.values()], self._wall())

    def is_lost(self, override: Override) -> bool:
        """Return whether etcd has an order no more, though nobody has ended it."""
        return bool(self._lost) and self._lost.get(key_of(override)) == override

    # What is ordered here.

    async def order(self, change: Change, why: str) -> None:
        """Write to etcd what an order changes, and wait until it counts here. Raises `StoreError`.

        why: who has ordered it.
        """
        if not self._fleet.store:
            raise StoreError(NO_STORE)
        if len(change.put) + len(change.removed) > MOST_AT_ONCE:
            raise StoreError(f"an order for the whole fleet may be about {MOST_AT_ONCE} servers; order it in parts")
        self._why |= {key_of(each): why for each in change.removed}
        for each in change.removed:
            if self._lost.pop(key_of(each), None) is not None:
                self._is_new = True
        try:
            async with asyncio.timeout(ORDER_S):
                revision = await self._write(change)
                self._woken.set()
                async with self._taken:
                    await self._taken.wait_for(lambda: self._has_taken(change, revision))
        except TimeoutError:
            raise StoreError(
                f"nothing was heard of it in {ORDER_S:g}s; it may come into force yet: lvs-healthd status --overrides"
            ) from None

    def _has_taken(self, change: Change, revision: int) -> bool:
        """Return whether a change counts here, or one that came after it."""
        values = self._taken_values
        is_there = all(values.get(key_of(each)) == written(each) for each in change.put)
        is_there &= not any(key_of(each) in values for each in change.removed)
        return not self._is_new and (is_there or self._taken_revision >= revision)

    async def _write(self, change: Change) -> int:
        """Write to whichever server answers. Return the revision at which it is there."""
        client, errors = client_of(self._fleet), list[StoreError]()
        try:
            for _ in self._fleet.store:
                try:
                    return await self._write_to(client, change)
                except UnansweredError as error:
                    errors.append(error)
                    client.go_on()
        finally:
            await client.close()
        raise StoreError("; ".join(map(str, errors)))

    async def _write_to(self, client: Client, change: Change) -> int:
        begin = f"{self._fleet.prefix}{FOLDER}"
        lasts_s = min((each.until - self._wall() for each in change.put if each.until is not None), default=None)
        lease = 0 if lasts_s is None else (await client.grant(max(1, math.ceil(lasts_s)))).ID
        puts = [Put(f"{begin}{key_of(each)}".encode(), written(each), lease) for each in change.put]
        deletes = [Delete(f"{begin}{key_of(each)}".encode()) for each in change.removed]
        return (await client.transact([], [*puts, *deletes])).header.revision

    # What runs.

    async def run(self) -> None:
        """Follow etcd, whichever is configured, until cancelled."""
        try:
            while True:
                self._woken.clear()
                await self._follower.turn()
                await self.turn()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TURN_S if self._fleet.store or self.file.is_unsaved else None):
                        await self._woken.wait()
        finally:
            await self._follower.stop()

    async def turn(self) -> None:
        """Put into force what etcd says, and save it."""
        if self._is_new:
            self._is_new = False
            state = self._in_force(), self._revision, {name: each.value for name, each in self._keys.items()}
            await self._share(state[0], self._why_of)
            self.file.is_unsaved = True
            _, self._taken_revision, self._taken_values = state
            async with self._taken:
                self._taken.notify_all()
        await self.file.save_if_due(self._kept)

    def _why_of(self, override: Override) -> str:
        """Say why an order has ended."""
        is_over = override.until is not None and override.until <= self._wall() + CLOCKS_S
        return self._why.pop(key_of(override), "its time is over" if is_over else "ended for the whole fleet")

    async def save(self) -> None:
        """Write what etcd said to the file, unless it is there already, or nothing is written."""
        await self.file.save(self._kept)

    def _kept(self) -> SavedOrders | None:
        if not self._had_store:
            return None
        return SavedOrders(
            prefix=self._fleet.prefix,
            cluster=self._cluster,
            revision=self._revision,
            overrides=tuple(self._in_force()),
        )


def _read(name: str, value: bytes, before: _Key | None) -> tuple[_Key, str]:
    """Return what a key stands for, and what is wrong with it if that is new.

    name: its name without prefix and folder.
    before: what it stood for before; None for nothing.
    """
    if before is not None and before.value == value:
        return before, ""
    try:
        return _Key(value, read_order(name, value)), ""
    except WrongOrderError as error:
        return _Key(value, None if before is None else before.override), str(error)


_IF_MEANT = "lvs-healthd reload --force"


def _nothing() -> None:
    """Do nothing: `Desired` tells whether etcd answers."""


def _failed(_: StoreError, __: int) -> None:
    """Do nothing: `Desired` tells why etcd does not answer."""
