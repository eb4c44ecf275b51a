"""Decides what the probes of checks with `through = "vip"` prove: such a probe takes the way of clients' packets.

Its firewall mark leads it to one real server. That is so only while the kernel's table has the mark service exactly as
we want it. Without it, the same packets go to the service itself, which picks any server. So an outcome that would
change anything counts only if a reading of the table that began after the probe ended shows the mark service, and if
nothing changed it during the probe. Everything else is unsure.

A failure is compared with the plain checks of the same server, and with the other servers that have the same method:

- A plain check fails too: the server is at fault, and the failure counts as it is.
- The plain checks pass, and another server passes by the same method: the way to this server is at fault. The failure
  counts, and its reason says what is probably wrong.
- The plain checks pass, but nobody passes by the same method: this may be the director's fault. Unsure.

Only what began after the first failure proves anything. Until then the failure is unsure.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.check_model import AnyCheck, data_path, transport
from lvs_healthd.config.check_ways import DataPath, PathWay
from lvs_healthd.decide.blame import AT_ONCE_S, OwnFaults
from lvs_healthd.decide.held import Judge, ProbeState
from lvs_healthd.decide.path_words import diagnosis
from lvs_healthd.ipvs.records import ServiceEntry, ServiceKey, Table
from lvs_healthd.probes.outcome import NO_COURSE, Course, Outcome, OutcomeKind, Reason, down, unsure
from lvs_healthd.probes.targets import ProbeKey

NOT_RUN = unsure(Reason.NOT_RUN, "not run: it needs a mark service in the kernel's table, and nothing is written there")

PORT_TAKEN = "cannot probe from port "
"""How the detail of an outcome begins when another program has the probe's source port."""

_SURE = frozenset({Reason.LOCAL_LIMIT, Reason.STALLED, Reason.MARK})
"""The reasons of unsure outcomes that no reading of the table can explain."""

_NO_ANSWER = frozenset({Reason.TIMEOUT, Reason.UNREACHABLE, Reason.REFUSED})
"""The reasons of failures in which the server's program perhaps saw nothing of the probe."""


class PathTable(Protocol):
    """What is known of the kernel's table; implemented by the reconciler."""

    @property
    def actual(self) -> Table:
        """The kernel's table, as last read and then changed by the writes it acknowledged."""

    def changed_at(self, key: ServiceKey) -> float:
        """Return when a service was last seen to change, on the monotonic clock; minus infinity for never."""

    def read_again(self, keys: tuple[ServiceKey, ...]) -> None:
        """Read these services soon."""


class NoTable:
    """Knows no table, because there are no path probes."""

    @property
    def actual(self) -> Table:
        """An empty table."""
        return {}

    def changed_at(self, key: ServiceKey) -> float:
        """Never called, because no mark service is in the table."""
        raise AssertionError(key)

    def read_again(self, keys: tuple[ServiceKey, ...]) -> None:
        """Never called, because no outcome is worth it."""
        raise AssertionError(keys)


class _Group:
    """The path probes that share everything but the real server, so that one which passes vouches for the director."""

    __slots__ = ("passed",)

    def __init__(self) -> None:
        self.passed = 0.0
        """When the newest probe began that was answered, seconds on the monotonic clock."""


class PathProbeState(ProbeState):
    """The probe of a check with `through = "vip"`."""

    __slots__ = ("_paths", "clue", "entry", "failing_since", "group", "path", "run")

    is_path = True

    def __init__(
        self, key: ProbeKey, check: AnyCheck, judge: Judge, *, paths: "Paths", path: DataPath, group: _Group
    ) -> None:
        super().__init__(key, check, judge)
        self._paths = paths
        self.path = path
        self.group = group
        self.entry: ServiceEntry | None = None
        """The mark service through which it probes; None while it has no mark."""
        self.run: AnyCheck | None = None
        """What is being probed: the check, with its mark and its source. None while nothing is."""
        self.clue: Outcome | None = None
        """The last failure of that streak that says more than silence. Servers send only one ICMP error a second."""
        self.failing_since: float | None = None
        """When the first probe of the current streak without an answer began, seconds on the monotonic clock."""

    @property
    def service(self) -> Endpoint:
        """The virtual service's address and port."""
        return Endpoint(self.check.address, self.check.port)

    @property
    def is_run(self) -> bool:
        """Whether the probe is run at all."""
        return self.last is not NOT_RUN

    def outcome(self, outcome: Outcome, course: Course) -> None:
        """Take one outcome into account. It may have to wait until the table has been read again."""
        if (worth := self._paths.weighed(self, outcome, course)) is not None:
            super().outcome(worth, course)

    def confirmed(self, outcome: Outcome, course: Course, ended: float) -> None:
        """Take an outcome into account that has waited since the probe ended, seconds on the monotonic clock."""
        super().outcome(self._paths.worth(self, outcome, ended - course.total_s, ended), course)

    def cannot_tell(self, outcome: Outcome) -> None:
        """Take an unsure outcome into account that says why the probe is not run at the moment."""
        super().outcome(_same(self, outcome), NO_COURSE)

    def changes_nothing(self, outcome: Outcome) -> bool:
        """Return whether an outcome is known to change nothing."""
        return outcome is self._settled


