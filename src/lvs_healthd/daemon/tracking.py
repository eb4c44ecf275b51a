"""Keeps the track file true: it tells keepalived whether this director can serve.

keepalived takes a file that is missing, empty or garbage for 0, that is healthy. So the file is replaced by a rename,
is never removed, and is made again when somebody has removed or changed it. It stays as it is when the daemon ends.
"""

import fnmatch
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from lvs_healthd.config.model import Config, Mode, Pair, TrackFault
from lvs_healthd.decide.blame import is_loopback
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ServiceState
from lvs_healthd.decide.own_fault import NOT_REACHED, cut_off, own_fault
from lvs_healthd.decide.silence import answered_since
from lvs_healthd.decide.tracking import CAN_SERVE, CANNOT_SERVE, Finding, Tracking
from lvs_healthd.events.kinds import Event, TrackFileChanged, TrackFileError, TrackFileRecovered
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.plan.policy import Rule
from lvs_healthd.plan.records import service_key
from lvs_healthd.reconcile.reconciler import Reconciler
from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.runtime.moments import until_next_moment
from lvs_healthd.runtime.pace import paced
from lvs_healthd.runtime.threads import LoneCall
from lvs_healthd.state.safe_file import read_regular, replace_file
from lvs_healthd.view.serving import is_unproven, takers
from lvs_healthd.view.status_values import TrackStatus

TURN_S = 0.5
"""How often the tracked services and the file are looked at, seconds."""

WRITE_S = 5.0
"""How long reading and writing the file may take, seconds."""

LEAST_TARGETS = 2
"""How many targets must be silent, and all of them, to suspect this director without another sign. One alone says
nothing about the way to it."""

_VALUES = {b"%d\n" % value: value for value in (CAN_SERVE, CANNOT_SERVE)}
"""What the file may hold, byte for byte, and what it means."""


def tracking_symptoms(ongoing: Iterable[str], decisions: Decisions, reconciler: Reconciler) -> tuple[str, ...]:
    """Return what is wrong with this director now, so that it may be the reason why it cannot serve.

    ongoing: the faults of its own network.
    """
    braked = tuple([f"the brake is on for {held.way}" for held in decisions.braking.held])
    return (*braked, *ongoing, *((f"table: {reconciler.errors.last}",) if reconciler.errors.last else ()))


