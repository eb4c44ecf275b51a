"""Asks the sources of real servers again and again, and says which lists may come into force.

A list comes into force as a reload does (see `reload`), never by another way. Whatever goes wrong with a source changes
nothing: what it listed last stays in force, and survives a restart in a file of its own.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.model import Config, Service
from lvs_healthd.config.sources import Entry, Lists, Source, said
from lvs_healthd.daemon.own_file import FILE_S, RETRY_S, OwnFile
from lvs_healthd.daemon.sourced import Sourced
from lvs_healthd.discovery.listing import ListError
from lvs_healthd.discovery.reader import Reader
from lvs_healthd.events.kinds import Event, StateError
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.plan.records import service_key
from lvs_healthd.runtime.threads import HungError, in_thread
from lvs_healthd.state.listed import SavedList, lists_beside, read_lists, write_lists
from lvs_healthd.state.safe_file import StateFileError
from lvs_healthd.view.source_values import SourceStatus

TURN_S = 0.5
"""The time between two looks at a source, seconds."""

PER_SOURCE_S = 0.005
"""The least time for each source, seconds: with more than a hundred, all are looked at less often."""

FIRST_S = 5.0
"""How long a start or a reload waits for sources of which nothing is known, seconds."""

MOST_HUNG = 4
"""How many sources may keep a thread each because their file system hangs. Then no other is looked at."""


class Discovery:
    """The sources of the configuration in force, and what they list.

    emit: receives the events.
    ask: asks for lists that are ready (`ready`) to be put into force.
    read_with: returns a new reader of a source.
    clock: monotonic time, seconds.
    wall: Unix time, seconds.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        *,
        ask: Callable[[], None],
        read_with: Callable[[Source], Reader],
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._emit = emit
        self._ask = ask
        self._read_with = read_with
        self._clock = clock
        self._wall = wall
        self._sourced: dict[Source, Sourced] = {}
        self._saved: Mapping[Source, SavedList] = {}
        """What the file said at the start."""
        self.file: OwnFile[tuple[SavedList, ...]] = OwnFile(lists_beside, write_lists, emit, clock)
        """Keeps the lists over a restart."""
        self._woken = asyncio.Event()

    @property
    def lists(self) -> dict[Source, tuple[Entry, ...]]:
        """What each source lists that is in force. A source that has never listed anything is not in it."""
        return {source: each.entries for source, each in self._sourced.items() if each.entries is not None}

    async def remembered(self, state: str) -> None:
        """Read what the sources listed before a restart.

        state: the path of the state file.
        """
        path = self.file.path(state)
        try:
            self._saved = await in_thread(read_lists, path, timeout_s=FILE_S, what=f"reading {path}")
        except (StateFileError, HungError) as error:
            self._emit(StateError(file=str(path), error=str(error)))

    async def first(self, config: Config) -> dict[Source, tuple[Entry, ...]]:
        """Return what the sources list of which nothing is in force: as before the restart, or else as they say now.

        Lists without any server are left out, and so are sources that do not answer in time.
        """
        new = [source for source in _services(config) if source not in self.lists]
        known = {source: self._saved[source].entries for source in new if source in self._saved}
        asked = [source for source in new if source not in known]
        async with asyncio.TaskGroup() as group:
            answers = {source: group.create_task(self._first_of(source)) for source in asked[:MOST_HUNG]}
        for source in asked[MOST_HUNG:]:  # there are many, and the first ones say whether their file system hangs
            if any(task.result() is None for task in answers.values()):
                break
            known[source] = await self._first_of(source) or ()
        known |= {source: task.result() or () for source, task in answers.items()}
        return {source: entries for source, entries in known.items() if entries or source in self._saved}

    async def _first_of(self, source: Source) -> tuple[Entry, ...] | None:
        """Return what a source lists; nothing if that is wrong, which the next look tells; None if it hangs."""
        try:
            async with asyncio.timeout(FIRST_S):
                return await self._read_with(source).first()
        except ListError as error:
            return None if isinstance(error.__cause__, HungError) else ()
        except TimeoutError:
            return None

    def meant(self, config: Config) -> dict[Source, tuple[Entry, ...]]:
        """Return the lists of a configuration's sources that are held, for an operator who says that they are meant."""
        return {
            source: each.found
            for source in _services(config)
            if (each := self._sourced.get(source)) is not None and each.held and each.found is not None
        }

    def ready(self) -> dict[Source, tuple[Entry, ...]]:
        """Return the lists that may come into force now."""
        now = self._clock()
        return {
            source: each.found
            for source, each in self._sourced.items()
            if each.found is not None and not each.held and not each.is_refused and now >= each.not_before
        }

    def configured(self, config: Config, lists: Lists, state: str, *, shadow: bool) -> None:
        """Take over a configuration that is in force from now on.

        lists: what its sources list in it.
        state: the path of the state file.
        shadow: whether nothing is to be written.
        """
        services, guard = _services(config), config.daemon.reload_guard
        before, self._sourced = self._sourced, {}
        for source, names in services.items():
            each = before.get(source) or Sourced(source, self._read_with(source), self._emit, self._wall)
            each.services, each.share = names, guard
            each.reconsider()  # it may fit this configuration
            self._sourced[source] = each
            if source in lists:
                saved = self._saved.get(source) if each.entries is None else None
                self.file.is_unsaved |= each.entries is None or said(each.entries) != said(lists[source])
                each.accept(lists[source], None if saved is None else saved.changed)
            each.weigh()
        self._saved = {}
        is_other = self.file.configured(state, shadow=shadow) or before.keys() != services.keys()
        self.file.is_unsaved |= is_other and bool(before or services)
        self._woken.set()

    def accepted(self, lists: Lists) -> None:
        """Note that lists have come into force."""
        for source, entries in lists.items():
            if source in self._sourced:
                self._sourced[source].accept(entries)
                self.file.is_unsaved = True

    def refused(self, source: Source, errors: Iterable[str]) -> None:
        """Note that a list does not fit the configuration."""
        if source in self._sourced:
            self._sourced[source].is_refused = True
            self._sourced[source].fail("; ".join(errors))

    def hold(self, source: Source, reason: str) -> None:
        """Note that a list does not come into force unless an operator says that it is meant."""
        if source in self._sourced:
            self._sourced[source].guard(reason)

    def put_off(self, source: Source, why: str) -> None:
        """Note that a list could not come into force because of something else, and is to be tried again later."""
        if source in self._sourced:
            self._sourced[source].not_before = self._clock() + RETRY_S
            self._sourced[source].fail(why)

    @property
    def statuses(self) -> tuple[SourceStatus, ...]:
        """Each source."""
        return tuple(each.status for each in self._sourced.values())

    def of(self, service: Service, server: Endpoint) -> SourceStatus | None:
        """Return the source from which a service has a server; None if it is configured, or if that is not known."""
        port = service.endpoint.port if service.endpoint is not None else 0
        for source in service.sources:
            each = self._sourced.get(source)
            if each is not None and each.has(server, port):
                return each.status
        return None

    async def run(self) -> None:
        """Look at every source again and again, until cancelled."""
        while True:
            if not self._sourced and not self.file.is_unsaved:
                self._woken.clear()
                await self._woken.wait()
            await self.turn()
            await asyncio.sleep(max(TURN_S, PER_SOURCE_S * len(self._sourced)))

    async def turn(self) -> None:
        """Look at every source once, ask for what is ready, and save what has come into force."""
        for source, each in list(self._sourced.items()):
            hung = sum(other.hangs for other in self._sourced.values())
            if each.hangs or hung < MOST_HUNG:
                await each.look()
            if self._sourced.get(source) is each:  # a reload may have come meanwhile
                each.weigh()
        if self.ready():
            self._ask()
        await self.file.save_if_due(self._kept)

    async def save(self) -> None:
        """Write what has come into force to the file of lists, unless it is there already, or nothing is written."""
        await self.file.save(self._kept)

    def _kept(self) -> tuple[SavedList, ...]:
        return tuple(
            SavedList(source=source, entries=each.entries, changed=each.changed)
            for source, each in self._sourced.items()
            if each.entries is not None
        )


def unknown(config: Config, lists: Lists) -> set[ServiceKey]:
    """Return the services of a configuration with a source of which nothing is known.

    lists: what is known.
    """
    return {
        service_key(service) for service in config.services if any(source not in lists for source in service.sources)
    }


def _services(config: Config) -> dict[Source, list[str]]:
    """Return the sources of a configuration, each with the names of the services that use it."""
    found: dict[Source, list[str]] = {}
    for service in config.services:
        for source in service.sources:
            found.setdefault(source, []).append(service.name)
    return found
