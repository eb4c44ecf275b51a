"""Carries out what operators order about servers: drain, disable, enable, weight. Keeps it, and ends it on time.

An order is written to its file before it takes effect, so that a crash cannot forget it.
"""

import asyncio
import fnmatch
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lvs_healthd.api.peers import Peer
from lvs_healthd.config.model import Config
from lvs_healthd.daemon.drains import drain_advice
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ServerState, ServiceState
from lvs_healthd.decide.overrides import Overrides, in_words
from lvs_healthd.events.kinds import (
    Event,
    OverrideEnded,
    OverrideEnding,
    OverrideSet,
    RealServerDrained,
    StateError,
)
from lvs_healthd.health.machine import Verdict
from lvs_healthd.plan.precedence import Special, State
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.runtime.exceptions import HealthdError
from lvs_healthd.runtime.threads import in_thread
from lvs_healthd.state.overrides import EVERYWHERE, Kind, Override, read_overrides, write_overrides
from lvs_healthd.view.naming import UnknownNameError, canonical, spellings
from lvs_healthd.view.override_values import OverriddenServer, OverrideOutcome, OverrideRequest

WRITE_S = 5.0
"""How long writing the file of orders may take, seconds."""

READ_AGAIN_S = 1.0
"""The kernel's count of a drained server's connections is believed when it was read at least so long after the server
was drained, seconds. Before, the server may still have got new ones."""

_WILD = "*?["


class _Change(NamedTuple):
    """What an order does to the orders in force."""

    put: list[Override]
    removed: list[Override]


