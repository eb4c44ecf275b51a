"""The state of every probe, check, real server and service between two outcomes. `verdicts` has the logic."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from lvs_healthd.config.check_model import AgentCheck, AnyCheck, uses_tls
from lvs_healthd.config.model import Below, FallbackServer, RealServer, Service
from lvs_healthd.decide.agents import word_of
from lvs_healthd.decide.history import NO_HISTORY, Streak, extended, is_like
from lvs_healthd.decide.last_probe import course_of, ended_at, packed, took_s
from lvs_healthd.decide.tally import Tally
from lvs_healthd.health import machine
from lvs_healthd.health.damping import Flaps, Rate, held_out
from lvs_healthd.health.machine import UP, Health
from lvs_healthd.health.pace import pace
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.plan.policy import NO_PLAN
from lvs_healthd.plan.precedence import FULL, Asking, Hand, Special, State, special
from lvs_healthd.plan.records import planned
from lvs_healthd.probes.outcome import AskedWeight, Course, Outcome, OutcomeKind, Reason
from lvs_healthd.probes.targets import ProbeKey


class Judge(Protocol):
    """Turns the outcomes of probes into verdicts; implemented by `Verdicts`."""

    clock: Callable[[], float]
    history: int
    """How many streaks to keep of each probe."""
    began: float
    """When the configuration in force was taken over, seconds on the monotonic clock."""

    def dated(self, probe: "ProbeState", outcome: Outcome) -> Outcome:
        """Return an outcome of a probe that verifies a certificate; unsure if our own clock may be the cause."""

    def blamed(self, probe: "ProbeState", outcome: Outcome, course: Course) -> Outcome | None:
        """Return a doubtful outcome as down or unsure (see `decide.blame`). An unsure one is a new object each time.

        None means that the answer takes a moment. Then the probe gets the same outcome once more, unless a newer one
        has come by then.
        """

    def presented(self, probe: "ProbeState") -> None:
        """Note that a probe was presented a certificate with another end than before."""

    def judge(self, probe: "ProbeState", outcome: Outcome, latency_s: float) -> bool:
        """Apply an outcome to every check that uses this probe. Return True when no check's health has changed."""


DOUBTFUL = frozenset({Reason.NO_ROUTE, Reason.TIMEOUT, Reason.UNREACHABLE})
"""The reasons for which a probe's own outcome does not say whose fault the failure is. `decide.blame` decides."""

LONGEST_STREAK = 256
"""Streaks are counted up to here, with integers that Python has ready. A check whose `rise` or `fall` is above this
limit keeps a count of its own."""


