"""Stops the probes of services that are standby on this director, if that is configured, and starts them again.

What is suspended keeps its verdicts, and so its lines in the table. Nothing is suspended while the brake has anything
to look at: a director that loses its network may lose its addresses too, and must first know what was its own fault.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.model import Pair, Standby
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ProbeState
from lvs_healthd.decide.roles import Roles
from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.targets import ProbeKey
from lvs_healthd.probing.probe import Probe
from lvs_healthd.probing.prober import Prober
from lvs_healthd.runtime.pace import paced

AT_ONCE = 1024
"""How many probes are stopped or started in one go. That takes some milliseconds."""

RETRY_S = 1.0
"""After which time to look again whether probes may be suspended that the brake still needs, seconds."""


class Suspension:
    """Suspends the probes that only standby services use.

    decisions: holds the probes.
    prober: runs the plain ones.
    roles: the role of each service.
    paths_changed: called when path probes are to be started or stopped.
    """

    def __init__(self, decisions: Decisions, prober: Prober, roles: Roles, paths_changed: Callable[[], None]) -> None:
        self._decisions = decisions
        self._prober = prober
        self._roles = roles
        self._paths_changed = paths_changed
        self._is_on = False
        self._targets: dict[ProbeKey, Target] | None = None
        """The targets of all probes; None while nothing is ever suspended, to save memory."""
        self._stopped: dict[AnyCheck, None] = {}
        """The plain probes that the prober does not have."""
        self._due = asyncio.Event()

    def known(self, pair: Pair) -> Mapping[ProbeKey, object]:
        """Return the probes whose targets need not be made again for a configuration with this pair."""
        return self._decisions.probes if self._targets is not None or not _suspends(pair) else {}

    def configured(
        self, pair: Pair, added: Iterable[ProbeState], dropped: Collection[AnyCheck], ready: Mapping[ProbeKey, Target]
    ) -> tuple[list[Probe[AnyCheck]], list[AnyCheck]]:
        """Take over a configuration. Return what the prober is to begin to run, and what it is to drop.

        added, dropped: the plain probes that the configuration adds and drops.
        ready: the targets of the new probes; of all probes if `known` said so.
        """
        self._is_on = _suspends(pair)
        if self._is_on:
            known = self._targets or {}
            self._targets = {key: ready.get(key) or known[key] for key in self._decisions.probes}
        started = []
        for probe in added:
            if self._wants(probe):
                self._decisions.suspend(probe)
                self._stopped[probe.check] = None
            else:
                started.append(probe)
        gone = [check for check in dropped if check not in self._stopped]
        for check in dropped:
            self._stopped.pop(check, None)
        self.look_again()
        return joined(started, ready), gone

    def look_again(self) -> None:
        """Look soon which probes are to run, because a role may have changed."""
        self._due.set()

    async def run(self) -> None:
        """Stop and start probes until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            if not await self.turn():
                await asyncio.sleep(RETRY_S)
                self._due.set()

    async def turn(self) -> bool:
        """Stop and start probes as the roles want it. Return whether nothing has to wait. `run` repeats this."""
        is_busy = self._decisions.braking.is_busy
        if self._targets is None:
            return True
        changed, waits = [], False
        async for probe in paced(list(self._decisions.probes.values())):
            wanted = self._wants(probe)
            if wanted is not probe.is_suspended:
                waits |= wanted and is_busy
                if not (wanted and is_busy):
                    changed.append(probe)
        left = iter(changed)
        while batch := list(islice(left, AT_ONCE)):
            self._change(batch)
            await asyncio.sleep(0)
        if not self._is_on and not self._stopped:
            self._targets = None
        return not waits

    def _wants(self, probe: ProbeState) -> bool:
        """Whether a probe is to be suspended."""
        return self._is_on and all(self._roles.is_standby(watch.server.service.key) for watch in probe.watches)

    def _change(self, probes: Iterable[ProbeState]) -> None:
        """Stop or start these probes, if that is still wanted."""
        targets = self._targets or {}
        started, stopped = list[ProbeState](), list[AnyCheck]()
        for probe in probes:
            wanted = self._wants(probe)
            if wanted is probe.is_suspended or self._decisions.probes.get(probe.key) is not probe:
                continue
            (self._decisions.suspend if wanted else self._decisions.resume)(probe)
            if probe.is_path:
                self._paths_changed()
            elif wanted:
                self._stopped[probe.check] = None
                stopped.append(probe.check)
            else:
                del self._stopped[probe.check]
                started.append(probe)
        if started or stopped:
            self._prober.update(joined(started, targets), stopped)


def _suspends(pair: Pair) -> bool:
    return pair.standby is Standby.SUSPEND


def joined(probes: Iterable[ProbeState], ready: Mapping[ProbeKey, Target]) -> list[Probe[AnyCheck]]:
    """Combine the state of each probe, which receives the outcomes, with the probe's target."""
    return [Probe(each.check, ready[each.key], each.check.interval, each, each.pace_s) for each in probes]
