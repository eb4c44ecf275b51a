"""What etcd says of services: what of it is in force, what it says now, and what is told about it.

It comes into force as a reload does (see `reload`), never by another way. Whatever goes wrong with etcd changes
nothing: what it said last stays in force, and survives a restart in a file of its own.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.stored import FOLDER, Stored
from lvs_healthd.daemon.own_file import RETRY_S, OwnFile
from lvs_healthd.daemon.store_asked import asked, stored_of
from lvs_healthd.daemon.store_follower import StoreFollower
from lvs_healthd.events.kinds import (
    Event,
    StoreChanged,
    StoreFailed,
    StoreHeld,
    StoreRecovered,
)
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.runtime.moments import next_moment
from lvs_healthd.state.file import Ours, Saved, SharedService
from lvs_healthd.state.stored import SavedStore, store_beside, write_store
from lvs_healthd.store.errors import StoreError
from lvs_healthd.store.following import Snapshot
from lvs_healthd.view.store_values import StoreStatus

TURN_S = 1.0
"""The time between two turns while nothing happens, seconds."""

ROUNDS_UNTOLD = 2
"""Every server must have failed so often in a row before that is told. A restart of one is nothing to tell of."""

MOST_NAMED = 20
"""How many keys, or mistakes, an event names at most."""

IF_MEANT = "lvs-healthd reload --force"
"""What to type if what etcd says is meant although it is held."""


class Desired:
    """What etcd says.

    emit: receives the events.
    ask: asks for what is ready (`ready`) to be put into force.
    besides: returns what else is wrong with etcd, in words; "" if nothing is.
    clock: monotonic time, seconds.
    wall: Unix time, seconds.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        *,
        ask: Callable[[], None],
        besides: Callable[[], str] = lambda: "",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._emit = emit
        self._ask = ask
        self._besides = besides
        self._clock = clock
        self._wall = wall
        self._fleet = Fleet()
        self.stored: Stored | None = None
        """What it says that is in force; None if there is no etcd, or nothing is known of what it says."""
        self._changed = 0.0
        self._found: Stored | None = None
        """What it says now if that is not in force; None if it is."""
        self._is_new = False
        """Whether nobody has decided yet whether that may come into force."""
        self._held = ""
        self._refused: tuple[str, ...] = ()
        """What is wrong with what it says now."""
        self._not_before = 0.0
        """When that may be tried again, monotonic seconds."""
        self._away = ""
        """Why no server answers; "" while one does."""
        self._heard: float | None = None
        self._told: tuple[str, ...] = ()
        self._since: float | None = None
        """Since when it is held, wrong or away, Unix time; None if it is none of these."""
        self.aside = Saved()
        """What was ours in the kernel's table before the start, and is not configured, while nothing is known of etcd:
        it may be configured there. So it is left alone."""
        self.file: OwnFile[SavedStore] = OwnFile(store_beside, write_store, emit, clock)
        """Keeps what etcd said over a restart."""
        self._follower = StoreFollower(FOLDER, take=self.take, heard=self.hear, failed=self.lose)
        self._woken = asyncio.Event()

    # Its part in a start and in reloads.

    async def offered(self, fleet: Fleet, file: str, *, force: bool) -> Sequence[Stored | None]:
        """Return what etcd may say in a new configuration, the best first; None for nothing. It is never empty.

        file: the configuration's path, for the error.
        force: whether what is held is meant.

        Raises `ConfigError` if the etcd is a new one and does not answer. One that never has may go on so.
        """
        if not fleet.store:
            return [None]
        is_same = bool(self._fleet.store) and fleet.prefix == self._fleet.prefix
        found = self._found if force or not self._held else None
        if is_same and (self._found is not None or self.stored is not None):
            # The last one may be None: what it says first of all is wrong, or held, and the files must not wait for it.
            return [self.stored] if found is None else [found, self.stored]
        try:
            answer = await asked(fleet)
        except StoreError as error:
            if is_same:
                return [None]
            raise ConfigError((f"{file}: fleet.store: nothing is known of what etcd says: {error}",)) from error
        # As in `take`: an etcd without any service is no reason to take out what may have been there.
        return [None if self.aside.owned and not answer.services and not force else answer]

    def configured(
        self, fleet: Fleet, stored: Stored | None, state: str, *, shadow: bool, changed: float = 0.0
    ) -> None:
        """Take over a configuration that is in force from now on.

        stored: what etcd says in it; None if nothing is known, or there is no etcd.
        state: the path of the state file.
        shadow: whether nothing is to be written.
        changed: since when that is in force, Unix time, if it was so before a restart already; 0 for now.
        """
        if fleet.prefix != self._fleet.prefix or not fleet.store:
            self.stored, self._found, self._held, self._is_new = None, None, "", False
        if fleet != self._fleet:
            self._away, self._refused, self._heard = "", (), None
            self._end()
        self.file.is_unsaved |= self.file.configured(state, shadow=shadow)
        self._fleet = fleet
        self._follower.follow(fleet)
        # What it says may fit this configuration.
        self._refused, self._not_before, self._is_new = (), 0.0, self._found is not None
        if stored is not None:
            self.accept(stored, changed)
        self._woken.set()

    def ready(self) -> Stored | None:
        """Return what may come into force now; None if nothing may."""
        return self._found if self._is_new and self._clock() >= self._not_before else None

    def accept(self, stored: Stored, changed: float = 0.0) -> None:
        """Note that what etcd says is in force. The arguments are those of `configured`."""
        before, was_held, self.stored = self.stored, bool(self._held), stored
        if before is None or stored.values != before.values:
            self._changed = changed or self._wall()
            self.file.is_unsaved |= not changed
            if not changed and (before is not None or stored.values):
                self._emit(self._difference(before, stored, was_held=was_held))
        if self._found is not None and self._found.values == stored.values:
            self._is_in_force()

    def _difference(self, before: Stored | None, after: Stored, *, was_held: bool) -> StoreChanged:
        old, begin = {} if before is None else before.values, f"{after.prefix}{FOLDER}"
        written = [key.removeprefix(begin) for key, value in after.values.items() if old.get(key) != value]
        deleted = [key.removeprefix(begin) for key in old if key not in after.values]
        return StoreChanged(
            prefix=after.prefix,
            revision=after.revision,
            services=len(after.services),
            written=tuple(written[:MOST_NAMED]),
            written_count=len(written),
            deleted=tuple(deleted[:MOST_NAMED]),
            deleted_count=len(deleted),
            accepted=was_held,
        )

    def refuse(self, errors: Iterable[str]) -> None:
        """Note that what etcd says now is wrong, or does not fit the configuration."""
        self._refused, self._held, self._is_new = tuple(errors), "", False
        self._fail(self._refused)

    def put_off(self, why: str) -> None:
        """Note that what etcd says could not come into force because of something else. It is tried again later."""
        self._not_before = self._clock() + RETRY_S
        self._fail((why,))

    def hold(self, reason: str) -> None:
        """Note that what etcd says now does not come into force unless an operator says that it is meant."""
        was_held, self._held, self._is_new = self._held, reason, False
        self._begin()
        if not was_held:
            self._emit(
                StoreHeld(
                    prefix=self._fleet.prefix,
                    revision=0 if self._found is None else self._found.revision,
                    services=0 if self.stored is None else len(self.stored.services),
                    reason=reason,
                    todo=IF_MEANT,
                )
            )

    def set_aside(self, saved: Saved, configured: Collection[ServiceKey]) -> Saved:
        """Return what a start takes over of what was ours: only what is configured, if nothing is known of etcd.

        configured: the services that are.
        """
        if not self._fleet.store or self.stored is not None:
            return saved
        marks = {lease.number for lease in saved.path_marks}
        left = [key for key in saved.owned if key not in configured and key.fwmark not in marks]
        shared = [each for each in saved.shared if each.service in left]
        self.aside = Saved(owned=tuple(left), shared=tuple(shared))
        return msgspec.structs.replace(
            saved,
            owned=tuple(key for key in saved.owned if key not in left),
            shared=tuple(each for each in saved.shared if each not in shared),
        )

    def take_aside(self) -> Saved:
        """Return what was set aside, because it is known now what is configured."""
        aside, self.aside = self.aside, Saved()
        return aside

    def with_aside(self, ours: Ours) -> Ours:
        """Return what is ours, with what is set aside, so that another restart does not forget it."""
        shared: tuple[SharedService, ...] = (*ours.shared, *self.aside.shared)
        return msgspec.structs.replace(ours, services=ours.services | {*self.aside.owned}, shared=shared)

    # What it says now.

    def take(self, snapshot: Snapshot) -> None:
        """Take what etcd says now."""
        found = stored_of(self._fleet.prefix, snapshot)
        self._found, self._refused, self._not_before, self._is_new = found, (), 0.0, True
        if self.stored is not None and found.values == self.stored.values:
            self.stored = found
            self._is_in_force()
            return
        had = len(self.aside.owned) if self.stored is None else len(self.stored.services)
        if had and not found.services:
            self.hold(f"it has no service any more, and {had} before")
        self._woken.set()

    def hear(self) -> None:
        """Note that a server has answered."""
        self._heard, was_away, self._away = self._wall(), self._away, ""
        if was_away and not self._refused and not self._held:
            self._end()

    def lose(self, error: StoreError, failures: int) -> None:
        """Note that a server does not answer, or refuses.

        failures: how many have in a row.
        """
        if failures >= ROUNDS_UNTOLD * len(self._fleet.store):
            was_away, self._away = self._away, str(error)
            self._begin()
            if not was_away:
                self._fail((str(error),))

    def _is_in_force(self) -> None:
        self._found, self._held, self._refused, self._is_new = None, "", (), False
        if not self._away:
            self._end()

    def _fail(self, errors: tuple[str, ...]) -> None:
        """Tell what is wrong, unless that was told last."""
        self._begin()
        if errors != self._told:
            self._told = errors
            services = None if self.stored is None else len(self.stored.services)
            self._emit(StoreFailed(prefix=self._fleet.prefix, services=services, error=_joined(errors)))

    def _begin(self) -> None:
        if self._since is None:
            self._since = self._wall()

    def _end(self) -> None:
        since, self._since, self._told = self._since, None, ()
        if since is not None:
            after_s = round(max(0.0, self._wall() - since), 3)
            self._emit(StoreRecovered(prefix=self._fleet.prefix, after_s=after_s))

    # What is told of it.

    @property
    def status(self) -> StoreStatus | None:
        """What is known of it; None without one."""
        if not self._fleet.store:
            return None
        return StoreStatus(
            endpoints=self._fleet.store,
            prefix=self._fleet.prefix,
            services=None if self.stored is None else len(self.stored.services),
            revision=0 if self.stored is None else self.stored.revision,
            changed=None if self.stored is None else self._changed,
            heard=self._heard,
            held=self._held,
            error="; ".join(filter(None, (_joined(self._refused), self._away, self._besides()))),
            since=self._since,
            todo=IF_MEANT if self._held else "",
        )

    def key_of(self, service: str) -> str:
        """Return the key that a service comes from; "" if it is of the file."""
        return "" if self.stored is None else self.stored.key_of(service)

    # What runs.

    async def run(self) -> None:
        """Follow etcd, whichever is configured, until cancelled."""
        try:
            while True:
                self._woken.clear()
                await self._follower.turn()
                await self.turn()
                is_busy = self._fleet.store or (self.file.is_unsaved and self.stored is not None)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(next_moment(TURN_S) if is_busy else None):
                        await self._woken.wait()
        finally:
            await self._follower.stop()

    async def turn(self) -> None:
        """Ask for what is ready, and save what has come into force."""
        if self.ready() is not None:
            self._ask()
        await self.file.save_if_due(self._kept)

    async def save(self) -> None:
        """Write what is in force to the file, unless it is there already, or nothing is written."""
        await self.file.save(self._kept)

    def _kept(self) -> SavedStore | None:
        return None if self.stored is None else SavedStore(stored=self.stored, changed=self._changed)


def _joined(errors: tuple[str, ...]) -> str:
    more = (f"and {len(errors) - MOST_NAMED} more",) if len(errors) > MOST_NAMED else ()
    return "; ".join((*errors[:MOST_NAMED], *more))
