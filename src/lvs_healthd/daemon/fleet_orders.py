"""Knows what operators have ordered for the whole fleet: keys of etcd, which all its directors follow.

An order is written to etcd, and counts on each director when that hears of it, on the one where it was given too. Each
ends it by its own clock. Its key goes with a lease, if the order has an end, so that nothing is left in etcd.

Nothing waits for etcd. While it is away, what it said last stays in force, and survives a restart in a file of its own.
An etcd that has lost orders (another one, or one that was restored) does not end them either.
"""

import asyncio
import contextlib
import itertools
import shlex
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.model import Config
from lvs_healthd.daemon.fleet_writes import PERHAPS, Seen, write
from lvs_healthd.daemon.order_changes import Change
from lvs_healthd.daemon.own_file import OwnFile
from lvs_healthd.daemon.store_asked import name_of
from lvs_healthd.daemon.store_follower import StoreFollower
from lvs_healthd.events.kinds import Event, OverrideError, OverrideLost, StateError, StoreFailed, StoreRecovered
from lvs_healthd.runtime.moments import until_next_moment
from lvs_healthd.runtime.printable import printable
from lvs_healthd.runtime.threads import in_thread
from lvs_healthd.state.fleet_orders import (
    FOLDER,
    ID,
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
from lvs_healthd.store.errors import RefusedError, StoreError
from lvs_healthd.store.following import Snapshot

TURN_S = 1.0
"""The time between two turns while nothing happens, seconds."""

READ_S = 20.0
"""How long reading the file may take, seconds."""

ORDER_S = 10.0
"""How long an order may take until it counts here, seconds. An operator waits for it."""

CLOCKS_S = 2.0
"""How much earlier than here the end of a lease may be in etcd, seconds, because clocks differ."""

MOST_NAMED = 20
"""How many orders an event names at most."""

LONGEST_KEY = 200
"""How many characters of a key are shown at most."""

ROUNDS_UNTOLD = 2
"""Every server must have refused so often in a row before that is told."""

NO_STORE = "no etcd is configured ([fleet] store), so an order cannot be for the whole fleet; leave --fleet out"

AGAIN = "order it again with --fleet, or end it on each director by lvs-healthd enable (or weight auto) with --fleet"

Share = Callable[[Sequence[Override], Callable[[Override], str]], Awaitable[None]]
"""Puts these orders into force, in place of all others that the fleet shares. The function says why one has ended."""


class _Key(NamedTuple):
    """A key of etcd, and what it stands for."""

    value: bytes | None
    """None if it is not known."""
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
        self._clock = clock
        self._wall = wall
        self._fleet = Fleet()
        self._had_store = False
        """Whether there has been an etcd since the start. If not, the file is left as it is."""
        self._keys: dict[str, _Key] = {}
        """What etcd says, by the names of the keys without prefix and folder."""
        self._lost: dict[str, Override] = {}
        """The orders in force that etcd has no more, though nobody has ended them."""
        self._id = ""
        self._cluster = self._revision = 0
        """Which etcd said so and when; "" and 0 if that is not known."""
        self._is_new = False
        """Whether that has to be put into force."""
        self._whys: dict[str, str] = {}
        """Who has ended orders on this director, by the names of their keys."""
        self._why = _ENDED
        """Why all others have ended."""
        self.seen = Seen()
        """What of etcd is in force."""
        self._values: Mapping[str, bytes | None] = {}
        """The values of the keys that are."""
        self._taken = asyncio.Condition()
        """Is told whenever something has come into force."""
        self.error = ""
        """Why etcd refuses to say what is ordered; "" if it does not."""
        self._failing_since: float | None = None
        """Monotonic seconds."""
        self.file: OwnFile[SavedOrders] = OwnFile(orders_beside, write_orders, emit, clock)
        """Keeps what etcd said over a restart."""
        self._follower = StoreFollower(FOLDER, take=self.take, heard=self.hear, failed=self.fail)
        self._woken = asyncio.Event()

    @property
    def name(self) -> str:
        """How this director is called in the fleet."""
        return name_of(self._fleet)

    # Its part in a start and in reloads.

    async def load(self, config: Config, *, shadow: bool) -> list[Override]:
        """Return what was in force before the start. A file that cannot be read is reported, and holds nothing.

        shadow: whether nothing is to be written.

        Raises `HungError` when reading takes too long, because nobody who was drained may be put back.
        """
        path = self.file.path(config.daemon.state)
        if not config.fleet.store:
            return []
        try:
            saved = await in_thread(
                lambda: read_orders(path, rescue=not shadow), timeout_s=READ_S, what=f"reading {path}"
            )
        except StateFileError as error:
            self._emit(StateError(file=str(path), error=str(error)))
            return []
        if saved is None or saved.prefix != config.fleet.prefix:
            return []
        self._keys = {key_of(each): _Key(None, each) for each in saved.overrides}
        self._lost = {key_of(each): each for each in saved.lost}
        self._id, self._cluster, self._revision = saved.id, saved.cluster, saved.revision
        # Those whose time is over too: the first turn ends them, and tells.
        return [*saved.overrides, *saved.lost]

    def configured(self, config: Config, *, shadow: bool) -> None:
        """Take over a configuration that is in force from now on.

        shadow: whether nothing is to be written.
        """
        self.file.is_unsaved |= self.file.configured(config.daemon.state, shadow=shadow)
        before, self._fleet = self._fleet, config.fleet
        self._had_store |= bool(self._fleet.store)
        if before.store and (before.prefix != self._fleet.prefix or not self._fleet.store):
            # What another prefix said stays in force until the new one is heard, and is no order of that.
            self._id, self._cluster, self._revision, self._lost = "", 0, 0, {}
            self._why = "this director follows other orders now"
        if not self._fleet.store:
            self._keys, self._is_new = {}, True
            self._why = "this director belongs to no fleet any more"
        if before != self._fleet:
            self._recover()
        self._follower.follow(self._fleet)
        self._woken.set()

    # What etcd says.

    def take(self, snapshot: Snapshot) -> None:
        """Take what etcd says now."""
        begin = f"{self._fleet.prefix}{FOLDER}"
        values = {
            key.decode("utf-8", "backslashreplace").removeprefix(begin): value for key, value in snapshot.values.items()
        }
        number = printable(values.pop(ID, b"").decode("ascii", "replace"))[:LONGEST_KEY]
        before, self._keys, wrong = self._keys, {}, []
        for name, value in values.items():
            self._keys[name], error = _read(name, value, before.get(name))
            if error:
                wrong.append((f"{begin}{name}", error))
        self._tell_wrong(wrong)
        is_other = bool(self._id) and number != self._id
        is_other |= self._cluster not in {0, snapshot.cluster} or snapshot.revision < self._revision
        if is_other:
            missing = (each.override for name, each in before.items() if name not in self._keys)
            self._keep({key_of(each): each for each in in_force(filter(None, missing), self._wall())})
        self._lost = {name: each for name, each in self._lost.items() if name not in self._keys}
        self._id, self._cluster, self._revision = number, snapshot.cluster, snapshot.revision
        self._is_new = True
        self._woken.set()

    def _keep(self, gone: Mapping[str, Override]) -> None:
        """Keep orders in force that etcd has lost."""
        if gone:
            self._lost |= gone
            names = tuple(itertools.islice(gone, MOST_NAMED))
            self._emit(OverrideLost(orders=names, count=len(gone), todo=AGAIN))

    def _tell_wrong(self, wrong: Sequence[tuple[str, str]]) -> None:
        for key, error in wrong[:MOST_NAMED]:
            is_plain = key.isascii() and key.isprintable() and len(key) <= LONGEST_KEY
            words = ["del", key] if is_plain else ["get", "--prefix", "--keys-only", f"{self._fleet.prefix}{FOLDER}"]
            todo = f"etcdctl {shlex.join(words)}"
            self._emit(OverrideError(key=printable(key)[:LONGEST_KEY], error=error, todo=todo))

    def hear(self) -> None:
        """Note that a server has answered."""
        self._recover()

    def fail(self, error: StoreError, failures: int) -> None:
        """Note that a server does not answer, or refuses. Whether they answer at all, `Desired` tells."""
        if isinstance(error, RefusedError) and failures >= ROUNDS_UNTOLD * len(self._fleet.store) and not self.error:
            self.error, self._failing_since = f"orders for the fleet: {error}", self._clock()
            self._emit(StoreFailed(prefix=f"{self._fleet.prefix}{FOLDER}", services=None, error=self.error))

    def _recover(self) -> None:
        since, self._failing_since, self.error = self._failing_since, None, ""
        if since is not None:
            after_s = round(self._clock() - since, 3)
            self._emit(StoreRecovered(prefix=f"{self._fleet.prefix}{FOLDER}", after_s=after_s))

    def is_lost(self, override: Override) -> bool:
        """Return whether etcd has an order no more, though nobody has ended it."""
        return bool(self._lost) and self._lost.get(key_of(override)) == override

    # What is ordered here.

    async def order(self, change: Change, why: str, seen: Seen) -> None:
        """Write to etcd what an order changes, and wait until it counts here. Raises `StoreError`.

        why: who has ordered it.
        seen: the value of `seen` when the order was made. If etcd has others by now, nothing is written, and
            `OrdersChangedError` is raised.
        """
        if not self._fleet.store:
            raise StoreError(NO_STORE)
        whys = {key_of(each): why for each in change.removed}
        self._whys |= whys
        try:
            async with asyncio.timeout(ORDER_S):
                revision = await write(self._fleet, change, seen, self._wall())
                self._forget(change.removed)
                self._woken.set()
                async with self._taken:
                    await self._taken.wait_for(lambda: self._has_taken(change, revision))
        except TimeoutError:
            raise StoreError(f"nothing was heard of it in {ORDER_S:g}s; {PERHAPS}") from None
        finally:
            self._whys = {name: each for name, each in self._whys.items() if name not in whys}

    def _forget(self, ended: Iterable[Override]) -> None:
        """Forget those of the orders that have ended which etcd had lost."""
        for each in ended:
            self._is_new |= self._lost.pop(key_of(each), None) is not None

    def _has_taken(self, change: Change, revision: int) -> bool:
        """Return whether a change counts here, or one that came after it."""
        is_there = all(self._values.get(key_of(each)) == written(each) for each in change.put)
        is_there &= not any(key_of(each) in self._values for each in change.removed)
        return not self._is_new and (is_there or self.seen.revision >= revision)

    async def catch_up(self, seen: Seen) -> None:
        """Wait until something else is in force than was seen. Raises `StoreError`."""
        try:
            async with asyncio.timeout(ORDER_S), self._taken:
                await self._taken.wait_for(lambda: self.seen != seen)
        except TimeoutError:
            raise StoreError("somebody has ordered something that is not heard here; try again") from None

    # What runs.

    async def run(self) -> None:
        """Follow etcd, whichever is configured, and save what it says, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="orders of etcd")
            group.create_task(self._save_in_time(), name="file of the fleet's orders")

    async def _follow(self) -> None:
        try:
            while True:
                self._woken.clear()
                await self._follower.turn()
                await self.turn()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(TURN_S if self._fleet.store else None):
                        await self._woken.wait()
        finally:
            await self._follower.stop()

    async def _save_in_time(self) -> None:
        # Apart from the rest, because a disk may hang.
        while True:
            await self.file.save_if_due(self._kept)
            await until_next_moment(TURN_S)

    async def turn(self) -> None:
        """Put into force what etcd says."""
        if not self._is_new:
            return
        self._is_new = False
        orders, seen = self._orders(), Seen(self._revision, self._id)
        values = {name: each.value for name, each in self._keys.items()}
        await self._share(orders, self._why_of)
        self.seen, self._values, self._why = seen, values, _ENDED
        self.file.is_unsaved = True
        async with self._taken:
            self._taken.notify_all()

    def _orders(self) -> list[Override]:
        said = filter(None, (each.override for each in self._keys.values()))
        return in_force([*said, *self._lost.values()], self._wall())

    def _why_of(self, override: Override) -> str:
        """Say why an order has ended."""
        is_over = override.until is not None and override.until <= self._wall() + CLOCKS_S
        return self._whys.get(key_of(override), "its time is over" if is_over else self._why)

    async def save(self) -> None:
        """Write what etcd said to the file, unless it is there already, or nothing is written."""
        await self.file.save(self._kept)

    def _kept(self) -> SavedOrders | None:
        if not self._had_store:
            return None
        # One whose time is over has been told as ended, though its key may be there still.
        said = in_force(filter(None, (each.override for each in self._keys.values())), self._wall())
        return SavedOrders(
            prefix=self._fleet.prefix,
            id=self._id,
            cluster=self._cluster,
            revision=self._revision,
            overrides=tuple(said),
            lost=tuple(in_force(self._lost.values(), self._wall())),
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


_ENDED = "ended for the whole fleet"
