"""Gives a server that comes back its weight little by little, where its service has a `slow_start`.

A server comes back when it serves after it did not: it recovered, an operator enabled it, it is not damped any more,
its agent asks for a weight again, or a reload brought it in. What serves when the daemon starts has its whole weight,
and so does what first passes its checks then, because all servers would do so together.
"""

from collections.abc import Callable, Iterable

from lvs_healthd.decide.held import ServerState
from lvs_healthd.health.machine import Verdict
from lvs_healthd.plan.policy import Rule
from lvs_healthd.plan.precedence import FULL, Special, State
from lvs_healthd.runtime.pace import paced

STEP = 5
"""By how much the share of the weight grows at a time, percent. A step is a write to the kernel, so there are few."""

TURN_S = 0.5
"""How often the servers that are coming back are looked at, seconds."""


class SlowStarts:
    """Knows the servers that are coming back.

    grown: called with the servers whose share has grown.
    clock: monotonic time, seconds.
    """

    def __init__(self, grown: Callable[[Iterable[ServerState]], None], clock: Callable[[], float]) -> None:
        self._grown = grown
        self._clock = clock
        self._out: set[ServerState] = set()
        """The servers that do not serve, if they would come back slowly."""
        self._since: dict[ServerState, float] = {}
        """When each server that is coming back began to, seconds on the monotonic clock."""

    def continued(self, old: ServerState, server: ServerState) -> float | None:
        """Return since when a server comes back that replaces one with the same address, as after a reload.

        Seconds on the monotonic clock; None if it has its whole weight, or does not serve. Nothing is noted.
        """
        if not serves(server):
            return None
        since = self._since.get(old)
        return self._clock() if since is None and old in self._out else since

    def began(self, server: ServerState, *, since: float | None, is_new: bool) -> None:
        """Note how a server stands that the configuration has just brought.

        since: since when it comes back, seconds on the monotonic clock; None if it does not.
        is_new: whether it was brought by a reload, and not by the start.
        """
        if serves(server):
            if since is not None:
                self._since[server] = since
        elif is_new or server.health.verdict is not Verdict.UNKNOWN:
            self._out.add(server)

    def changed(self, server: ServerState) -> None:
        """Note that a reload has changed the slow start of a server's service. One that is under way ends in time."""
        if server.service.config.slow_start and not serves(server):
            self._out.add(server)
        else:
            self._out.discard(server)

    def forget(self, server: ServerState) -> None:
        """Forget a server that is not configured any more."""
        self._out.discard(server)
        self._since.pop(server, None)

    @property
    def is_idle(self) -> bool:
        """Whether no server is out or coming back."""
        return not self._out and not self._since

    def since(self, server: ServerState) -> float | None:
        """Return when a server began to come back, seconds on the monotonic clock; None if it has its whole weight."""
        return self._since.get(server)

    def follow(self, server: ServerState, *, has_served: bool) -> bool:
        """Take into account that a server may have begun or ceased to serve. Return whether its share has changed.

        To be called with the new health, orders and weights of the server in place.

        has_served: whether it has been in service all the time, although it could not serve by itself.
        """
        before = server.ramp
        if not serves(server):
            self._since.pop(server, None)
            if server.health.verdict is not Verdict.UNKNOWN:  # then only `began` knows whether it comes slowly
                self._out.add(server)
            server.ramp = FULL
        elif server in self._out:
            self._out.discard(server)
            if not has_served:
                self._since[server] = since = self._clock()
                server.ramp = self.share(server, since)
        return server.ramp != before

    async def turn(self) -> None:
        """Let the shares grow as time passes. To be repeated every `TURN_S`."""
        async for server in paced(tuple(self._since)):
            if server not in self._since:
                continue
            share = self.share(server, self._since[server])
            if share == FULL:
                del self._since[server]
            if share != server.ramp:
                server.ramp = share
                self._grown((server,))

    def share(self, server: ServerState, since: float) -> int:
        """Return the share of its weight that a server has now, percent.

        since: when it began to come back, seconds on the monotonic clock.
        """
        whole_s = server.service.config.slow_start
        passed_s = self._clock() - since
        if passed_s >= whole_s:
            return FULL
        return max(STEP, int(FULL / STEP * passed_s / whole_s) * STEP)


def is_needed(server: ServerState, was: Special | None) -> bool:
    """Return whether a server that could not serve by itself has served because there were not enough others.

    was: what set it apart.
    """
    rule = server.service.plan.rule
    return rule is Rule.FAIL_OPEN or (rule is Rule.DAMPED_TOO and was is not None and was.state is State.DAMPED)


def serves(server: ServerState) -> bool:
    """Return whether a server takes connections because it is up, and not because no other server may."""
    apart = server.special
    return server.may_serve(apart) and (apart is None or apart.state is None)