class ProbeState:
    """One probe and the checks that use its outcomes."""

    is_path = False
    """Whether it goes through the virtual service (see `decide.paths`)."""

    __slots__ = (
        "_is_plain",
        "_judge",
        "_last_probe",
        "_settled",
        "alike",
        "certificate_end",
        "check",
        "failed",
        "history",
        "is_stale",
        "is_suspended",
        "key",
        "last",
        "pace_s",
        "passed",
        "silent_since",
        "since",
        "streak",
        "sure_at",
        "tallies",
        "times",
        "unrouted_since",
        "watches",
    )

    def __init__(self, key: ProbeKey, check: AnyCheck, judge: "Judge") -> None:
        self.key = key
        self.check = check
        """The check for which the probe was made. In what concerns the probe, all the others are equal to it."""
        self.pace_s: float = check.interval
        """How often it is to run now, seconds: as often as any of its checks wants (`health.pace`)."""
        self._is_plain = not (self.is_agent or self.is_verified)
        # These are tuples, as in `ServerState`, because there are tens of thousands of them, nearly all with one item,
        # and a list would take twice the memory.
        self.watches: tuple[Watch, ...] = ()
        self.tallies: tuple[Tally, ...] = ()
        """The tallies of the watches, without repetition."""
        self.times: tuple[int, ...] | None = None
        """How many watches each tally stands for, in the order of `tallies`; None when each stands for one."""
        self.last: Outcome | None = None
        self.streak = 0
        """How many outcomes of the same kind as `last` there were in succession, up to `LONGEST_STREAK`."""
        self.passed = 0
        """How many probes had passed before the streak that is under way, since the failures before that. While there
        are failures, `~passed`, which is negative."""
        self.since: float | None = None
        """When the first outcome came that is like `last`, with only such ones since; None before the first. Seconds on
        the monotonic clock."""
        self.alike = 0
        """How many outcomes there were since, up to `LONGEST_STREAK`."""
        self.history = NO_HISTORY
        """The streaks before."""
        self.failed: Course | None = None
        """How the last probe went that did not pass, if one has passed since."""
        self._last_probe = b""
        """When the last outcome came, and how its probe went (`last_probe`); empty before the first."""
        self.sure_at = judge.began
        """When the last outcome came before `last` that was not unsure, or the probe was new. Seconds on the monotonic
        clock."""
        self.is_stale = False
        """Whether it has been told that the verdicts of its checks have not been renewed for long (see `stale`)."""
        self.is_suspended = False
        """Whether it is not run, because all services that use it are standby (see `roles`)."""
        self.unrouted_since = 0.0
        """When the first probe of the current streak without a route began, seconds on the monotonic clock. The value
        is meaningless unless the reason of `last` is NO_ROUTE."""
        self.silent_since: float | None = None
        """When the probe began after which the target has answered none; None if it has. See `decide.braking`."""
        self.certificate_end: float | None = None
        """When the certificate ends that the target presented last, Unix time; None before the first."""
        self._judge = judge
        self._settled: Outcome | None = None
        """The last outcome if it changed no check's health; otherwise None. The same outcome will change nothing next
        time either, so it is skipped, which makes the usual case cheap."""

    @property
    def is_agent(self) -> bool:
        """Whether the target's agent is asked."""
        return isinstance(self.check, AgentCheck)

    @property
    def is_verified(self) -> bool:
        """Whether the outcome depends on the dates of a certificate."""
        return uses_tls(self.check) and (self.check.tls.verify or self.check.tls.expires_fail > 0)

    @property
    def last_at(self) -> float | None:
        """When the last outcome came, seconds on the monotonic clock; None before the first."""
        return ended_at(self._last_probe) if self._last_probe else None

    def is_sure_since(self, then: float) -> bool:
        """Return whether an outcome has come since then that was not unsure.

        then: seconds on the monotonic clock.
        """
        last = self.last
        return last is not None and last.kind is not OutcomeKind.UNSURE and ended_at(self._last_probe) >= then

    @property
    def latency_s(self) -> float | None:
        """How long the last probe took to reach its outcome, seconds; None before the first."""
        return took_s(self._last_probe) if self._last_probe else None

    @property
    def course(self) -> Course | None:
        """How the last probe went; None before the first."""
        return course_of(self._last_probe) if self._last_probe else None

    @property
    def is_run(self) -> bool:
        """Whether the probe is run at all. Only path probes may not be."""
        return True

    def outcome(self, outcome: Outcome, course: Course) -> None:
        """Take one outcome into account, for every check that uses this probe."""
        if not self._is_plain:
            outcome = self._judge.dated(self, outcome) if self.is_verified else word_of(outcome)
        is_settled = outcome is self._settled
        if not is_settled and outcome.reason in DOUBTFUL:
            blamed = self._judge.blamed(self, outcome, course)
            if blamed is None:
                return
            outcome = blamed
        latency_s, now = course.total_s, self._judge.clock()
        if not is_settled:
            self._remember(outcome, now)
        self._last_probe = packed(course, now)
        if self.times is None:
            for tally in self.tallies:
                tally.add(outcome, latency_s)
        else:
            for tally, times in zip(self.tallies, self.times, strict=True):
                tally.add(outcome, latency_s, times)
        if not is_settled:
            end = outcome.certificate_end
            if end is not None and end != self.certificate_end:
                self.certificate_end = end
                self._judge.presented(self)
            self._settled = outcome if self._judge.judge(self, outcome, latency_s) else None
            return
        if self.streak < LONGEST_STREAK:
            self.streak += 1
        if self.alike < LONGEST_STREAK:
            self.alike += 1

    def _remember(self, outcome: Outcome, now: float) -> None:
        """Put the current streak into the history if this outcome ends it."""
        last, since = self.last, self.since
        if last is None or since is None or not self._last_probe:
            self.since = now
        elif last is not outcome and not is_like(last, outcome):
            last_at = ended_at(self._last_probe)
            if last.kind is not OutcomeKind.UNSURE:
                self.sure_at = last_at
            if self._judge.history:
                streak = Streak(last, since, last_at, self.alike)
                self.history = extended(self.history, streak, self._judge.history)
            if last.kind is not OutcomeKind.UP:
                self.failed = self.course
            self.since, self.alike = now, 0
        if self.alike < LONGEST_STREAK:
            self.alike += 1

    def settle(self, watches: "tuple[Watch, ...]", outcome: Outcome) -> None:
        """Record that an outcome has changed nothing for these watches.

        Does nothing if a newer outcome has come, or if the probe has other watches by now.
        """
        if outcome is self.last and watches is self.watches:
            self._settled = outcome

    def resumed(self, now: float) -> None:
        """Note that it is run again, after it was suspended.

        now: seconds on the monotonic clock.
        """
        self.is_suspended, self.sure_at = False, now
        self._settled = None  # the same outcome as before tells something again

    def streaks(self) -> tuple[Streak, ...]:
        """Return what the probe has found, the oldest first. The last streak is still under way."""
        past = tuple(self.history.streaks())
        if self.last is None or self.since is None or self.last_at is None:
            return past
        return (*past, Streak(self.last, self.since, self.last_at, self.alike))

    def inherit(self, before: "ProbeState") -> None:
        """Take over what another probe has found, because an edited check uses this one instead, which is new."""
        if self.last is not None or self.history is not NO_HISTORY or not self._judge.history:
            return
        for streak in before.streaks():
            self.history = extended(self.history, streak, self._judge.history)
        self.failed = before.failed

    def use(
        self, watches: "tuple[Watch, ...]", tallies: tuple[Tally, ...], times: tuple[int, ...] | None = None
    ) -> None:
        """Pass outcomes on to these watches from now on. If there are none, later outcomes are ignored."""
        self.watches, self.tallies, self.times = watches, tallies, times
        self._settled = None

    def repace(self) -> bool:
        """Find out how often the probe is to run. Return whether that has changed.

        While it is unsure it does not hurry, because the fault is probably on our own side.
        """
        if len(self.watches) == 1:
            watch = self.watches[0]
            pace_s = pace(watch.health, watch.check)
        else:
            pace_s = min([pace(watch.health, watch.check) for watch in self.watches], default=self.check.interval)
        if self.last is not None and self.last.kind is OutcomeKind.UNSURE:
            pace_s = max(pace_s, self.check.interval)
        if pace_s == self.pace_s:
            return False
        self.pace_s = pace_s
        return True

    def known(self, rise: int, fall: int) -> Health | None:
        """Return the health with which another check that uses this probe begins; None when the streak proves nothing.

        The streak proves nothing when there is no outcome yet, when the last one was unsure, and when it is older than
        its pace and `timeout` together. In that case the next outcome is overdue.

        rise, fall: the other check's own.
        """
        now, check = self._judge.clock(), self.check
        if self.last is None or self.last_at is None or self.last.kind is OutcomeKind.UNSURE:
            return None
        if now - self.last_at > max(check.interval, self.pace_s) + check.timeout:
            return None
        return machine.seen(self.last, self.streak, rise=rise, fall=fall, now=now)


