"""Tells of servers that flap, and holds them out where their service damps that. The rules are in `health.damping`."""

from collections.abc import Callable, Iterable

from lvs_healthd.config.model import Damping
from lvs_healthd.config.values import duration_text
from lvs_healthd.decide.held import ServerState, Watch
from lvs_healthd.events.kinds import Event, RealServerDamped, RealServerFlapping, RealServerReleased
from lvs_healthd.health import damping
from lvs_healthd.health.damping import Flaps
from lvs_healthd.runtime.pace import paced

USUAL = Damping()
"""By these values a server counts as flapping if its service damps nothing."""

_NOTHING = Flaps()

TURN_S = 1.0
"""How often servers that are held out are looked at, seconds."""


class Flapping:
    """Knows the servers that have fallen lately.

    emit: receives the events.
    Fallback servers are left out: one that flaps is better than none.

    changed: called when a server is held out, or let go.
    clock: monotonic time, seconds.
    """

    def __init__(
        self,
        emit: Callable[[Event], None],
        changed: Callable[[Iterable[ServerState]], None],
        clock: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._emit = emit
        self._changed = changed
        self._known: dict[ServerState, None] = {}
        """The servers of which something is remembered."""

    def fell(self, server: ServerState, now: float) -> None:
        """Note that a server has fallen.

        now: monotonic time, seconds.
        """
        if server.is_spare:
            return
        if server.flaps is None:  # as in a mass failure
            server.flaps = damping.first_fall(now)
            self._known[server] = None
            return
        rule = server.service.config.damping
        self._take(server, damping.fell(server.flaps, rule or USUAL, damps=rule is not None, now=now), now)

    def recovered(self, watch: Watch, failures: int, passes: int, now: float) -> None:
        """Note that a check passes again after failures that were too few for a fall.

        passes: how many probes passed between these failures and those before.
        now: monotonic time, seconds.
        """
        server, times = watch.server, (watch.check.interval, now)
        if server.is_spare:
            return
        rule = server.service.config.damping
        self._known[server] = None
        watch.rate = damping.failed_again(watch.rate, failures, passes, times, (rule or USUAL).window)
        if watch.rate.is_unsteady:
            self._take(server, damping.unsteady(server.flaps, rule or USUAL, damps=rule is not None, now=now), now)

    def keep(self, server: ServerState, flaps: Flaps | None) -> None:
        """Remember what was known of a server before a reload or a restart."""
        server.flaps = flaps
        if flaps is not None:
            self._known[server] = None

    async def turn(self) -> None:
        """Let go servers whose time is over, and forget what was long ago. To be repeated every `TURN_S`."""
        async for server in paced(tuple(self._known)):
            now, rule = self._clock(), server.service.config.damping
            for watch in server.watches:
                if watch.rate is not None and now - watch.rate.at >= (rule or USUAL).window:
                    watch.rate = None
            if not server.watches:  # a reload has replaced it
                self._known.pop(server, None)
                continue
            if server.flaps is not None:
                self._take(server, damping.later(server.flaps, rule or USUAL, damps=rule is not None, now=now), now)
            if server.flaps is None and all(watch.rate is None for watch in server.watches):
                self._known.pop(server, None)

    def _take(self, server: ServerState, flaps: Flaps | None, now: float) -> None:
        before = server.flaps
        if flaps is before:
            return
        server.flaps = flaps
        self._known[server] = None
        before, after = before or _NOTHING, flaps or _NOTHING
        is_held = before.until is not None or after.until is not None
        if is_held or (before.since is None and after.since is not None):  # otherwise there is nothing to tell
            self._tell(server, before, after, now)

    def _tell(self, server: ServerState, before: Flaps, flaps: Flaps, now: float) -> None:
        about = {"service": server.service.config.name, "server": str(server.key)}
        if before.since is None:
            self._emit(RealServerFlapping(**about, reason=signs(server, now), is_damped=flaps.until is not None))
        if flaps.until is not None and flaps.holds > before.holds:
            for_s = round(flaps.until - now, 3)
            self._emit(RealServerDamped(**about, reason=signs(server, now), for_s=for_s, times=flaps.holds))
        if before.until is not None and flaps.until is None:
            self._emit(RealServerReleased(**about, verdict=server.health.verdict))
        if before.until is not None or flaps.until is not None:
            self._changed((server,))


def signs(server: ServerState, now: float) -> str:
    """Say in words why a server counts as flapping.

    now: monotonic time, seconds.
    """
    window = (server.service.config.damping or USUAL).window
    falls = sum(now - at < window for at in server.flaps.falls) if server.flaps is not None else 0
    shares = [
        f"{round(100 * rate.failed / rate.probes)}% of the probes of {watch.check.name} fail"
        for watch in server.watches
        if (rate := watch.rate) is not None and rate.is_unsteady and now - rate.at < window
    ]
    fell = [f"it fell {falls} {'time' if falls == 1 else 'times'} within {duration_text(window)}"] if falls else []
    return "; ".join([*fell, *shares]) or "it went up and down"
