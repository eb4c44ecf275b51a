"""Remembers what has happened to each real server, for an operator who asks why. It learns that from the events.

A server to which nothing has happened costs nothing: its first verdict and its first line in the table are not
remembered, because the verdict's own time says when that was. What concerns more than one server is remembered once: of
a service, of a machine in all services, of a way out of the director, or of the whole table. It is put together when
somebody asks.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lvs_healthd.config.model import Daemon
from lvs_healthd.decide.held import ServiceState
from lvs_healthd.decide.maintenance import meaning
from lvs_healthd.events.kinds import (
    BrakeOff,
    BrakeOn,
    ConfigReloaded,
    Event,
    FallbackUp,
    MaintenanceBegan,
    MaintenanceEnded,
    OperatorRefused,
    RealServerUp,
    ServiceServing,
    TableChanged,
    TableDrift,
    TableError,
    TableHeld,
    TableReleased,
)
from lvs_healthd.health.machine import Verdict
from lvs_healthd.ipvs.drift import NOT_CONFIGURED
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey, Verb
from lvs_healthd.plan.reasons import BELOW_REASON, FALLBACK_REASON
from lvs_healthd.runtime.pace import paced
from lvs_healthd.state.history import Happened, Place
from lvs_healthd.state.overrides import EVERYWHERE
from lvs_healthd.view.naming import WILD, canonical, is_called, spellings
from lvs_healthd.view.past_words import WORDS

MOST_LEFT = 1000
"""How many servers that have left the configuration are remembered at most, in case that they return."""

SHARED_S = 0.05
"""Servers share an entry that says the same and is at most this old, seconds: in a mass failure, thousands do."""

SHARED = 1024
"""How many entries are known at most that may be shared. In a mass failure there are few different ones."""

MOST_TEXT = 500
"""The longest text of an entry, characters."""

_WHOLE = ""
"""In the place of a service: the director itself, that is, the whole table and the ways out."""

_SPECIAL = frozenset({EVERYWHERE, _WHOLE})

_ENDED_BY: dict[str, str] = {TableHeld.name: TableReleased.name, TableError.name: TableChanged.name}
"""The events that are repeated while something lasts, each with the event that ends it. The first one is remembered."""

_RELOADED = {"added": "configured again", "removed": "not configured any more"}

_UNUSUAL_WRITES = ("repair: ", FALLBACK_REASON, BELOW_REASON)
"""What the reasons of those writes begin with that are no server's first line in the table."""

_FIRST_WRITES = frozenset({Verb.ADD_SERVER.value, Verb.ADD_SERVICE.value})


class ReloadChange(NamedTuple):
    """A service, a real server or a fallback server that a reload has added, removed or changed."""

    service: ServiceKey
    server: DestinationKey | None
    """The server; None when a service was added or removed."""
    how: str
    """"added", "removed" or "changed"."""
    what: str = ""
    """What is different, in words."""