class OperatorsHand:
    """Carries out orders.

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
        file: Callable[[], Path | None],
        replan: Callable[[], None],
        clock: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._decisions = decisions
        self._overrides: Overrides = decisions.overrides
        self._reconciler = reconciler
        self._emit = emit
        self._file = file
        self._replan = replan
        self._clock = clock
        self._wall = wall
        self._turn = asyncio.Lock()
        """Whoever changes the orders has it, because writing the file takes a while."""
        self._kept_in: Path | None = None
        """The file that keeps the orders in force; None while there is none."""
        self._error = ""
        """Why the file could not be written last when an order ended; empty if it could."""

    async def load(self) -> None:
        """Read the orders at start. A file that cannot be used is reported, and then there are none."""
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
                await self._load(file)
                self._decisions.reconsider([server for each in self._overrides for server in self._about(each)])
                return
            self._kept_in = file
            if not len(self._overrides):
                return
            try:
                await self._write(file, self._overrides)
            except HealthdError as error:
                self._emit(StateError(file=str(file), error=str(error)))

    async def _load(self, file: Path) -> None:
        self._kept_in = file
        try:
            kept = await in_thread(read_overrides, file, timeout_s=WRITE_S, what=f"reading {file}")
        except HealthdError as error:
            self._emit(StateError(file=str(file), error=str(error)))
            return
        self._overrides.replace(kept)

    async def order(self, request: OverrideRequest, by: Peer) -> OverrideOutcome:
        """Carry out an order. Return what came of it."""
        async with self._turn:
            file = self._file()
            if file is None:
                return OverrideOutcome(
                    refused="this daemon is in shadow mode: it writes nothing, so it takes no orders"
                )
            absent: list[Override] = []
            try:
                try:
                    servers = self._meant(request)
                except UnknownNameError:
                    servers, absent = [], self._about_absent(request)
                    if not absent:
                        raise
                change = _Change([], absent) if absent else self._change(request, servers, by.uid)
            except (UnknownNameError, _RefusedError) as error:
                return OverrideOutcome(refused=str(error), is_usage=isinstance(error, UnknownNameError))
            after = Overrides()
            after.replace(self._overrides)
            _apply(after, change)
            before = {(server.service.key, server.key): server.special for server in servers}
            if not request.force and (empty := self._emptied_services(servers, after)):
                what = " and ".join(f'"{each}"' for each in empty)
                return OverrideOutcome(
                    refused=f"this would leave {what} without a real server that may serve; --force if that is meant"
                )
            try:
                await self._write(file, after)
            except HealthdError as error:
                return OverrideOutcome(refused=str(error))
            _apply(self._overrides, change)
            self._tell(change, f"{request.verb} by uid {by.uid}")
            # A reload may have replaced the servers, or added some, while the file was written.
            about = {server: None for each in (*change.put, *change.removed) for server in self._about(each)}
            self._take_effect(about)
            now = {place: each for each in self._decisions.servers if (place := (each.service.key, each.key)) in before}
            return OverrideOutcome(
                servers=tuple(
                    _described(now[place], now[place].special != was) for place, was in before.items() if place in now
                ),
                advice=(
                    *(drain_advice(servers) if request.verb == "drain" else ()),
                    *(f"{each.server} is not configured now; it is not {in_words(each)} any more" for each in absent),
                ),
            )

    async def turn(self) -> None:
        """End the orders whose time is over, tell of those that end soon, and see which drained servers are empty."""
        if not len(self._overrides):
            return
        now = self._wall()
        for each in self._overrides.ending(now):
            self._emit(
                OverrideEnding(
                    kind=each.kind,
                    service=self._name(each),
                    server=each.server,
                    reason=each.reason,
                    uid=each.uid,
                    in_s=round((each.until or now) - now, 1),
                )
            )
        if self._overrides.ended(now):
            async with self._turn:
                await self._end(self._overrides.ended(now))
        self._look_at_drained(now)

    async def _end(self, over: list[Override]) -> None:
        file = self._file()
        if file is None:
            return
        kept = [each for each in self._overrides if each not in over]
        error = ""
        try:
            await self._write(file, kept)
        except HealthdError as caught:
            # What has ended has ended: a restart would end it too, because the file says until when it holds.
            error = str(caught)
        if error and error != self._error:
            self._emit(StateError(file=str(file), error=error))
        self._error = error
        servers = [server for each in over for server in self._about(each)]
        change = _Change([], over)
        _apply(self._overrides, change)
        self._tell(change, "its time is over")
        self._take_effect(servers)

    @staticmethod
    async def _write(file: Path, overrides: Iterable[Override]) -> None:
        await in_thread(write_overrides, file, list(overrides), timeout_s=WRITE_S, what=f"writing {file}")

    def _take_effect(self, servers: Iterable[ServerState]) -> None:
        for server in servers:
            state, _ = self._overrides.of(server.service.key, server.key)
            if state is None or state.kind is not Kind.DRAIN:
                self._overrides.filled(server.service.key, server.key)
        self._decisions.reconsider(servers)
        self._replan()

    def _look_at_drained(self, now: float) -> None:
        """Remove the drained servers whose connections are gone, or whose deadline has passed."""
        read = self._reconciler.last_resync
        read_at = None if read is None else read + now - self._clock()
        for override in list(self._overrides):
            if override.kind is not Kind.DRAIN:
                continue
            is_late = override.deadline is not None and override.deadline <= now
            if not is_late and (read_at is None or read_at < override.since + READ_AGAIN_S):
                continue
            for server in self._about(override):
                if self._overrides.of(server.service.key, server.key)[0] is not override:
                    continue
                left = self._connections(server)
                if left is None or (left and not is_late):
                    continue
                if server.hand is None or server.hand.state is not State.DRAINED:
                    continue
                if self._overrides.emptied(server.service.key, server.key):
                    reason = f"deadline passed: {left} connections are cut off" if left else "no connections left"
                    self._emit(
                        RealServerDrained(
                            service=server.service.config.name,
                            server=str(server.key),
                            reason=reason,
                            after_s=round(now - override.since, 1),
                        )
                    )
                    self._decisions.reconsider([server])
                    self._replan()

    def _connections(self, server: ServerState) -> int | None:
        """Return how many connections the kernel counts for a server at weight 0; None if it is not there as such."""
        entry = self._reconciler.actual.get(server.service.key)
        record = entry.destinations.get(server.key) if entry is not None else None
        if record is None or record.weight:
            return None
        counted = self._reconciler.statistics(server.service.key)
        row = counted.servers().get(server.key) if counted is not None else None
        return None if row is None else sum(row[:3])

    # Who is meant

    def _meant(self, request: OverrideRequest) -> list[ServerState]:
        """Return the servers that an order is about. Raises `UnknownNameError`."""
        if request.everywhere:
            address = canonical(request.everywhere)
            found = [server for server in self._decisions.servers if server.key.address == address]
            if not found:
                raise UnknownNameError(f"no service has a real server with the address {request.everywhere}")
            return found
        services = [each for each in self._decisions.services if _is_called(request.service, _names_of(each))]
        if not services:
            raise UnknownNameError(f'no service is called "{request.service}" or has that address')
        found = []
        for word in request.servers or ("*",):
            members = [
                server
                for service in services
                for server in service.servers
                if _is_called(word, spellings(str(server.key)))
            ]
            if not members:
                raise UnknownNameError(f'no real server of "{request.service}" has the address {word}')
            found += [member for member in members if member not in found]
        return found

    def _about_absent(self, request: OverrideRequest) -> list[Override]:
        """Return the orders that a request takes back about servers that are not configured now.

        Empty if it means any other servers besides.
        """
        if not _takes_back(request):
            return []
        found = []
        for each in self._overrides:
            if (each.kind is Kind.WEIGHT) is not (request.verb == "weight") or any(self._about(each)):
                continue
            if request.everywhere:
                is_meant = (each.service, each.server) == (EVERYWHERE, canonical(request.everywhere))
            else:
                is_meant = (
                    each.service != EVERYWHERE
                    and _is_called(request.service, (self._name(each), *spellings(each.service)))
                    and any(_is_called(word, spellings(each.server)) for word in request.servers or ("*",))
                )
            if is_meant:
                found.append(each)
        is_all = all(any(_is_called(word, spellings(each.server)) for each in found) for word in request.servers)
        return found if is_all else []

    def _about(self, override: Override) -> Iterator[ServerState]:
        """Iterate over the configured servers that an order is about."""
        for service in self._decisions.services:
            if override.service not in {EVERYWHERE, str(service.key)}:
                continue
            for server in service.servers:
                if override.server in {str(server.key), server.key.address}:
                    yield server

    def _change(self, request: OverrideRequest, servers: list[ServerState], uid: int) -> _Change:
        """Return what an order changes. Raises `_RefusedError`."""
        if request.everywhere:
            places = [(EVERYWHERE, canonical(request.everywhere))]
        else:
            places = [(str(server.service.key), str(server.key)) for server in servers]
        now = self._wall()
        if _takes_back(request):
            return _Change([], list(self._to_remove(request, servers, set(places))))
        kind = Kind(request.verb)
        made = [
            Override(
                kind=kind,
                service=service,
                server=server,
                weight=request.weight if kind is Kind.WEIGHT else None,
                reason=request.reason,
                uid=uid,
                since=now,
                until=request.until,
                deadline=request.deadline if kind is Kind.DRAIN else None,
            )
            for service, server in places
        ]
        for each in made:
            replaced = self._overrides.replaced_by(each)
            if replaced is not None and replaced.kind is not kind and _ends_before(each, replaced):
                raise _RefusedError(
                    f"{each.server} is {in_words(replaced)}, which this would end with its own end; leave --for and "
                    "--until out, or enable it first"
                )
        return _Change(made, [])

    def _to_remove(
        self, request: OverrideRequest, servers: list[ServerState], places: set[tuple[str, str]]
    ) -> Iterator[Override]:
        is_weight = request.verb == "weight"
        for each in self._overrides:
            if (each.service, each.server) in places and (each.kind is Kind.WEIGHT) is is_weight:
                yield each
        if request.everywhere:
            return
        for server in servers:
            counting = self._overrides.of(server.service.key, server.key)[int(is_weight)]
            if counting is not None and counting.service == EVERYWHERE:
                again = f"--everywhere {server.key.address}"
                again = f"weight {again} auto" if is_weight else f"enable {again}"
                raise _RefusedError(f"{server.key} is {in_words(counting)}; lvs-healthd {again}")

    def _emptied_services(self, servers: Iterable[ServerState], after: Overrides) -> list[str]:
        """Return the names of the services that have a server that may serve now, and would have none."""
        touched = {server.service.key: server.service for server in servers}
        return [
            service.config.name
            for service in touched.values()
            if any(_serves(server, server.special) for server in service.servers)
            and not any(
                _serves(server, server.reconsidered(after.hand_of(service.key, server.key)))
                for server in service.servers
            )
        ]

    def _name(self, override: Override) -> str:
        if override.service == EVERYWHERE:
            return EVERYWHERE
        service = next((each for each in self._decisions.services if str(each.key) == override.service), None)
        return service.config.name if service is not None else override.service

    def _tell(self, change: _Change, why: str) -> None:
        now = self._wall()
        for each in change.removed:
            self._emit(
                OverrideEnded(
                    kind=each.kind,
                    service=self._name(each),
                    server=each.server,
                    why=why,
                    after_s=round(now - each.since, 1),
                )
            )
        for each in change.put:
            self._emit(
                OverrideSet(
                    kind=each.kind,
                    service=self._name(each),
                    server=each.server,
                    weight=each.weight,
                    reason=each.reason,
                    uid=each.uid,
                    until="" if each.until is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(each.until)),
                )
            )


class _RefusedError(Exception):
    """An order that cannot be carried out. The text says why, and what to type instead."""


def _takes_back(request: OverrideRequest) -> bool:
    return request.verb == "enable" or (request.verb == "weight" and request.weight is None)


def _ends_before(one: Override, other: Override) -> bool:
    return one.until is not None and (other.until is None or one.until < other.until)


def _apply(overrides: Overrides, change: _Change) -> None:
    for each in change.removed:
        overrides.remove(each)
    for each in change.put:
        overrides.put(each)


def _serves(server: ServerState, apart: Special | None) -> bool:
    """Whether a server may serve. A damped one does if no other server may."""
    if server.health.verdict is not Verdict.UP:
        return False
    if apart is None:
        return server.config.weight > 0
    return apart.state in {None, State.DAMPED} and apart.weight > 0


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


def _names_of(service: ServiceState) -> tuple[str, ...]:
    return (service.config.name, *spellings(str(service.key)))


def _is_called(word: str, names: Iterable[str]) -> bool:
    """Return whether a word, perhaps with wildcards, is one of the names."""
    known = tuple(names)
    if word in known or canonical(word) in known:
        return True
    if word.startswith("["):  # the bracket of an IPv6 address, which is not a wildcard
        word = f"[[]{word[1:]}" if any(character in word for character in "*?") else ""
    return any(character in word for character in _WILD) and any(fnmatch.fnmatchcase(name, word) for name in known)


def overrides_file(config: Config) -> Path:
    """Return the path of the file with the orders."""
    return Path(config.daemon.overrides or Path(config.daemon.state).with_name("overrides.json"))
