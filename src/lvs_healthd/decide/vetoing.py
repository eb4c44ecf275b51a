"""Holds the servers that went down here while other directors see them up. The rules are in `agreeing`.

The brake comes first: what it keeps is held as long as it lasts, and others are asked when it lets go. A veto gates
writing, as the brake does: verdicts and the wanted table are not changed by it, and an operator's order is not held.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

from lvs_healthd.decide.agreeing import Opinion, Sight, Veto, vetoed, voted
from lvs_healthd.decide.braking import held_out, is_ordered_out
from lvs_healthd.decide.held import ServerState, ServiceState
from lvs_healthd.health.machine import DOWN, UP, Verdict
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.plan.records import destination_key
from lvs_healthd.probes.outcome import OutcomeKind
from lvs_healthd.reconcile.gate import Braked
from lvs_healthd.runtime.pace import paced

LEASE_S = 10.0
"""How old what another director says may be, seconds. It must renew that before."""

TOLD_AFTER_S = 2.0
"""A veto is told if it lasts for so long, seconds. A server that dies does so at another moment for each director."""


class Directors(Protocol):
    """Knows what other directors say."""

    def of(self, service: ServiceKey, server: DestinationKey) -> Iterable[Opinion]:
        """Return what each says about a server."""


class Alone:
    """Knows no other director."""

    def of(self, service: ServiceKey, server: DestinationKey) -> Iterable[Opinion]:  # noqa: ARG002
        """Return ()."""
        return ()


class Change(NamedTuple):
    """A veto that is to be told: it begins or ends."""

    server: ServerState
    veto: Veto
    reason: str
    """Why it holds, or what has ended it, in words."""
    after_s: float | None = None
    """How long it was in force, seconds; None if it begins."""


class Vetoing:
    """The servers whose removal other directors hold back.

    is_braked: whether the brake keeps a server.
    clock: monotonic time, seconds.
    """

    def __init__(self, is_braked: Callable[[ServerState], bool], clock: Callable[[], float]) -> None:
        self.agree = 1
        """How many directors must see a server down so that it goes, oneself included."""
        self.directors: Directors = Alone()
        self.doubted = asyncio.Event()
        """Set when there is a veto to look at."""
        self._is_braked = is_braked
        self._clock = clock
        self._vetoes: dict[ServerState, Veto] = {}
        """What became of each server that went down, until its verdict changes."""
        self._holding: dict[ServerState, None] = {}
        """Those of them that are held."""
        self._risen: dict[ServerState, None] = {}
        """Those that were held and have come up since the wanted table was last planned. It lacks them until then."""
        self._told: dict[ServerState, None] = {}
        self._ended: list[Change] = []

    @property
    def is_busy(self) -> bool:
        """Whether anything is held."""
        return bool(self._holding or self._ended)

    @property
    def held(self) -> Iterator[tuple[ServerState, Veto]]:
        """The servers that are held."""
        for server in self._holding:
            if _counts(server):
                yield server, self._vetoes[server]

    def of(self, server: ServerState) -> Veto | None:
        """Return what became of a server that went down; None if others were not asked."""
        return self._vetoes.get(server)

    def keeps(self, server: ServerState) -> bool:
        """Whether a server that went down has been kept in the table since."""
        return server in self._risen or server in self._holding

    def health_changed(self, server: ServerState, was: Verdict) -> None:
        """Note that a server's verdict has changed.

        was: its verdict before.
        """
        if server.health.verdict is DOWN:
            if was is UP and self.agree > 1 and not server.is_spare and not self._is_braked(server):
                self.consider(server)
            return
        if (veto := self._vetoes.pop(server, None)) is not None and veto.holds:
            self._risen[server] = None
            self._end(server, veto, f"it is {server.health.verdict} here again")

    def consider(self, server: ServerState) -> None:
        """Ask the others about a server that would go now, because it is down and the brake does not keep it."""
        if self.agree <= 1 or server.is_spare or server.health.verdict is not DOWN or not server.watches:
            return
        before = self._vetoes.get(server)
        after = vetoed(
            before, voted(self.directors.of(server.service.key, server.key), self.agree, LEASE_S), self._clock()
        )
        self._vetoes[server] = after
        if after.holds:
            self._holding[server] = None
            self.doubted.set()
        elif before is not None and before.holds:
            self._end(server, after, after.over)

    def configured(self, agree: int) -> None:
        """Take over a configuration.

        agree: how many directors must see a server down so that it goes, oneself included.
        """
        self.agree = agree
        for server, veto in list(self._vetoes.items()):
            if not server.watches or agree <= 1:
                del self._vetoes[server]
                self._end(server, veto, "it is not configured any more" if agree > 1 else "agree is 1 now")

    def _end(self, server: ServerState, veto: Veto, reason: str) -> None:
        self._holding.pop(server, None)
        if server in self._told:
            del self._told[server]
            self._ended.append(Change(server, veto, reason, self._clock() - veto.since))
            self.doubted.set()

    def planned(self) -> None:
        """Note that the wanted table now follows from all verdicts so far."""
        self._risen.clear()

    async def turn(self) -> list[Change]:
        """Ask the others again about all servers that are held. Return what is to be told."""
        async for server in paced(list(self._holding)):
            if server in self._holding:
                self.consider(server)
        changes, self._ended = self._ended, []
        now = self._clock()
        for server, veto in self.held:
            if server not in self._told and now - veto.since >= TOLD_AFTER_S:
                self._told[server] = None
                changes.append(Change(server, veto, str(veto.vote)))
        return changes

    def kept(self) -> dict[ServiceKey, Braked]:
        """Return what is kept from being written: servers that stay, and a fallback that does not come."""
        services: dict[ServiceState, set[DestinationKey]] = {}
        for server in (*(server for server, _ in self.held), *self._risen):
            if _counts(server):
                services.setdefault(server.service, set()).add(server.key)
        return {
            service.key: Braked(servers | held_out(service), frozenset(map(destination_key, service.config.fallback)))
            for service, servers in services.items()
        }


def _counts(server: ServerState) -> bool:
    return bool(server.watches) and not is_ordered_out(server)


def sight_of(server: ServerState, *, is_braked: bool) -> Sight:
    """Return how this director sees a server, for others.

    is_braked: whether the brake keeps it: it may be the director that is cut off.
    """
    if server.health.verdict is DOWN:
        return Sight.UNSURE if is_braked else Sight.DOWN
    if server.health.verdict is not UP:
        return Sight.UNSURE
    for watch in server.watches:
        probe = watch.probe
        if probe.is_run and (probe.is_suspended or probe.last is None or probe.last.kind is OutcomeKind.UNSURE):
            return Sight.UNSURE
    return Sight.UP
