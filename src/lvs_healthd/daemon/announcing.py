"""Announces virtual addresses while their services may serve, by having them on interfaces from which BGP takes them.

What is there is compared with what should be there at every resync, and whenever that changes. When the daemon ends,
all addresses stay as they are, as the table does.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

from lvs_healthd.config.announcing import vip_of
from lvs_healthd.config.basics import AnnounceWhen
from lvs_healthd.config.model import Config, Mode, Service
from lvs_healthd.daemon.announce_foresight import address_changes
from lvs_healthd.daemon.announce_says import said
from lvs_healthd.decide.announcing import Announcement, Finding, Hearing, Say, combined
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ServiceState
from lvs_healthd.director import announced
from lvs_healthd.director.announced import Place
from lvs_healthd.director.announcer import RETRY_S, Announcer, Done
from lvs_healthd.events.kinds import AnnounceDrift, AnnounceOff, AnnounceOn, Event
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.plan.records import service_key
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.runtime.pace import paced
from lvs_healthd.runtime.threads import HungError, in_thread
from lvs_healthd.state.file import SavedPlace
from lvs_healthd.view.announce_values import AnnounceStatus
from lvs_healthd.view.reload_values import AddressChange

TURN_S = 0.25
"""How often the announced services are looked at, seconds."""

IMPORT_S = 60.0
"""How long the import of pyroute2 may take, seconds. It takes a quarter of a second, and more in an emulated guest."""

MOST_NAMED = 20
"""How many services an event names at most."""


class _Vip:
    """One address that is announced.

    service: the first of its services. They all agree how it is announced.
    shadow: whether nothing is written for it.
    """

    def __init__(self, service: Service, *, shadow: bool) -> None:
        self.place = Place(service.announce or "", vip_of(service))
        self.when: AnnounceWhen = service.announce_when
        self.announce_after_s: float = service.announce_after
        self.withdraw_after_s: float = service.withdraw_after
        self.is_shadow = shadow
        self.keys: list[ServiceKey] = []
        """The services that decide about it."""
        self.names: list[str] = []
        self.announcement = Announcement()
        self.may: bool | None = None
        """Whether it may be announced as far as this director alone knows."""
        self.told: tuple[bool, float] | None = None
        """What was told last to be done, and since when it was wanted, seconds on the monotonic clock."""
        self.is_present: bool | None = None
        """Whether the interface has it and is up, as last read or written; None before."""
        self.not_before = -math.inf
        """When it may be put back if somebody else has taken it off, seconds on the monotonic clock."""

    def take_over(self, other: "_Vip", now: float) -> None:
        """Carry on what is known of the same address from the configuration before, perhaps on another interface.

        now: seconds on the monotonic clock.
        """
        is_same_place = self.place == other.place
        if is_same_place:
            self.is_present = other.is_present
        if self.is_shadow is not other.is_shadow:
            return
        self.announcement = other.announcement
        if is_same_place:
            self.told, self.not_before = other.told, other.not_before
        elif self.announcement.since is not None:
            self.announcement.since = now  # that it is to be on this interface, as it will be told

    @property
    def is_told(self) -> bool:
        """Whether it was told last what is wanted now."""
        return self.told is not None and self.told[0] is self.announcement.wanted


class AnnounceRuns:
    """Decides for each address whether it is announced, and has that done.

    decisions: knows the services.
    reconciler: knows the kernel's table.
    netns: the network namespace of the IPVS table, in which the interfaces are.
    emit: receives the events.
    symptoms: returns what is wrong with this director's own network now, in words.
    others: takes services, and returns each other director that is heard with whether they may serve there.
    changed: called when what this director would tell others may have changed.
    clock: monotonic time, seconds.
    """

    def __init__(
        self,
        decisions: Decisions,
        reconciler: Reconciler,
        netns: Netns,
        emit: Callable[[Event], None],
        *,
        symptoms: Callable[[], Sequence[str]],
        others: Callable[[Iterable[ServiceKey]], Iterable[tuple[str, list[bool | None]]]],
        changed: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._decisions = decisions
        self._reconciler = reconciler
        self._emit = emit
        self._symptoms = symptoms
        self._others = others
        self._changed = changed
        self._clock = clock
        self._announcer = Announcer(netns, emit)
        self._vips: dict[Place, _Vip] = {}
        self._of: dict[ServiceKey, _Vip] = {}
        self._is_shadow = False
        self._resync_s = math.inf
        self._read_at = -math.inf
        """When the interfaces are to be read next, seconds on the monotonic clock."""
        self._wants = 0
        """How often `configured` was called."""
        self._woken = asyncio.Event()
        self._is_loaded = False
        """Whether pyroute2 is imported."""

    def restore(self, ours: Iterable[SavedPlace]) -> None:
        """Take over which addresses were the daemon's own before a restart."""
        self._announcer.ours = {Place(each.interface, each.address) for each in ours}

    def saved(self) -> tuple[SavedPlace, ...]:
        """Return which addresses are the daemon's own, for the state file."""
        return tuple(SavedPlace(each.interface, each.address) for each in sorted(self._announcer.ours))

    def configured(self, config: Config, *, shadow: bool) -> None:
        """Take over a configuration.

        shadow: whether nothing is to be written.
        """
        vips, self._of = _made(config, shadow=shadow)
        known = {vip.place.address: vip for vip in self._vips.values()}
        for vip in vips.values():
            if (before := known.get(vip.place.address)) is not None:
                vip.take_over(before, self._clock())
        self._vips, self._is_shadow, self._resync_s = vips, shadow, config.daemon.resync
        self._read_at = -math.inf
        self._wants += 1
        self._woken.set()

    async def foreseen(self, config: Config, *, shadow: bool) -> list[AddressChange]:
        """Return which addresses a reload would put on interfaces, take off them, or move. Nothing is changed.

        config, shadow: as for `configured`.
        """
        vips, _ = _made(config, shadow=shadow)
        known = {place: not vip.is_shadow for place, vip in vips.items()}
        gone = {place for place in self._announcer.ours if place not in known} if not shadow else set()
        written = {place for place, vip in self._vips.items() if not vip.is_shadow}
        new = {place for place, is_written in known.items() if is_written} - written
        if not gone and not new:
            return []
        addresses = {place.address for place in gone}
        others = {place for place in known if place.address in addresses}
        try:
            await self._load()
            found = await self._announcer.look({place.interface for place in gone | new | others})
        except HostError as error:
            return [AddressChange(address="", change=f"what would become of them is not known: {error}")]
        decided = {vip.place.address: vip.announcement.wanted for vip in self._vips.values() if not vip.is_shadow}
        return list(address_changes(gone, new, known=known, decided=decided, found=found))

    @property
    def statuses(self) -> tuple[AnnounceStatus, ...]:
        """Each address. Times are on the monotonic clock."""
        return tuple(self._status(vip) for vip in self._vips.values())

    @property
    def foreign(self) -> tuple[str, ...]:
        """The addresses on the interfaces that are none of ours, in words."""
        return tuple(f"{address} on {interface}" for interface, address in sorted(self._announcer.foreign))

    def of(self, key: ServiceKey) -> AnnounceStatus | None:
        """Return the address of a service, with times on the monotonic clock; None if it is not announced."""
        vip = self._of.get(key)
        return self._status(vip) if vip is not None else None

    def _status(self, vip: _Vip) -> AnnounceStatus:
        it = vip.announcement
        return AnnounceStatus(
            vip=vip.place.address,
            interface=vip.place.interface,
            services=tuple(vip.names),
            wanted=it.wanted,
            present=vip.is_present,
            since=it.since,
            reason=it.reason,
            pending=it.pending,
            shadow=vip.is_shadow,
            error=self._announcer.error_of(vip.place) or self._wait(vip),
        )

    def _wait(self, vip: _Vip) -> str:
        """Say that somebody else has taken an address off again, so that it is not put back at once."""
        wait_s = vip.not_before - self._clock()
        if not vip.announcement.wanted or vip.is_present or wait_s <= 0 or not vip.is_told or vip.is_shadow:
            return ""
        return f"somebody else takes it off {vip.place.interface} again and again; it is put back in {wait_s:.0f}s"

    async def run(self) -> None:
        """Keep the addresses true until cancelled."""
        while True:
            if self._is_idle:
                self._woken.clear()
                await self._woken.wait()
            await self.turn()
            await asyncio.sleep(TURN_S)

    @property
    def _is_idle(self) -> bool:
        """Whether no address is configured, and none is left to be taken off."""
        return not self._vips and not self._announcer.ours

    async def turn(self) -> None:
        """Look at every announced service once, and at the interfaces if that is due. `run` repeats this."""
        if self._is_idle:
            return
        if not self._is_loaded:
            with contextlib.suppress(HungError):  # a disk that hangs; the next turn tries again
                await self._load()
            if not self._is_loaded:
                return
        wants, is_due = self._wants, self._clock() >= self._read_at
        local = "; ".join(self._symptoms())
        async for vip in paced(list(self._vips.values())):
            finding = await self._found(vip, local)
            if finding.may is not vip.may:
                vip.may = finding.may
                self._changed()
            if finding.may is False:
                finding = combined(finding, local, dict(self._elsewhere(vip)))
            if wants != self._wants:
                return  # a reload has come meanwhile, and has made the next turn due
            is_due |= vip.announcement.look(
                finding, self._clock(), announce_after_s=vip.announce_after_s, withdraw_after_s=vip.withdraw_after_s
            )
        if is_due and wants == self._wants:
            await self._make_true()

    def serves(self, service: ServiceState) -> bool | None:
        """Return whether the clients of an announced service may be served here, for other directors.

        None if that is not known, or if the service is not announced.
        """
        vip = self._of.get(service.key)
        if vip is None:
            return None
        return said(service, self._reconciler, "; ".join(self._symptoms()), shadow=vip.is_shadow).may

    def _elsewhere(self, vip: _Vip) -> Iterator[tuple[str, bool | None]]:
        """Yield each other director that is heard, with whether an address may be announced there."""
        for director, answers in self._others(vip.keys):
            hearing = Hearing(vip.when)
            for may in answers:
                hearing.hear(Say(may, "", ""))
            yield director, hearing.finding.may

    async def _load(self) -> None:
        """Import pyroute2, if that is not done yet. Raises `HungError`."""
        if not self._is_loaded:
            await in_thread(announced.load_library, timeout_s=IMPORT_S, what="importing pyroute2")
            self._is_loaded = True

    async def _found(self, vip: _Vip, local: str) -> Finding:
        """Ask the services of an address until it is clear what they say together. There may be thousands.

        local: what is wrong with this director's own network, in words; empty if nothing is.
        """
        hearing = Hearing(vip.when)
        async for key in paced(vip.keys):
            service = self._decisions.service(key)
            if service is not None and hearing.hear(said(service, self._reconciler, local, shadow=vip.is_shadow)):
                break
        return hearing.finding

    async def _make_true(self) -> None:
        """Compare the interfaces with what is wanted, have the difference written, and tell what has changed."""
        wants, now = self._wants, self._clock()
        wanted = {place: self._wanted(vip, now) for place, vip in self._vips.items() if not vip.is_shadow}
        done = await self._announcer.turn(
            wanted, self._vips.keys(), writes=not self._is_shadow, is_old=lambda: wants != self._wants
        )
        if wants != self._wants:
            return  # a reload has come meanwhile, and has made the next turn due
        pause_s = min(RETRY_S, self._resync_s) if self._announcer.has_errors else self._resync_s
        waits = [vip.not_before for vip in self._vips.values() if self._wait(vip)]
        self._read_at = min([now + pause_s, *waits])
        for vip in self._vips.values():
            self._tell(vip, done)

    def _wanted(self, vip: _Vip, now: float) -> bool | None:
        """Return whether an address is to be there. One that somebody else took off is not put back too often."""
        wanted = vip.announcement.wanted
        return None if wanted and vip.is_told and now < vip.not_before else wanted

    def _tell(self, vip: _Vip, done: Done | None) -> None:
        """Tell what was done about one address.

        done: what was found and done; None if that failed.
        """
        it, place = vip.announcement, vip.place
        if done is not None:
            was_written = place in done.added or place in done.deleted
            vip.is_present = place in done.there
            if was_written and vip.is_told:
                found = "missing" if place in done.added else "present"
                self._emit(AnnounceDrift(vip=place.address, interface=place.interface, found=found))
                if place in done.added:
                    vip.not_before = self._clock() + vip.announce_after_s
        is_done = vip.is_shadow or (done is not None and vip.is_present is it.wanted)
        if it.wanted is None or it.since is None or vip.is_told or not is_done:
            return
        kind: type[AnnounceOn | AnnounceOff] = AnnounceOn if it.wanted else AnnounceOff
        self._emit(
            kind(
                vip=place.address,
                interface=place.interface,
                services=tuple(vip.names[:MOST_NAMED]),
                count=len(vip.names),
                reason=it.reason,
                after_s=None if vip.told is None else round(it.since - vip.told[1], 3),
                took_s=round(self._clock() - it.since, 3),
                shadow=vip.is_shadow,
            )
        )
        vip.told = it.wanted, it.since


def _made(config: Config, *, shadow: bool) -> tuple[dict[Place, _Vip], dict[ServiceKey, _Vip]]:
    """Return the addresses of a configuration, by what they are and by service.

    shadow: whether nothing is to be written.
    """
    vips: dict[Place, _Vip] = {}
    of: dict[ServiceKey, _Vip] = {}
    # A service in shadow mode has a say only where all services of the address are. Then nothing is written.
    for service in sorted(config.services, key=lambda each: each.mode is Mode.SHADOW):
        if service.announce:
            is_shadow = shadow or service.mode is Mode.SHADOW
            vip = _Vip(service, shadow=is_shadow)
            vip = of[service_key(service)] = vips.setdefault(vip.place, vip)
            if vip.is_shadow is is_shadow:
                vip.keys.append(service_key(service))
                vip.names.append(service.name)
    return vips, of