class _Pending(NamedTuple):
    """An outcome that waits for a reading of the table."""

    outcome: Outcome
    course: Course
    ended: float
    """When the probe ended, seconds on the monotonic clock."""


class Paths:
    """Weighs the outcomes of path probes.

    table: what is known of the kernel's table.
    own: knows the faults of the director's own network.
    clock: monotonic time, seconds.
    """

    def __init__(self, table: PathTable, own: OwnFaults, clock: Callable[[], float]) -> None:
        self._table = table
        self._own = own
        self._clock = clock
        self._groups: dict[tuple[object, ...], _Group] = {}
        self._pending: dict[PathProbeState, _Pending] = {}
        self.port_taken: Callable[[PathProbeState], None] = _nobody
        """Called when another program has a probe's source port."""
        self.probes: dict[ProbeKey, PathProbeState] = {}
        """All path probes."""
        self.runs = False
        """Whether path probes are run. A probe that is made meanwhile is not."""

    def probe(self, key: ProbeKey, check: AnyCheck, judge: Judge) -> PathProbeState | None:
        """Return the state of a new path probe; None for another check."""
        probe, way = self.unlisted(key, check, judge, runs=self.runs), check.way
        if probe is not None and isinstance(way, PathWay):
            path = probe.path
            alike = (path.protocol, path.family, path.forward, path.tun_type, way.source, way.interface, way.dscp)
            probe.group = self._groups.setdefault(alike, probe.group)
            self.probes[key] = probe
        return probe

    def unlisted(self, key: ProbeKey, check: AnyCheck, judge: Judge, *, runs: bool) -> PathProbeState | None:
        """Return the state of a path probe that is not among `probes`; None for another check.

        runs: whether path probes are run.
        """
        path = data_path(check)
        if path is None or not isinstance(check.way, PathWay):
            return None
        probe = PathProbeState(key, check, judge, paths=self, path=path, group=_Group())
        probe.last = None if runs else NOT_RUN
        return probe

    def forget(self, probe: ProbeState) -> None:
        """Drop what is known of a probe that is no longer configured."""
        if isinstance(probe, PathProbeState):
            self.probes.pop(probe.key, None)
            self._pending.pop(probe, None)

    def switched(self) -> list[PathProbeState]:
        """Begin or cease to run the path probes, as `runs` says. Return those for which that is a change."""
        changed = [probe for probe in self.probes.values() if probe.is_run is not self.runs]
        for probe in changed:
            probe.last, probe.failing_since, probe.clue = None if self.runs else NOT_RUN, None, None
            probe.use(probe.watches, probe.tallies, probe.times)
            self._pending.pop(probe, None)
        return changed

    def is_present(self, probe: PathProbeState) -> bool:
        """Return whether the kernel's table has a probe's mark service exactly as it should be."""
        entry = probe.entry
        return entry is not None and self._table.actual.get(entry.service.key) == entry

    def weighed(self, probe: PathProbeState, outcome: Outcome, course: Course) -> Outcome | None:
        """Return what an outcome proves. None means that the table is read first; then `confirmed` has it."""
        ended = self._clock()
        self._pending.pop(probe, None)
        if outcome.detail.startswith(PORT_TAKEN):
            self.port_taken(probe)
        worth = self.worth(probe, outcome, ended - course.total_s, ended)
        if probe.entry is None or worth.reason in _SURE or probe.changes_nothing(worth):
            return worth
        self._pending[probe] = _Pending(outcome, course, ended)
        self._table.read_again((probe.entry.service.key,))
        return None

    def confirmed(self, began: float, keys: frozenset[ServiceKey] | None) -> Iterator[PathProbeState]:
        """Deliver the outcomes that a reading of the table has confirmed or refuted, one at each step.

        began: when the reading began, seconds on the monotonic clock.
        keys: the services that were read; None for all.
        """
        for probe, waiting in [*self._pending.items()]:
            is_read = probe.entry is not None and (keys is None or probe.entry.service.key in keys)
            if is_read and waiting.ended <= began and self._pending.get(probe) is waiting:
                del self._pending[probe]
                probe.confirmed(*waiting)
                yield probe

    def worth(self, probe: PathProbeState, outcome: Outcome, began: float, ended: float) -> Outcome:
        """Return what an outcome proves, by what is known of the table now."""
        return _same(probe, self._worth(probe, outcome, began, ended))

    def _worth(self, probe: PathProbeState, outcome: Outcome, began: float, ended: float) -> Outcome:
        if probe.entry is None or not self.is_present(probe):
            return missing(probe)
        key = probe.entry.service.key
        if self._table.changed_at(key) > began:
            return unsure(Reason.MARK, f"its mark service ({key}) changed during the probe")
        if outcome.kind is OutcomeKind.UNSURE:
            return outcome
        if outcome.reason not in _NO_ANSWER:
            probe.failing_since = probe.clue = None
            probe.group.passed = max(probe.group.passed, began)
            return outcome
        way = probe.check.way
        server = probe.path.server.address
        fault = self._own.table(server, began, ended) if outcome.reason is Reason.TIMEOUT else ""
        found = fault or self._own.link(server, began, way.interface if way is not None else "")
        if found is None:
            self._own.ask(server, _nothing)  # the next failure will know
        if found:
            return unsure(Reason.LOCAL_NETWORK, found)
        if probe.failing_since is None:
            probe.failing_since = began
        if outcome.reason is not Reason.TIMEOUT:
            probe.clue = outcome
        return self._compared(probe, outcome, probe.failing_since)

    def _compared(self, probe: PathProbeState, outcome: Outcome, since: float) -> Outcome:
        """Compare a failure since that time with the plain checks of its server, and with other servers."""
        plain = _plain(probe, since)
        if plain is OutcomeKind.DOWN:
            return outcome
        method = probe.path.method
        if plain is None:
            waits = "waits to see whether the server answers on its own address"
            return unsure(Reason.PATH, f"no answer by {method} ({outcome.detail}): {waits}")
        why = diagnosis(probe.path, probe.check.address, probe.clue or outcome)
        if probe.group.passed <= since + AT_ONCE_S:
            return unsure(
                Reason.LOCAL_NETWORK,
                f"{why}; or this director is at fault, because no server passes by {method}: a firewall in INPUT may "
                "drop the answers (docs/checks.md)",
            )
        return down(Reason.PATH, why)


