"""How the servers of a service stand: what decides the line of each, and how many stand how. Pure."""

import functools
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import msgspec

from lvs_healthd.health.machine import UNKNOWN, UP, Verdict
from lvs_healthd.ipvs.records import DestinationKey
from lvs_healthd.plan.precedence import State
from lvs_healthd.plan.records import PlannedServer

NOT_ORDERED = frozenset({None, State.DAMPED})
"""The states that no operator has ordered."""


class Standing(msgspec.Struct, frozen=True, gc=False):
    """What decides a real server's line."""

    verdict: Verdict
    weight: int
    """Its weight when it serves."""
    state: State | None = None
    """What keeps it from serving, whatever its verdict; None for nothing."""
    is_empty: bool = False
    """Whether a drained server is out of the table."""

    @property
    def serves(self) -> bool:
        """Whether it may take new connections, if its weight is not 0."""
        return self.state is None and self.verdict is UP

    @property
    def is_spared(self) -> bool:
        """Whether it is up, and only damping keeps it from serving."""
        return self.state is State.DAMPED and self.verdict is UP

    @property
    def may_come(self) -> bool:
        """Whether only its checks are missing."""
        return self.state is None and self.verdict is UNKNOWN


@functools.lru_cache(maxsize=1024)
def plain_standing(verdict: Verdict, weight: int) -> Standing:
    """Return what decides the line of a server that nothing sets apart. Thousands of servers may share it."""
    return Standing(verdict, weight)


Spares = Mapping[DestinationKey, Standing]
"""How the fallback servers of a service stand."""

UNCHECKED = Standing(Verdict.UP, 1)
"""How a fallback server stands of which nothing is known. It has its configured weight."""

NO_SPARES: Spares = MappingProxyType({})
"""Nothing is known of any fallback server."""


class Members(msgspec.Struct, frozen=True):
    """The servers of a service as they stand."""

    everybody: Callable[[], Iterable[tuple[PlannedServer, Standing]]]
    """Returns all real servers. It is called when others serve than before although they have not changed."""
    spares: Spares = NO_SPARES
    """How the fallback servers stand. One that is missing is up."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """A real server whose line must be decided again."""

    server: PlannedServer
    before: Standing | None
    """What the previous plan used; None if there is no previous plan."""
    now: Standing


class Counts(msgspec.Struct, frozen=True, gc=False):
    """How many real servers of a service stand how. All but `up` and `unproven` leave out those with weight 0."""

    up: int = 0
    """Those that are up, whatever else."""
    servers: int = 0
    """Those that are up, and that nothing keeps from serving."""
    weight: int = 0
    damped: int = 0
    """Those that are up and damped."""
    damped_weight: int = 0
    unproven: int = 0
    """Those that are not proven yet. The plan then depends on what is in the kernel's table."""
    unproven_servers: int = 0
    unproven_weight: int = 0
    open_weight: int = 0
    """The weight of those that no operator takes out, whatever their checks find."""

    def moved(self, changes: Iterable[Change]) -> "Counts":
        """Return the counts after these changes."""
        up, servers, weight, damped, damped_weight = self.up, self.servers, self.weight, self.damped, self.damped_weight
        unproven, unproven_servers, unproven_weight = self.unproven, self.unproven_servers, self.unproven_weight
        open_weight = self.open_weight
        for change in changes:
            for standing, times in ((change.before, -1), (change.now, 1)):
                if standing is None:
                    continue
                verdict, state, each = standing.verdict, standing.state, times * standing.weight
                counted = times if each else 0
                if state is None:
                    open_weight += each
                    if verdict is UP:
                        up += times
                        servers += counted
                        weight += each
                    elif verdict is UNKNOWN:
                        unproven += times
                        unproven_servers += counted
                        unproven_weight += each
                    continue
                is_damped = state is State.DAMPED
                if is_damped:
                    open_weight += each
                if verdict is UP:
                    up += times
                    if is_damped:
                        damped += counted
                        damped_weight += each
        return Counts(
            up, servers, weight, damped, damped_weight, unproven, unproven_servers, unproven_weight, open_weight
        )
