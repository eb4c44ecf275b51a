"""The state of every probe, check, real server and service between two outcomes. `decisions` has the logic."""

from collections.abc import Callable
from typing import Protocol

from lvs_healthd.config.model import AnyCheck, RealServer, Service
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.plan.records import planned
from lvs_healthd.probes.outcome import Outcome


class Tally(Protocol):
    """Counts the probes of one service and check type, for the metrics."""

    def add(self, outcome: Outcome, latency_s: float) -> None:
        """Count one probe."""


class Judge(Protocol):
    """Turns the outcomes of probes into verdicts; implemented by `Decisions`."""

    clock: Callable[[], float]

    def judge(self, probe: "ProbeState", outcome: Outcome, latency_s: float) -> bool:
        """Apply an outcome to every check that uses this probe. Return True when no check's health has changed."""


class ProbeState:
    """One probe and the checks that use its outcomes."""

    __slots__ = ("_judge", "_settled", "check", "last", "last_at", "latency_s", "tallies", "watches")

    def __init__(self, check: AnyCheck, judge: "Judge") -> None:
        self.check = check
        # These are tuples, as in `ServerState`, because there are tens of thousands of them, nearly all with one item,
        # and a list would take twice the memory.
        self.watches: tuple[Watch, ...] = ()
        self.tallies: tuple[Tally, ...] = ()
        """The tally of each watch, in the same order as `watches`."""
        self.last: Outcome | None = None
        self.last_at: float | None = None
        """When the last outcome came, seconds on the monotonic clock."""
        self.latency_s: float | None = None
        """How long the last probe took to reach its outcome, seconds."""
        self._judge = judge
        self._settled: Outcome | None = None
        """The last outcome if it changed no check's health; otherwise None.

        The same outcome will change nothing the next time either, so it is skipped, which makes the usual case cheap.
        """

    def outcome(self, outcome: Outcome, latency_s: float) -> None:
        """Take one outcome into account, for every check that uses this probe."""
        self.latency_s, self.last_at = latency_s, self._judge.clock()
        for tally in self.tallies:
            tally.add(outcome, latency_s)
        if outcome is not self._settled:
            self._settled = outcome if self._judge.judge(self, outcome, latency_s) else None

    def watch(self, watch: "Watch", tally: Tally) -> None:
        """Pass outcomes on to this watch too, and count them in `tally`."""
        self.watches += (watch,)
        self.tallies += (tally,)
        self._settled = None

    def unwatch(self, watch: "Watch") -> None:
        """Pass no more outcomes on to this watch. Once no watch is left, outcomes are ignored."""
        index = self.watches.index(watch)
        self.watches = self.watches[:index] + self.watches[index + 1 :]
        self.tallies = self.tallies[:index] + self.tallies[index + 1 :]


class Watch:
    """One check of one real server. It has its own rise and fall, but other checks may use the same probe."""

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
        """The key by which the kernel knows the service."""
        return self.planned.key

    def may_serve(self) -> bool:
        """Whether any real server may take connections."""
        return any(server.config.weight and server.health.verdict is Verdict.UP for server in self.servers)
