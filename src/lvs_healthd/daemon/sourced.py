"""One source of real servers: what it lists that is in force, what it lists now, and what is told about it."""

import operator
from collections.abc import Callable
from typing import Any

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.sources import Entry, Source, said
from lvs_healthd.decide.sourcing import held_back
from lvs_healthd.discovery.listing import ListError
from lvs_healthd.discovery.reader import Reader
from lvs_healthd.events.kinds import DiscoveryChanged, DiscoveryFailed, DiscoveryHeld, DiscoveryRecovered, Event
from lvs_healthd.runtime.threads import HungError
from lvs_healthd.view.source_values import SourceStatus

IF_MEANT = "lvs-healthd reload --force"
"""What to type if a list is meant that is held."""

MOST_NAMED = 20
"""How many services or servers an event names at most."""


class Sourced:
    """What is known of one source.

    source: the source.
    reader: asks it.
    emit: receives the events.
    wall: Unix time, seconds.
    """

    def __init__(
        self, source: Source, reader: Reader, emit: Callable[[Event], None], wall: Callable[[], float]
    ) -> None:
        self._source = source
        self._reader = reader
        self._emit = emit
        self._wall = wall
        self.services: list[str] = []
        """The names of the services that use it."""
        self.share = 0
        """`reload_guard`, percent."""
        self.entries: tuple[Entry, ...] | None = None
        """What it lists that is in force; None if it has never listed anything."""
        self.changed = 0.0
        """When that came into force, Unix time."""
        self.found: tuple[Entry, ...] | None = None
        """What it lists now if that is not in force; None if it is."""
        self.held = ""
        """Why that is held; "" if it is not."""
        self.is_refused = False
        """Whether that does not fit the configuration."""
        self._guarded = ""
        """Why it is held, if not for what it lists alone; "" if it is not."""
        self.not_before = 0.0
        """When that may be tried again, monotonic seconds."""
        self.error = ""
        """Why it cannot be read, or what is wrong with its list; "" if nothing is."""
        self.hangs = False
        """Whether it keeps a thread, because its file system hangs."""
        self._weighed: tuple[object, ...] = (None,) * 4
        """What was weighed last, as it takes 10 ms for ten thousand servers."""
        self._since: float | None = None
        """Since when it is held or wrong, Unix time; None if it is neither."""

    async def look(self) -> None:
        """Ask it whether its list has changed."""
        try:
            found = await self._reader.look()
        except ListError as error:
            self.hangs = isinstance(error.__cause__, HungError)
            self.found = None
            self.reconsider()
            self.held = ""
            self.fail(str(error))
            return
        self.hangs = False
        if found is not None:
            self.found, self.error = found, ""
            self.reconsider()

    def reconsider(self) -> None:
        """Forget why what it lists now has not come into force."""
        self.is_refused, self._guarded, self.not_before, self._weighed = False, "", 0.0, (None,) * 4

    def weigh(self) -> None:
        """Decide whether what it lists now may come into force."""
        weighed = (self.entries, self.found, self.share, self._guarded)
        if self.found is None or all(map(operator.is_, weighed, self._weighed)):
            return
        self._weighed = weighed
        if self.entries is not None and said(self.found) == said(self.entries):
            self.entries, self.found = self.found, None  # its lines may have moved
            self._end()
        elif reason := held_back(self.entries, self.found, self.share) or self._guarded:
            self._hold(reason)
        else:
            self.held = ""

    def guard(self, reason: str) -> None:
        """Keep what it lists now from coming into force, for a reason that it does not know."""
        self._guarded = reason
        self._hold(reason)

    def _hold(self, reason: str) -> None:
        """Keep what it lists now from coming into force, and tell so once."""
        was_held, self.held = self.held, reason
        self._begin()
        if not was_held:
            self._emit(DiscoveryHeld(**self._about(), reason=reason, todo=IF_MEANT))

    def fail(self, error: str) -> None:
        """Note what is wrong, and tell so unless that was told last."""
        was, self.error = self.error, error
        self._begin()
        if error != was:
            self._emit(DiscoveryFailed(**self._about(), error=error))

    def accept(self, entries: tuple[Entry, ...], changed: float | None = None) -> None:
        """Note that a list is in force.

        changed: since when, Unix time, if it was in force before a restart already; None for now.
        """
        before, after = said(self.entries or ()), said(entries)
        is_first, was_held, self.entries = self.entries is None, bool(self.held), entries
        if changed is not None:
            self.changed = changed
        elif is_first or after != before:
            self.changed = self._wall()
            self._tell(before, after, was_held=was_held)
        if self.found is not None and said(self.found) == after:
            self.found = None
            self.reconsider()
            self._end()

    def _tell(self, before: dict[str, int], after: dict[str, int], *, was_held: bool) -> None:
        added = [address for address in after if address not in before]
        removed = [address for address in before if address not in after]
        self._emit(
            DiscoveryChanged(
                **self._about(),
                added=tuple(added[:MOST_NAMED]),
                added_count=len(added),
                removed=tuple(removed[:MOST_NAMED]),
                removed_count=len(removed),
                changed_count=sum(1 for address in after if before.get(address, after[address]) != after[address]),
                accepted=was_held,
            )
        )

    def _begin(self) -> None:
        if self._since is None:
            self._since = self._wall()

    def _end(self) -> None:
        """Note that what it lists is right, and in force."""
        since, self._since, self.held, self.error = self._since, None, "", ""
        if since is not None:
            after_s = round(max(0.0, self._wall() - since), 3)
            self._emit(DiscoveryRecovered(source=str(self._source), after_s=after_s))

    def _about(self) -> dict[str, Any]:
        """Return the fields that its events have in common."""
        return {
            "source": str(self._source),
            "services": tuple(self.services[:MOST_NAMED]),
            "count": len(self.services),
            "servers": len(self.entries or ()),
        }

    def has(self, server: Endpoint, port: int) -> bool:
        """Return whether a server of a service is one that it lists, and that is in force.

        port: the port of servers that are listed without one.
        """
        without_port = f"[{server.address}]" if ":" in server.address else server.address
        alone = without_port if server.port in {port, 0} else None
        return any(each.address in {str(server), alone} for each in self.entries or ())

    @property
    def status(self) -> SourceStatus:
        """What is told about it."""
        return SourceStatus(
            source=str(self._source),
            services=tuple(self.services),
            servers=None if self.entries is None else len(self.entries),
            changed=None if self.entries is None else self.changed,
            held=self.held,
            error=self.error,
            since=self._since,
            todo=IF_MEANT if self.held else "",
        )