class Watch:
    """One check of one real server. It has its own rise and fall, but other checks may use the same probe."""

    __slots__ = ("asks", "check", "health", "probe", "rate", "remarked", "server", "type")

    def __init__(self, check: AnyCheck, server: "ServerState", probe: ProbeState, health: Health) -> None:
        self.check = check
        self.server = server
        self.probe = probe
        self.health = health
        self.asks: AskedWeight | None = None
        """The weight that the target has asked for last, in this check."""
        self.type = str(check.__struct_config__.tag)
        self.rate: Rate | None = None
        """How many of its probes fail; None before the first failure."""
        self.remarked: tuple[float, ...] = ()
        """The last ends of certificates that `endings` has remarked on, Unix time."""


class ServerState:
    """One real server, or fallback server, of one service."""

    __slots__ = ("config", "flaps", "hand", "health", "is_spare", "key", "ramp", "service", "special", "watches")

    def __init__(self, service: "ServiceState", config: RealServer, key: DestinationKey) -> None:
        self.service = service
        self.config = config
        self.key = key
        self.is_spare = isinstance(config, FallbackServer)
        """Whether it is a fallback server."""
        self.watches: tuple[Watch, ...] = ()
        self.health: Health
        self.flaps: Flaps | None = None
        """What is remembered of its falls; None for nothing."""
        self.hand: Hand | None = None
        """What operators want of it; None for nothing."""
        self.ramp = FULL
        """The share of its weight that a slow start allows now, percent."""
        self.special: Special | None = None
        """What sets it apart from a server that serves by its verdict, with its configured weight; None for nothing."""

    def reconsidered(self, hand: Hand | None) -> Special | None:
        """Return what sets it apart if operators want this of it (see `special`)."""
        damped = held_out(self.flaps, self.service.config.damping) if self.flaps is not None else ""
        asking = [Asking(watch.check.name, watch.asks) for watch in self.watches if watch.asks is not None]
        if not asking and hand is None and not damped and self.ramp == FULL:
            return None
        return special(self.config.weight, hand, asking, damped, self.ramp)

    def may_serve(self, apart: Special | None) -> bool:
        """Return whether the server may serve. A damped one may: it does if no other can.

        apart: what sets it apart, now or after an order (see `reconsidered`).
        """
        if self.health.verdict is not UP:
            return False
        if apart is None:
            return self.config.weight > 0
        return apart.state in {None, State.DAMPED} and apart.weight > 0

    @property
    def is_ordered_out(self) -> bool:
        """Whether operators keep it from serving. What its checks find then alarms nobody."""
        return self.hand is not None and self.hand.state is not None

    def combined(self) -> Health:
        """Return the health that follows from the checks. A check whose probe is not run is left out."""
        if len(self.watches) == 1:
            return self.watches[0].health
        return machine.combined(watch.health for watch in self.watches if watch.probe.is_run)