class TrackRuns:
    """Writes the track file.

    decisions: knows the services.
    reconciler: knows the kernel's table.
    symptoms: returns what is wrong with this director now, in words.
    emit: receives the events.
    clock: monotonic time, seconds.
    """

    def __init__(
        self,
        decisions: Decisions,
        reconciler: Reconciler,
        emit: Callable[[Event], None],
        *,
        symptoms: Callable[[], Sequence[str]],
        clock: Callable[[], float],
    ) -> None:
        self._decisions = decisions
        self._reconciler = reconciler
        self._emit = emit
        self._symptoms = symptoms
        self._clock = clock
        self._tracking = Tracking()
        self._rule = Pair()
        self._file: Path | None = None
        self._keys: tuple[ServiceKey, ...] = ()
        self._held: int | None = None
        """What the file holds, as far as is known."""
        self._error = ""
        self._call = LoneCall()

    def configured(self, config: Config, *, shadow: bool) -> None:
        """Take over a configuration.

        shadow: whether nothing is to be written.
        """
        pair = self._rule = config.pair
        file = Path(pair.track_file) if pair.track_file and not shadow else None
        if file != self._file:
            self._file, self._held, self._error = file, None, ""
            self._tracking = Tracking()
        self._keys = tuple(
            service_key(service)
            for service in config.services
            if service.mode is Mode.ENFORCE and any(fnmatch.fnmatchcase(service.name, each) for each in pair.track)
        )

    @property
    def status(self) -> TrackStatus | None:
        """What the file says, and why; None without a file."""
        if self._file is None:
            return None
        return TrackStatus(file=str(self._file), value=self._held, reason=self._tracking.reason, error=self._error)

    async def run(self) -> None:
        """Keep the file true until cancelled."""
        while True:
            await self.turn()
            await until_next_moment(TURN_S)

    async def turn(self) -> None:
        """Look at the tracked services and at the file once. `run` repeats this."""
        file = self._file
        if file is None:
            return
        finding = await self._find()
        if file != self._file:
            return  # a reload has changed it meanwhile
        rule, tracking = self._rule, self._tracking
        tracking.look(finding, self._clock(), after_s=rule.track_after, back_s=rule.track_back)
        await self._write(file, tracking.value)

    async def _write(self, file: Path, value: int | None) -> None:
        """Make the file say `value`. None leaves it as it is, unless it says nothing."""
        try:
            found, held = await self._call(_made_true, file, value, timeout_s=WRITE_S, what=f"writing {file}")
        except HostError as error:
            if file == self._file:
                self._failed(file, str(error))
            return
        if file != self._file:
            return
        before, self._held = self._held, held
        if self._error:
            self._error = ""
            self._emit(TrackFileRecovered(file=str(file), value=held))
        elif found != held:
            reason = self._tracking.reason or "it is not known yet whether this director can serve"
            if before == held:
                reason = f"somebody has {'removed or emptied' if found is None else 'changed'} it; {reason}"
            self._emit(TrackFileChanged(file=str(file), value=held, reason=reason))

    def _failed(self, file: Path, error: str) -> None:
        if error != self._error:
            self._emit(TrackFileError(file=str(file), error=error, retry_s=TURN_S))
        self._error = error

    async def _find(self) -> Finding:
        """Look at the tracked services until one may not serve."""
        symptoms = "; ".join(self._symptoms())
        is_known = True
        async for key in paced(self._keys):
            service = self._decisions.service(key)
            if service is None:
                continue
            own = own_fault(service, symptoms)
            trouble = self._trouble(service, symptoms)
            if not trouble:
                continue
            if is_unproven(service) and not own:
                is_known = False
                continue
            why = own or await self._nobody_reached()
            if why or self._rule.track_fault is TrackFault.ANY:
                return Finding("; ".join(filter(None, (f"{service.config.name}: {trouble}", why))))
        return Finding("", is_known)

    def _trouble(self, service: ServiceState, symptoms: str) -> str:
        """Say why a service does not serve its clients; empty if it may.

        symptoms: what is wrong with this director, so that servers in the table may be out of reach.
        """
        if next(takers(service, self._reconciler), None) is None:
            return "nobody may serve"
        if service.plan.rule is Rule.FAIL_OPEN:
            return "it fails open"
        return NOT_REACHED if cut_off(service, symptoms) else ""

    async def _nobody_reached(self) -> str:
        """Say that no target of any probe has answered lately; empty if one has, or if there are too few to say so."""
        now = self._clock()
        silent: set[str] = set()
        async for probe in paced(list(self._decisions.probes.values())):
            check = probe.check
            if probe.is_path or probe.is_agent or not check.address or is_loopback(check.address):
                continue
            if answered_since(probe, now - 2 * max(check.interval, probe.pace_s) - check.timeout):
                return ""
            silent.add(check.address)
        return f"none of {len(silent)} targets is reached" if len(silent) >= LEAST_TARGETS else ""


def _made_true(file: Path, value: int | None) -> tuple[int | None, int]:
    """Make the file say `value`. Runs on a thread. Return what it said before, and what it says now.

    With None, a file that says 0 or 1 stays as it is, and any other says 1 from now on. Raises `StateFileError`.
    """
    try:
        content, _ = read_regular(file)
        found = _VALUES.get(content)
    except OSError:
        found = None
    wanted = value if value is not None else CANNOT_SERVE if found is None else found
    if found != wanted:
        replace_file(file, [b"%d\n" % wanted], "VRRP acts on what it said before", key="[pair] track_file")
    return found, wanted