def missing(probe: PathProbeState) -> Outcome:
    """Return the outcome of a probe whose mark service is not in the kernel's table."""
    if probe.entry is None:
        return unsure(Reason.LOCAL_LIMIT, "no firewall mark is free for it: make path_marks in [ipvs] larger")
    key = probe.entry.service.key
    return unsure(Reason.MARK, f"its mark service ({key}) is not in the kernel's table as it should be")


def _plain(probe: PathProbeState, since: float) -> OutcomeKind | None:
    """Return what the plain checks of the same server and transport find: up or down; None if that is not known.

    since: only probes that began after this time count, seconds on the monotonic clock.
    """
    kinds = set()
    for watch in probe.watches:
        for other in watch.server.watches:
            plain = other.probe
            if plain.is_path or transport(plain.check) is not transport(probe.check):
                continue
            last, at = plain.last, plain.last_at
            is_new = at is not None and at - (plain.latency_s or 0.0) >= since
            kinds.add(last.kind if last is not None and is_new else OutcomeKind.UNSURE)
    if OutcomeKind.DOWN in kinds:
        return OutcomeKind.DOWN
    return OutcomeKind.UP if kinds == {OutcomeKind.UP} else None


def _same(probe: PathProbeState, outcome: Outcome) -> Outcome:
    """Return the probe's last outcome if it says the same. Equal outcomes must be one object to be recognised."""
    return probe.last if probe.last is not None and probe.last == outcome else outcome


def _nothing() -> None:
    """Do nothing with an answer but remember it, which the asked do."""


def _nobody(_: PathProbeState) -> None:
    """Ignore a call, because nobody waits for it."""