class Past:
    """What has happened to every real server.

    wall: Unix time, seconds.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self.most = Daemon().history
        """How many entries to keep of each server. 0 for none."""
        self.is_changed = False
        """Whether anything has happened since this was set to False."""
        self._wall = wall
        self._services: Sequence[ServiceState] = ()
        self._keys: dict[str, ServiceKey] = {}
        """The service of each name."""
        self._of: dict[str, dict[str, tuple[Happened, ...]]] = {}
        """What has happened, by the two parts of a `Place`."""
        self._by_name: dict[str, dict[str, tuple[Happened, ...]]] = {}
        """The same by the name of a configured service, of exactly those to which something has happened.

        Services that the last reload has dropped are there too, because their lines are removed under their names.
        """
        self._recent: dict[tuple[str, str], Happened] = {}
        """The last entry of each event and text."""
        self._left: dict[Place, None] = {}
        """The servers that have left the configuration, the first ones first."""

    def configured(self, services: Sequence[ServiceState], most: int) -> None:
        """Note that a configuration is in force from now on.

        services: its services.
        most: how many entries to keep of each server.
        """
        before, self._keys = self._keys, {service.config.name: service.key for service in services}
        self._services, self.most = services, most
        if not most:
            self._of.clear()
            self._by_name.clear()
            self._left.clear()
        known = {before[name]: kept for name, kept in self._by_name.items() if name in before}
        dropped = {name: kept for name, kept in self._by_name.items() if name in before and name not in self._keys}
        self._by_name = dropped | {name: known[key] for name, key in self._keys.items() if key in known}
        if self._of:
            were_configured = set(before.values())
            self._find(name for name, key in self._keys.items() if key not in were_configured)

    def _find(self, names: Iterable[str]) -> None:
        """Find what had happened to services that are configured again."""
        for name in names:
            kept = self._of.get(str(self._keys[name]))
            if kept is not None:
                self._by_name[name] = kept

    async def restore(self, kept: Mapping[Place, tuple[Happened, ...]]) -> None:
        """Remember what had happened before a restart.

        kept: what `kept` has yielded then. Servers that are not configured now count as having left.
        """
        if not self.most:
            return
        present = {place async for place in paced(self._places()) if place in kept} if kept else frozenset()
        for place, entries in kept.items():
            known = self._of.setdefault(place.service, {})
            known[place.server] = (*entries, *known.get(place.server, ()))[-self.most :]
            if place.service not in _SPECIAL and place not in present:
                self._left[place] = None
        if kept:
            self._find(self._keys)
        self._forget_oldest()

    def _places(self) -> Iterator[Place]:
        for service in self._services:
            key = str(service.key)
            yield Place(key, "")
            for server in service.members:
                yield Place(key, str(server.key))

    def kept(self) -> Iterator[tuple[Place, tuple[Happened, ...]]]:
        """Yield everything that is remembered. More may happen between two of them."""
        for service, of_service in list(self._of.items()):
            for server, entries in list(of_service.items()):
                yield Place(service, server), entries

    def of(self, service: ServiceKey, server: DestinationKey, ways: Iterable[str] = ()) -> tuple[Happened, ...]:
        """Return what has happened to a server, to its service, its machine, and the ways to it. The newest is last.

        ways: the names of the ways out of the director to the targets of its checks.
        """
        own, whole = self._of.get(str(service), {}), self._of.get(_WHOLE, {})
        found = [
            *own.get(str(server), ()),
            *own.get("", ()),
            *self._of.get(EVERYWHERE, {}).get(server.address, ()),
            *whole.get("", ()),
        ]
        for way in dict.fromkeys(ways):
            found += whole.get(way, ())
        return tuple(sorted(found, key=lambda each: each.at)[-self.most :]) if self.most else ()

    def listen(self, event: Event) -> None:
        """Remember an event from the bus if it is about a server, or about something that concerns it."""
        words = WORDS.get(type(event))
        if words is None or not self.most:
            return
        if isinstance(event, OperatorRefused):
            for named in self._named(event):
                self._note(*named, event, words)
            return
        if isinstance(event, (MaintenanceBegan, MaintenanceEnded)):
            for address in dict.fromkeys(each.address for each in map(meaning, event.servers) if each is not None):
                self._note(EVERYWHERE, address, event, words)
            return
        if isinstance(event, (BrakeOn, BrakeOff)):
            self._note(_WHOLE, event.way, event, words)
            return
        service: str = event.service  # type: ignore[attr-defined]  # all others have it
        server: str = getattr(event, "server", "")
        if server in self._by_name.get(service, ()) or not _is_usual(event):
            self._note(service, server, event, words)

    def _note(self, service: str, server: str, event: Event, words: Callable[[Any], str]) -> None:
        """Remember an event.

        service: the service's name; or what a `Place` has instead of a service.
        """
        kept, text = self._of_service(service), words(event)
        if kept is None:
            return
        if len(text) > MOST_TEXT:
            text = f"{text[: MOST_TEXT - 1]}…"
        before = kept.get(server, ())
        if event.name not in _ENDED_BY or not _goes_on(before, event.name, text):
            kept[server] = (*before, self._entry(before, event.name, text, self._wall()))[-self.most :]
            self.is_changed = True

    def _of_service(self, name: str) -> dict[str, tuple[Happened, ...]] | None:
        """Return what has happened to a service and its servers; None if it is not known."""
        kept = self._by_name.get(name)
        if kept is not None:
            return kept
        if name in _SPECIAL:
            return self._special(name)
        key = self._keys.get(name)
        if key is None:
            return None
        kept = self._by_name[name] = self._of.setdefault(str(key), {})
        return kept

    def _special(self, service: str) -> dict[str, tuple[Happened, ...]]:
        """Return what has happened to machines, or to the ways. Interfaces and next hops may change again and again."""
        kept = self._of.setdefault(service, {})
        if len(kept) > MOST_LEFT:
            del kept[next(iter(kept))]
        return kept

    def _entry(self, before: Sequence[Happened], event: str, text: str, now: float) -> Happened:
        """Return the entry for something that has happened to a server.

        before: what has happened to the server before. A shared entry is never older than that.
        now: Unix time.
        """
        shared = self._recent.get((event, text))
        if shared is not None and 0 <= now - shared.at <= SHARED_S and not (before and before[-1].at > shared.at):
            return shared
        if len(self._recent) >= SHARED:
            self._recent.clear()
        text = sys.intern(text)
        made = self._recent[event, text] = Happened(round(now, 6), event, text)
        return made

    def _named(self, event: OperatorRefused) -> Iterator[tuple[str, str]]:
        """Yield the services, servers and machines that a refused request names, as `_note` takes them."""
        if event.service == EVERYWHERE:
            for address in map(canonical, event.servers):
                if any(server.key.address == address for service in self._services for server in service.members):
                    yield EVERYWHERE, address
            return
        if not event.service:
            return
        for service in self._services:
            if not is_called(event.service, (service.config.name, *spellings(str(service.key)))):
                continue
            if not event.servers:
                yield service.config.name, ""
                continue
            # Most orders name a few addresses, and a service may have thousands of servers.
            addresses = {canonical(word).rpartition(":")[0].strip("[]") or word for word in event.servers}
            addresses |= set(map(canonical, event.servers))
            is_wild = any(character in word for word in event.servers for character in WILD)
            for each in service.members:
                if is_wild or each.key.address in addresses:
                    server = str(each.key)
                    if any(is_called(word, spellings(server)) for word in event.servers):
                        yield service.config.name, server

    async def reloaded(self, changes: Iterable[ReloadChange], at: float, event: str = ConfigReloaded.name) -> None:
        """Remember what a reload has changed.

        at: when it was, Unix time.
        event: the name of the event that told of it.
        """
        names = {key: name for name, key in self._keys.items()}
        async for service, server, how, what in paced(changes):
            if not self.most:
                return
            place = Place(str(service), "" if server is None else str(server))
            if place.server not in self._of.get(place.service, ()) and (how == "added" or server is None):
                continue  # nothing has happened to it
            if how == "removed":
                self._left[place] = None
            else:
                self._left.pop(place, None)
            if server is not None:
                known = self._of_service(names[service]) if service in names else None
                if known is None:
                    known = self._of.setdefault(place.service, {})
                text = _RELOADED.get(how, f"configured: {what}")
                before = known.get(place.server, ())
                known[place.server] = (*before, self._entry((), event, text, at))[-self.most :]
                self.is_changed = True
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        excess = len(self._left) - MOST_LEFT
        if excess <= 0:
            return
        configured = {str(key) for key in self._keys.values()}  # more may happen to these, and goes to what is known
        for place in list(self._left)[:excess]:
            del self._left[place]
            known = self._of.get(place.service, {})
            known.pop(place.server, None)
            if not known and place.service not in configured:
                self._of.pop(place.service, None)


def _goes_on(before: Sequence[Happened], event: str, text: str) -> bool:
    """Whether the last entry about something that lasts says the same."""
    about = (event, _ENDED_BY[event])
    last = next((each for each in reversed(before) if each.event in about), None)
    return last is not None and last.text == text


def _is_usual(event: Event) -> bool:
    """Whether an event is not worth remembering of a server or service to which nothing has happened before."""
    match event:
        case RealServerUp(was=was):
            return was == Verdict.UNKNOWN
        case TableChanged(operation=operation, reason=reason):
            is_first = operation in _FIRST_WRITES and not reason.startswith(_UNUSUAL_WRITES)
            return is_first or reason.endswith(NOT_CONFIGURED)
        case ServiceServing() | FallbackUp():
            return True
        case TableDrift(found=found):  # of servers that are not configured, there may be any number
            return found == NOT_CONFIGURED
        case _:
            return False
