"""What is held of every probe, check, real server and service between two outcomes. `decisions` does the thinking."""

from collections.abc import Callable
from typing import Protocol

from lvs_healthd.config.model import AnyCheck, RealServer, Service
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.plan.records import planned
from lvs_healthd.probes.outcome import Outcome


class Tally(Protocol):
    """What counts every probe: the metrics of one service and check type."""

    def add(self, outcome: Outcome, latency_s: float) -> None:
        """Count one probe."""


class Judge(Protocol):
    """Who decides by what probes find."""

    clock: Callable[[], float]

    def judge(self, probe: "ProbeState", outcome: Outcome, latency_s: float) -> bool:
        """Step the health of everybody who uses this probe; True when it stays as it is for this outcome."""


class ProbeState:
    """One probe and everybody who uses its outcome."""

    __slots__ = ("_judge", "_settled", "check", "last", "last_at", "latency_s", "tallies", "watches")

    def __init__(self, check: AnyCheck, judge: "Judge") -> None:
        self.check = check
        # Tuples, as in `ServerState`: there are tens of thousands, nearly all of one, and a list takes twice that.
        self.watches: tuple[Watch, ...] = ()
        self.tallies: tuple[Tally, ...] = ()
        """One for each watch."""
        self.last: Outcome | None = None
        self.last_at: float | None = None
        """When it ended, on the monotonic clock."""
        self.latency_s: float | None = None
        """Of the last probe."""
        self._judge = judge
        self._settled: Outcome | None = None
        """The outcome that changed nothing the last time, and so will not the next time: the usual case, made short."""

    def outcome(self, outcome: Outcome, latency_s: float) -> None:
        """Take one probe's outcome into account, for everybody who uses that probe."""
        self.latency_s, self.last_at = latency_s, self._judge.clock()
        for tally in self.tallies:
            tally.add(outcome, latency_s)
        if outcome is not self._settled:
            self._settled = outcome if self._judge.judge(self, outcome, latency_s) else None

    def watch(self, watch: "Watch", tally: Tally) -> None:
        """Judge by this watch too."""
        self.watches += (watch,)
        self.tallies += (tally,)
        self._settled = None

    def unwatch(self, watch: "Watch") -> None:
        """Judge by this watch no more; without any, what a probe still under way will find is of no consequence."""
        index = self.watches.index(watch)
        self.watches = self.watches[:index] + self.watches[index + 1 :]
        self.tallies = self.tallies[:index] + self.tallies[index + 1 :]


class Watch:
    """One check of one real server: a probe's outcomes, judged by this check's rise and fall."""

    __slots__ = ("check", "health", "probe", "server", "type")

    def __init__(self, check: AnyCheck, server: "ServerState", probe: ProbeState, health: Health) -> None:
        self.check = check
        self.server = server
        self.probe = probe
        self.health = health
        self.type = str(check.__struct_config__.tag)


class ServerState:
    """One real server of one service."""

    __slots__ = ("config", "health", "key", "service", "watches")

    def __init__(self, service: "ServiceState", config: RealServer, key: DestinationKey) -> None:
        self.service = service
        self.config = config
        self.key = key
        self.watches: tuple[Watch, ...] = ()
        self.health: Health


class ServiceState:
    """One virtual service. `serving` is None until it is known whether any server may serve."""

    __slots__ = ("config", "planned", "servers", "serving")

    def __init__(self, config: Service) -> None:
        self.config = config
        self.planned = planned(config)
        self.servers: list[ServerState] = []
        self.serving: bool | None = None

    @property
    def key(self) -> ServiceKey:
        """What the kernel knows it by."""
        return self.planned.key

    def may_serve(self) -> bool:
        """Whether any real server may take connections."""
        return any(server.config.weight and server.health.verdict is Verdict.UP for server in self.servers)
