"""Tells other directors what this one sees, hears what they see, and has vetoes held and told.

Nothing on the way from a probe to the kernel waits for this. What others say is at hand when a server goes down, as it
was heard last.
"""

import asyncio
import contextlib
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.model import Config
from lvs_healthd.daemon.store_asked import access_of, name_of
from lvs_healthd.decide.agreeing import LONGEST_S, Opinion, Sight
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ServiceState
from lvs_healthd.decide.vetoing import LEASE_S, Change
from lvs_healthd.decide.vetoing import sight_of as sight_here
from lvs_healthd.events.kinds import Event, VetoAlone, VetoError, VetoOff, VetoOn, VetoTogether
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.runtime.exceptions import PeerError
from lvs_healthd.runtime.pace import paced
from lvs_healthd.store.directors import Exchange, Heard, Published, Said, WrongSayingError, read, written
from lvs_healthd.store.publishing import ThroughEtcd
from lvs_healthd.view.agreement_values import AgreementStatus, DirectorStatus, OpinionWhy, VetoStatus

TURN_S = 0.5
"""The time between two looks at what others say, seconds, if nobody asks for one sooner."""

PAUSE_S = 0.05
"""The least time between two looks, seconds."""

SAY_AGAIN_S = 2.0
"""After how long to find out what there is to say although no verdict has changed, seconds: probes may be unsure."""

SAY_SHARE = 0.1
"""The largest share of the time that may be spent on finding out what there is to say, 0 to 1."""

MOST_SHOWN = 100
"""How many vetoes, and how many directors, a status shows at most."""

_SIGHTS = {str(sight): sight for sight in Sight}


class _Peer(NamedTuple):
    """What another director says."""

    heard: Heard
    published: Published | None
    """None if that cannot be understood."""
    error: str
    at: float
    """When its age was taken, seconds on the monotonic clock."""

    def age_s(self, now: float) -> float:
        return self.heard.age_s + now - self.at

    def is_heard(self, now: float) -> bool:
        return self.published is not None and self.age_s(now) <= LEASE_S