class ServiceState:
    """One virtual service."""

    __slots__ = ("action", "config", "is_shortage_told", "key", "plan", "planned", "servers", "serving", "spares")

    def __init__(self, config: Service) -> None:
        self.config = config
        self.planned = planned(config)
        self.key: ServiceKey = self.planned.key
        """The key by which the kernel knows the service."""
        self.servers: list[ServerState] = []
        """The real servers."""
        self.spares: list[ServerState] = []
        """The fallback servers. One without checks is always up."""
        self.serving: bool | None = None
        """Whether any real server may serve; None until that is known."""
        self.plan = NO_PLAN
        """The last plan."""
        self.action: Below | None = None
        """What is done because fewer may serve than `min_up`; None if enough may."""
        self.is_shortage_told = False
        """Whether `ServiceBelow` was told, and no `ServiceEnough` since."""

    def add(self, server: ServerState) -> None:
        """Add a server."""
        (self.spares if server.is_spare else self.servers).append(server)

    @property
    def members(self) -> Iterator[ServerState]:
        """The real servers and the fallback servers."""
        yield from self.servers
        yield from self.spares

    def may_serve(self) -> bool:
        """Whether any real server may take connections."""
        return any(server.config.weight and server.health.verdict is UP for server in self.servers)

    def able(self, servers: Iterable[tuple[ServerState, Special | None]]) -> int:
        """Return how many of these servers may serve, or how much weight they have, in the unit of `min_up`.

        servers: each with what sets it apart, now or after an order.
        """
        able = [
            server.config.weight if apart is None else apart.weight
            for server, apart in servers
            if server.may_serve(apart)
        ]
        return sum(able) if self.planned.floor.counts_weight else len(able)
