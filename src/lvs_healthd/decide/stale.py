"""Tells which verdicts have not been renewed for long, because nothing has come of their probes that proves anything.

Such a verdict is held, and so is the server's place in the table. But an operator must know that it is only a memory:
after `fall` failures the server would be out, and nobody sees these failures.

An outcome that is not unsure renews the verdicts of all checks that use its probe. Agents are left out, because what
they said last stands however long they are silent, and so are probes that are not run: path probes without their mark
services, and the probes of services that are suspended.
"""

from collections.abc import AsyncIterator, Callable, Collection

from lvs_healthd.decide.held import ProbeState, Watch
from lvs_healthd.events.kinds import CheckRenewed, CheckStale
from lvs_healthd.probes.outcome import OutcomeKind
from lvs_healthd.runtime.pace import paced

LEAST_S = 60.0
"""A verdict is never stale sooner than after so many seconds: faults of the director that pass within a minute have
been told as unsure outcomes, and that is enough."""

LEAST_INTERVALS = 5
"""So many probes in succession must have proved nothing, each at its pace or for its whole timeout."""

TURN_S = 5.0
"""How often all probes are looked at, seconds. Fifty thousand take 15 ms, in slices."""


def patience_s(probe: ProbeState) -> float:
    """Return after how many seconds without proof the verdicts of a probe's checks are stale."""
    check = probe.check
    return max(LEAST_S, LEAST_INTERVALS * max(check.interval, probe.pace_s, check.timeout))


def renewed_at(probe: ProbeState) -> float:
    """Return when an outcome last proved something, or the probe began to run, seconds on the monotonic clock."""
    is_sure = probe.last is not None and probe.last.kind is not OutcomeKind.UNSURE
    last_at = probe.last_at if is_sure else None
    return probe.sure_at if last_at is None else max(last_at, probe.sure_at)


def is_stale(probe: ProbeState, now: float) -> bool:
    """Return whether the verdicts of a probe's checks are stale.

    now: monotonic time, seconds.
    """
    is_run = probe.is_run and not probe.is_suspended
    return is_run and not probe.is_agent and now - renewed_at(probe) > patience_s(probe)


class Stale:
    """Knows the probes whose verdicts are stale, and tells of each once.

    probes: returns all probes.
    clock: monotonic time, seconds.
    """

    def __init__(self, probes: Callable[[], Collection[ProbeState]], clock: Callable[[], float]) -> None:
        self._probes = probes
        self._clock = clock

    async def turn(self) -> AsyncIterator[CheckStale | CheckRenewed]:
        """Look at all probes, and yield what is new."""
        async for probe in paced(tuple(self._probes())):
            now = self._clock()
            if not probe.is_stale and probe.is_sure_since(now - LEAST_S):
                continue  # nearly all, at a glance
            if is_stale(probe, now) is probe.is_stale:
                continue
            probe.is_stale = not probe.is_stale
            async for watch in paced(probe.watches):
                yield _stale(watch, now) if probe.is_stale else _renewed(watch)


def _stale(watch: Watch, now: float) -> CheckStale:
    last = watch.probe.last
    return CheckStale(
        **_names(watch),
        verdict=watch.health.verdict,
        age_s=round(now - renewed_at(watch.probe), 3),
        reason=last.detail if last is not None else "its probe has not ended once",
    )


def _renewed(watch: Watch) -> CheckRenewed:
    return CheckRenewed(**_names(watch), verdict=watch.health.verdict)


def _names(watch: Watch) -> dict[str, str]:
    server = watch.server
    return {"service": server.service.config.name, "server": str(server.key), "check": watch.check.name}


def remark_on(probe: ProbeState, now: float) -> str:
    """Return the remark on a probe whose verdicts are stale; empty for any other.

    now: monotonic time, seconds.
    """
    if not probe.is_stale:
        return ""
    return (
        f"the verdict is {int(now - renewed_at(probe))}s old and only held, because no probe has proved anything since"
    )
