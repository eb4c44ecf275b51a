"""Follows which of its services are active on this director of a pair, and tells when that changes."""

from collections.abc import Callable, Iterable, Iterator

from lvs_healthd.config.model import ActiveWhen, Config, Pair, Standby
from lvs_healthd.daemon.suspending import Suspension
from lvs_healthd.decide.roles import Role, Roles, Turn
from lvs_healthd.director import presence
from lvs_healthd.director.presence import Presence
from lvs_healthd.events.kinds import Event, PairActive, PairError, PairStandby
from lvs_healthd.runtime.netns import Netns

MOST_NAMED = 20
"""How many services an event names at most."""


class PairRuns:
    """Keeps the roles of all services true.

    roles: the role of each service, which are set here.
    netns: the network namespace of the IPVS table, whose addresses count.
    emit: receives the events.
    suspension: is told when a role changes.
    clock: monotonic time, seconds.
    """

    def __init__(
        self,
        roles: Roles,
        netns: Netns,
        emit: Callable[[Event], None],
        suspension: Suspension,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._roles = roles
        self._emit = emit
        self._suspension = suspension
        self._clock = clock
        self._presence = Presence(netns, self._look)
        self._pair = Pair()
        self._told = ""
        """The error that was told last."""

    @property
    def error(self) -> str:
        """Why the addresses of this host are not known; empty while they are, or if no role depends on them."""
        return self._presence.error if self._pair.active_when is ActiveWhen.VIP_PRESENT else ""

    async def prepare(self, config: Config) -> None:
        """Learn the addresses of this host if the roles of a configuration depend on them."""
        if config.pair.active_when is ActiveWhen.VIP_PRESENT:
            await self._presence.want()

    def configured(self, config: Config) -> list[Turn]:
        """Take over a configuration. Return the roles that are new, for `tell`."""
        self._pair = config.pair
        self._roles.configured(config.services, config.pair)
        return self._roles.see(self._presence.addresses, self._clock())

    def tell(self, turns: Iterable[Turn]) -> None:
        """Tell what has changed."""
        for event in self._news(turns):
            self._emit(event)

    def _news(self, turns: Iterable[Turn]) -> Iterator[Event]:
        if (error := self.error) != self._told:
            self._told = error
            if error:
                yield PairError(error=error, retry_s=presence.RETRY_S)
        for turn in turns:
            names, count = turn.services[:MOST_NAMED], len(turn.services)
            after_s = None if turn.after_s is None else round(turn.after_s, 3)
            if turn.now.role is Role.ACTIVE:
                reason = "" if turn.now.is_known else "the addresses of this host cannot be read"
                yield PairActive(vip=turn.vip, services=names, count=count, after_s=after_s, reason=reason)
            else:
                is_suspended = self._pair.standby is Standby.SUSPEND
                yield PairStandby(vip=turn.vip, services=names, count=count, after_s=after_s, suspended=is_suspended)

    def _look(self) -> None:
        turns = self._roles.see(self._presence.addresses, self._clock())
        self.tell(turns)
        if turns:
            self._suspension.look_again()

    async def run(self) -> None:
        """Follow the addresses of this host until cancelled."""
        await self._presence.run()
