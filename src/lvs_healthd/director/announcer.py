"""Makes the addresses on interfaces what they should be, and leaves alone what others have put there."""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from lvs_healthd.director import announced
from lvs_healthd.director.announced import Found, Place
from lvs_healthd.events.kinds import AnnounceError, AnnounceForeign, AnnounceRecovered, Event
from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.runtime.threads import LoneCall

RETRY_S = 2.0
"""How soon to try again after an error, seconds."""

KERNEL_S = 5.0
"""How long reading or writing addresses may take, seconds."""


class Done(NamedTuple):
    """What one turn has found and done."""

    there: frozenset[Place]
    """The addresses that are now on interfaces that are up, so that BGP sees them there."""
    added: frozenset[Place]
    deleted: frozenset[Place]


class Announcer:
    """Puts addresses on interfaces and takes them off.

    netns: the network namespace of the interfaces.
    emit: receives the events.
    """

    def __init__(self, netns: Netns, emit: Callable[[Event], None]) -> None:
        self._netns = netns
        self._emit = emit
        self.ours: set[Place] = set()
        """The addresses that were put there by the daemon, or were there while they were configured."""
        self._errors: dict[Place, str] = {}
        """What is wrong with addresses, and with whole interfaces (`_whole`), if anything is."""
        self._told: dict[str, str] = {}
        """What was told last of each interface with which anything is wrong."""
        self.foreign: frozenset[tuple[str, str]] = frozenset()
        """The interfaces and addresses that are none of ours. They have been told."""
        self._call = LoneCall()
        self._looking = LoneCall()

    @property
    def has_errors(self) -> bool:
        """Whether anything is wrong."""
        return bool(self._errors)

    def error_of(self, place: Place) -> str:
        """Return what is wrong with an address or its interface; empty if nothing is."""
        return self._errors.get(_whole(place.interface), "") or self._errors.get(place, "")

    async def turn(
        self, wanted: Mapping[Place, bool | None], known: Collection[Place], *, writes: bool, is_old: Callable[[], bool]
    ) -> Done | None:
        """Read the interfaces, and write what differs.

        wanted: whether each address is to be there. None leaves it as it is.
        known: all addresses that are configured, of which `wanted` may leave some out, because nobody may write them.
        writes: whether those of ours are taken off that are not configured any more. One that is configured on another
            interface stays until it is there, or is not to be there.
        is_old: returns whether another configuration has come, so that nothing of this is to be written any more.

        Return None if that was not possible, or another configuration has come.
        """
        gone = {place for place in self.ours if place not in known} if writes else set()
        interfaces = {place.interface for place in (*known, *gone)}
        try:
            found: dict[str, Found] = await self._asked(announced.read, interfaces)
            if is_old():
                return None
            there = announced.listed({*known, *gone}, found)
            add = {place for place in wanted.keys() - there if wanted[place] and place.interface in found}
            delete = {place for place in wanted.keys() & there if wanted[place] is False}
            self.ours = (self.ours - (gone - there)) | (there & wanted.keys()) | add
            failed: dict[Place, str] = await self._asked(announced.write, add, delete) if add or delete else {}
            there |= add - failed.keys()
            leaving = _replaced(gone & there, wanted, known, announced.shown(there, found))
            if leaving and not is_old():
                failed |= await self._asked(announced.write, (), leaving)
                delete |= leaving
        except HostError as error:
            self._trouble({_whole(name): str(error) for name in interfaces})
            return None
        added, deleted = frozenset(add - failed.keys()), frozenset(delete - failed.keys())
        self.ours -= gone & deleted
        if is_old():
            return None
        self._tell_foreign(known, found)
        self._trouble(dict(_troubles({place.interface for place in known}, found)) | failed)
        return Done(announced.shown(there - deleted, found), added, deleted)

    async def look(self, interfaces: AbstractSet[str]) -> dict[str, Found]:
        """Return each of these interfaces that is there. Raises `HostError`."""
        what = "asking the kernel for addresses"
        return await self._looking(announced.read, self._netns, interfaces, timeout_s=KERNEL_S, what=what)

    async def _asked(self, function: Callable[..., dict], *arguments: object) -> dict:  # type: ignore[type-arg]
        what = "asking the kernel for addresses"
        return await self._call(function, self._netns, *arguments, timeout_s=KERNEL_S, what=what)

    def _tell_foreign(self, known: Iterable[Place], found: Mapping[str, Found]) -> None:
        """Tell of addresses that are none of ours, each once for as long as it is there."""
        ours = {
            (place.interface, f"{place.address}/{announced.alone(place.address)}") for place in (*known, *self.ours)
        }
        seen = {(name, f"{address}/{length}") for name, each in found.items() for address, length in each.addresses}
        foreign = frozenset(seen - ours)
        for interface, address in sorted(foreign - self.foreign):
            self._emit(AnnounceForeign(interface=interface, address=address))
        self.foreign = foreign

    def _trouble(self, errors: dict[Place, str]) -> None:
        """Tell of each interface with which something is wrong that was not told yet, and of each that is well again.

        errors: what is wrong with addresses and with whole interfaces.
        """
        of: dict[str, list[str]] = {}
        for place in sorted(errors):
            of.setdefault(place.interface, []).append(errors[place])
        told = {name: each[0] + (f" (and {len(each) - 1} more)" if len(each) > 1 else "") for name, each in of.items()}
        for interface, error in told.items():
            if error != self._told.get(interface):
                self._emit(AnnounceError(interface=interface, error=error, retry_s=RETRY_S))
        for interface in self._told.keys() - told.keys():
            self._emit(AnnounceRecovered(interface=interface))
        self._errors, self._told = errors, told


def _whole(interface: str) -> Place:
    """Return the place that stands for a whole interface."""
    return Place(interface, "")


def _replaced(
    gone: Iterable[Place], wanted: Mapping[Place, bool | None], known: Iterable[Place], shown: Container[Place]
) -> set[Place]:
    """Return those of ours that are configured there no more, and that nobody would miss.

    One that has only moved to another interface is missed until it is there, or it is decided that it is not to be. If
    nothing may be written there, because its services are in shadow mode, it stays.

    gone: those of ours that are configured there no more, and are there.
    wanted, known: as for `turn`.
    shown: the addresses that are where BGP sees them.
    """
    elsewhere: dict[str, Place] = {place.address: place for place in known}
    leaving = set()
    for place in gone:
        other = elsewhere.get(place.address)
        if other is None or (other in wanted and (wanted[other] is False or other in shown)):
            leaving.add(place)
    return leaving


def _troubles(interfaces: AbstractSet[str], found: Mapping[str, Found]) -> Iterator[tuple[Place, str]]:
    """Yield what is wrong with whole interfaces."""
    for name in sorted(interfaces):
        if name not in found:
            yield _whole(name), announced.missing(name)
        elif not found[name].is_up:
            yield _whole(name), announced.is_down(name)