class AgreementRuns:
    """What this director and others tell each other.

    decisions: knows the servers, and which of them others hold.
    reconciler: its gate keeps back what others hold.
    emit: receives the events.
    serves: returns whether the clients of an announced service may be served here; None if that is not known.
    clock: monotonic time, seconds.
    wall: Unix time, seconds.
    """

    def __init__(
        self,
        decisions: Decisions,
        reconciler: Reconciler,
        emit: Callable[[Event], None],
        *,
        serves: Callable[[ServiceState], bool | None],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._decisions = decisions
        self._vetoing = decisions.vetoing
        self._vetoing.directors = self
        self._reconciler = reconciler
        self._emit = emit
        self._serves = serves
        self._clock = clock
        self._wall = wall
        self.run_id = uuid.uuid4().hex
        self._name = ""
        self._fleet = Fleet()
        """What the exchange was made of."""
        self._exchange: Exchange | None = None
        self._began = 0.0
        """When the exchange began, seconds on the monotonic clock."""
        self._peers: dict[str, _Peer] = {}
        self._sums: dict[ServiceKey, tuple[object, int]] = {}
        """The checksum of each service's servers, with the configuration that it was made of."""
        self._sequence = 0
        self._said: Mapping[str, Said] | None = None
        self._said_at = 0.0
        self._not_before = 0.0
        """When there may be something new to say, seconds on the monotonic clock."""
        self._is_dirty = True
        self._alone_since: float | None = None
        self._is_alone_told = False
        self._woken = asyncio.Event()
        self._replaced = asyncio.Event()

    def adopt(self, config: Config) -> None:
        """Take over a configuration. Directors tell each other something if anybody has a use for that."""
        fleet = config.fleet
        is_used = fleet.agree > 1 or any(service.announce for service in config.services)
        if not fleet.store or not is_used:
            self._fleet = Fleet()
            self.configured("", 1, None)
            return
        name = name_of(fleet)
        made_of = msgspec.structs.replace(fleet, agree=1)
        exchange = self._exchange
        if exchange is None or made_of != self._fleet:
            self._fleet = made_of
            exchange = ThroughEtcd(
                access_of(fleet), fleet.prefix, name, self.run_id, changed=self._woken.set, clock=self._clock
            )
        self.configured(name, fleet.agree, exchange)

    def configured(self, name: str, agree: int, exchange: Exchange | None) -> None:
        """Take over a configuration.

        name: how this director is called.
        agree: how many directors must see a server down so that it goes, this one included.
        exchange: None if there is none. The same object as before goes on.
        """
        self._vetoing.configured(agree if exchange is not None else 1)
        self._name = name
        if exchange is not self._exchange:
            self._exchange, self._began = exchange, self._clock()
            self._peers, self._said, self._alone_since, self._is_alone_told = {}, None, None, False
            self._replaced.set()
        self._sums = {key: each for key, each in self._sums.items() if self._decisions.service(key) is not None}
        self.look_again()

    def look_again(self) -> None:
        """Look soon, because a verdict has changed, or another director says something else."""
        self._is_dirty = True
        if self._exchange is not None or self._vetoing.is_busy:
            self._woken.set()

    # What others say

    def of(self, service: ServiceKey, server: DestinationKey) -> Iterable[Opinion]:
        """Return what each other director says about a server."""
        now, key, name = self._clock(), str(service), str(server)
        for director, peer in self._peers.items():
            yield Opinion(director, self._sight(peer, service, key, name), peer.age_s(now))

    def _sight(self, peer: _Peer, service: ServiceKey, key: str, server: str) -> Sight | None:
        said = None if peer.published is None else peer.published.services.get(key)
        if said is None:
            return None
        word = said.others.get(server)
        if word is not None:
            return _SIGHTS.get(word)
        return Sight.UP if said.servers == self._sum(service) else None

    def _sum(self, key: ServiceKey) -> int:
        service = self._decisions.service(key)
        if service is None:
            return 0
        known = self._sums.get(key)
        if known is None or known[0] is not service.config:
            servers = "\n".join(sorted(str(server.key) for server in service.servers))
            known = self._sums[key] = service.config, zlib.crc32(servers.encode())
        return known[1]

    def serving(self, services: Iterable[ServiceKey]) -> Iterator[tuple[str, list[bool | None]]]:
        """Yield each other director that is heard, with whether each of these services may serve there.

        Services that it does not know are left out.
        """
        now, keys = self._clock(), [str(key) for key in services]
        for director, peer in self._peers.items():
            if peer.published is not None and peer.is_heard(now):
                found = [said.serves for key in keys if (said := peer.published.services.get(key)) is not None]
                if found:
                    yield director, found

    def _hear(self) -> None:
        """Take in what others say now."""
        now, before = self._clock(), self._peers
        self._peers = {}
        for director, heard in (self._exchange.peers() if self._exchange is not None else {}).items():
            known = before.get(director)
            if known is not None and known.heard.content is heard.content:
                self._peers[director] = known._replace(heard=heard, at=now)
                continue
            try:
                self._peers[director] = _Peer(heard, read(heard.content), "", now)
            except WrongSayingError as error:
                self._peers[director] = _Peer(heard, None, str(error), now)
                if known is None or known.error != str(error):
                    self._emit(VetoError(director=director, error=str(error)))

    @property
    def _heard(self) -> int:
        now = self._clock()
        return sum(peer.is_heard(now) for peer in self._peers.values())

    # What this director says

    async def _say(self) -> None:
        now = self._clock()
        if self._exchange is None or not (self._is_dirty or now - self._said_at >= SAY_AGAIN_S):
            return
        if now < self._not_before:
            return  # a later turn does it
        self._is_dirty, self._said_at, started = False, now, time.perf_counter()
        said = {str(key): found async for key, found in self._sayings()}
        self._not_before = now + (time.perf_counter() - started) / SAY_SHARE
        if said == self._said:
            return
        self._said = said
        self._sequence += 1
        self._exchange.publish(
            written(Published(run=self.run_id, sequence=self._sequence, at=self._wall(), services=said))
        )

    async def _sayings(self) -> AsyncIterator[tuple[ServiceKey, Said]]:
        braking = self._decisions.braking
        async for key in paced([service.key for service in self._decisions.services]):
            service = self._decisions.service(key)
            if service is None:
                continue
            others = {
                str(server.key): str(sight)
                for server in service.servers
                if (sight := sight_here(server, is_braked=braking.keeps(server))) is not Sight.UP
            }
            yield key, Said(self._sum(key), self._serves(service), others)

    # What is told

    @property
    def status(self) -> AgreementStatus | None:
        """What directors tell each other; None if they do not. Times are on the monotonic clock."""
        if self._exchange is None:
            return None
        now, held = self._clock(), [*self._vetoing.held]
        return AgreementStatus(
            director=self._name,
            agree=self._vetoing.agree,
            heard=self._heard,
            directors=tuple(_status(*each, now) for each in sorted(self._peers.items())[:MOST_SHOWN]),
            vetoes=tuple(
                VetoStatus(
                    service=server.service.config.name,
                    server=str(server.key),
                    reason=str(veto.vote),
                    since=veto.since,
                    until=veto.since + LONGEST_S,
                )
                for server, veto in held[:MOST_SHOWN]
            ),
            vetoed=len(held),
            error=self._exchange.error,
        )

    def opinions(self, service: ServiceKey, server: DestinationKey) -> tuple[OpinionWhy, ...]:
        """Return what each other director says of a server."""
        now = self._clock()
        return tuple(
            OpinionWhy(
                director=director,
                sight="" if sight is None else str(sight),
                age_s=round(age_s, 1),
                is_heard=self._peers[director].is_heard(now),
            )
            for director, sight, age_s in sorted(self.of(service, server), key=lambda each: each.director)
        )

    def _tell_alone(self) -> None:
        """Tell if too few others are heard, once that has lasted, and when enough are heard again."""
        needed, heard, now = self._vetoing.agree - 1, self._heard, self._clock()
        if self._exchange is None or heard >= needed:
            since, self._alone_since = self._alone_since, None
            if self._is_alone_told and since is not None:
                self._is_alone_told = False
                self._emit(VetoTogether(heard=heard, needed=needed, after_s=round(now - since, 3)))
            return
        if self._alone_since is None:
            self._alone_since = now
        if not self._is_alone_told and now - max(self._alone_since, self._began) >= LEASE_S:
            self._is_alone_told = True
            self._emit(VetoAlone(heard=heard, needed=needed, cause=self._exchange.error))

    async def stop(self) -> None:
        """Say nothing any more, because the daemon ends: a director that does not look cannot tell."""
        if self._exchange is not None:
            with contextlib.suppress(PeerError):
                await self._exchange.withdraw()

    # Running

    async def run(self) -> None:
        """Exchange, and look again and again, until cancelled."""
        while True:
            self._replaced.clear()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._look(), name="vetoes")]
                if self._exchange is not None:
                    tasks.append(group.create_task(self._exchange.run(), name="exchange with directors"))
                await self._replaced.wait()
                for each in tasks:
                    each.cancel()

    async def _look(self) -> None:
        while True:
            wait_s = TURN_S if self._exchange is not None or self._vetoing.is_busy else None
            try:
                async with asyncio.timeout(wait_s):
                    await self._woken.wait()
            except TimeoutError:
                pass
            self._woken.clear()
            await self.turn()
            await asyncio.sleep(PAUSE_S)

    async def turn(self) -> None:
        """Hear the others, have vetoes held, say what is new, and tell what has changed."""
        self._hear()
        for change in await self._vetoing.turn():
            self._emit(_event(change, self._clock()))
        if self._reconciler.gate.veto(self._vetoing.kept()):
            self._reconciler.look_again()
        await self._say()
        self._tell_alone()


def _status(director: str, peer: _Peer, now: float) -> DirectorStatus:
    found = peer.published
    return DirectorStatus(
        director=director,
        age_s=round(peer.age_s(now), 1),
        is_heard=peer.is_heard(now),
        at=None if found is None else found.at,
        not_up=0 if found is None else sum(len(said.others) for said in found.services.values()),
        error=peer.error,
    )


def _event(change: Change, now: float) -> VetoOn | VetoOff:
    server, veto, reason, after_s = change
    service, key = server.service.config.name, str(server.key)
    if after_s is None:
        for_s = round(max(0.0, veto.since + LONGEST_S - now), 3)
        return VetoOn(service=service, server=key, reason=reason, for_s=for_s)
    return VetoOff(service=service, server=key, reason=reason, after_s=round(after_s, 3))
