"""Lets one run of a program serve as the probe of many servers: exec checks with `per = "group"`.

For everybody else each server has a probe of its own. Only the scheduler gets the run instead of these probes, and the
run's outcome becomes one outcome for each of them. So verdicts, reloads and workers know nothing of groups.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.check_model import ExecCheck
from lvs_healthd.probes.outcome import Course, Outcome
from lvs_healthd.probes.targets import run_of, target
from lvs_healthd.probing.probe import Key, Probe, Sink

MOST_SERVERS = 256
"""The maximum number of servers in one run; larger services have several. All their outcomes come at once, and to take
that many servers down takes the event loop 5 ms."""


class Paced(NamedTuple):
    """How often something that is scheduled is to run."""

    key: Any
    pace_s: float


class Groups:
    """Knows the runs that several probes share, and which probes take part in each."""

    def __init__(self) -> None:
        self._runs: dict[ExecCheck, list[_Run]] = {}
        """The runs of each group, by what their probes have in common. A large group has several."""
        self._run_of: dict[Any, _Run] = {}
        """The run in which a probe takes part, by the probe's key."""

    def replaced(self, probes: Iterable[Probe[Key]], dropped: Iterable[Key]) -> tuple[list[Probe[Any]], list[Any]]:
        """Take a change of the probes. Return what is to be scheduled instead, and what is to be dropped.

        A run whose servers change is another run, with an early first turn.
        """
        touched: dict[_Run, None] = {}
        gone: list[Any] = []
        for key in dropped:
            run = self._run_of.pop(key, None)
            if run is None:
                gone.append(key)
            else:
                del run.members[key], run.paces[key]
                touched[run] = None
        new: list[Probe[Any]] = []
        for probe in probes:
            run = self._joined(probe)
            if run is None:
                new.append(probe)
            else:
                touched[run] = None
        for run in touched:
            old, run.check = run.check, run.as_check()
            if old == run.check:
                continue
            if old is not None:
                gone.append(old)
            if run.check is None:
                self._forget(run)
            else:
                new.append(Probe(run.check, target(run.check), run.check.interval, run, run.pace_s))
        return new, gone

    def paced(self, key: Any, pace_s: float) -> Paced | None:  # noqa: ANN401  # a probe's key may be of any type
        """Take a probe's new pace, seconds. Return what is to have another pace now; None if nothing is.

        A run has the shortest pace of its members.
        """
        run = self._run_of.get(key) if self._run_of else None
        if run is None:
            return Paced(key, pace_s)
        before, run.paces[key] = run.pace_s, pace_s
        return Paced(run.check, run.pace_s) if run.pace_s != before else None

    def _joined(self, probe: Probe[Any]) -> "_Run | None":
        """Let a probe take part in a run, and return the run; None for a probe that runs alone."""
        common = run_of(probe.key) if isinstance(probe.key, ExecCheck) else None
        if common is None:
            return None
        run = self._run_of.get(probe.key)
        if run is None:
            run = self._run_of[probe.key] = self._with_room(common)
        run.members[probe.key] = probe.sink
        run.paces[probe.key] = probe.pace_s or probe.interval_s
        return run

    def _with_room(self, common: ExecCheck) -> "_Run":
        runs = self._runs.setdefault(common, [])
        for run in runs:
            if len(run.members) < MOST_SERVERS:
                return run
        runs.append(_Run(common))
        return runs[-1]

    def _forget(self, run: "_Run") -> None:
        runs = self._runs[run.common]
        runs.remove(run)
        if not runs:
            del self._runs[run.common]


class _Run:
    """One run, which is the sink of its own outcome and passes the share of each server on.

    common: what the checks of all its servers have in common.
    """

    def __init__(self, common: ExecCheck) -> None:
        self.common = common
        self.members: dict[Any, Sink] = {}
        """Who receives the outcomes of each server's probe, by the probe's key."""
        self.paces: dict[Any, float] = {}
        """How often each server's probe is to run, seconds."""
        self.check: ExecCheck | None = None
        """The check that is scheduled; None before the first time, and when no server is left."""

    @property
    def pace_s(self) -> float:
        """How often it is to run, seconds: as often as any of its members; 0 without any."""
        return min(self.paces.values(), default=0.0)

    def as_check(self) -> ExecCheck | None:
        """Return the check of a run for all members; None without any."""
        servers = tuple(dict.fromkeys(Endpoint(each.address, each.port) for each in self.members))
        return msgspec.structs.replace(self.common, servers=servers) if servers else None

    def outcome(self, outcome: Outcome, course: Course) -> None:
        """Pass each server's share of an outcome on."""
        apart: Mapping[Endpoint, Outcome] = {share.server: share.outcome for share in outcome.apart}
        common = msgspec.structs.replace(outcome, apart=()) if apart else outcome
        for check, sink in tuple(self.members.items()):
            sink.outcome(apart.get(Endpoint(check.address, check.port), common), course)
