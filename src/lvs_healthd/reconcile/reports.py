"""Reports the reconciler's work: every write with its reason, every foreign edit and every error, by service name."""

from collections.abc import Callable, Collection
from typing import Protocol

import msgspec

from lvs_healthd.events.kinds import Event, TableChanged, TableDrift, TableError
from lvs_healthd.ipvs.describe import describe
from lvs_healthd.ipvs.diff import line_of, takes_capacity
from lvs_healthd.ipvs.drift import NOT_CONFIGURED, Drift, Kind
from lvs_healthd.ipvs.records import DestinationRecord, Operation, ServiceKey, TableLine, Verb, Wanted, Why
from lvs_healthd.reconcile.instead import instead


class TableObserver(Protocol):
    """Counts and measures the reconciler's work, for the metrics."""

    def operation(self, verb: str, ok: bool, error: str) -> None:  # noqa: FBT001  # a yes-or-no answer
        """Count one answered write.

        verb: the value of a `Verb`.
        ok: whether the write succeeded.
        error: the errno's name or "unknown"; empty if it succeeded.
        """

    def resync(self, seconds: float) -> None:
        """Note how many seconds it took to read the whole table."""

    def drift(self, kind: str) -> None:
        """Count one edit by somebody else.

        kind: the value of a `drift.Kind`.
        """

    def detection(self, seconds: float) -> None:
        """Note how many seconds after its first failed probe a server was taken out."""


class TableReports:
    """Turns writes and foreign edits into events and measurements.

    emit: receives the events.
    clock: monotonic, seconds.
    """

    def __init__(self, emit: Callable[[Event], None], observer: TableObserver, clock: Callable[[], float]) -> None:
        self._emit = emit
        self._observer = observer
        self._clock = clock
        self._wanted = Wanted({}, {}, {})
        self._names: dict[ServiceKey, str] = {}
        self._repairs: set[TableLine] = set()
        """Lines with drift that is not written back yet. The reason of their next write begins with "repair"."""
        self._detected: dict[TableLine, float] = {}
        """When the failure began that caused each server's last removal, so that each failure is measured only once."""
        self._told: dict[TableLine, Operation] = {}
        """The differences that have already been reported in shadow mode."""

    def want(self, wanted: Wanted) -> None:
        """Use the names and reasons of this wanted table from now on."""
        self._wanted = wanted
        self._names.update(wanted.names)
        self._detected = {key: at for key, at in self._detected.items() if key in wanted.why}

    def drifted(self, drift: Drift) -> None:
        """Report what somebody else has changed."""
        self._repairs.add((drift.service, drift.server))
        if drift.kind is Kind.MISSING_SERVICE and drift.service in self._wanted.table:
            self._repairs.update((drift.service, server) for server in self._wanted.table[drift.service].destinations)
        self._observer.drift(drift.kind.value)
        found = drift.found
        if drift.kind is Kind.EXTRA_SERVER and (drift.service, drift.server) in self._wanted.why:
            found = "added by somebody else"
        service = self.name(drift.service)
        why = None if drift.server is None else self._wanted.why.get((drift.service, drift.server))
        server = str(drift.server) if drift.server else ""
        self._emit(TableDrift(service=service, server=server, found=found, instead=instead(drift, service, why)))

    def repaired(self) -> None:
        """Note that every drift has been written back."""
        self._repairs.clear()

    def written(self, operation: Operation) -> None:
        """Report a write that the kernel has acknowledged."""
        why = _why(operation, self._wanted)
        detection_s = self._detection(operation, why)
        if detection_s is not None:
            self._observer.detection(detection_s)
        self._emit_changed(operation, why, shadow=False, detection_s=detection_s)
        self._repairs.discard(line_of(operation))

    def would_write(self, line: TableLine, operation: Operation | None) -> None:
        """In shadow mode, report the write that a line needs, once for as long as the difference lasts.

        operation: the write; None when the line is as wanted.
        """
        if operation is None:
            self._told.pop(line, None)
        elif self._told.get(line) != operation:
            self._told[line] = operation
            self._emit_changed(operation, _why(operation, self._wanted), shadow=True, detection_s=None)

    @property
    def would_be_written(self) -> list[TableLine]:
        """The lines whose difference was reported and, as far as is known, still exists."""
        return list(self._told)

    def writes_again(self, shadowed: Collection[ServiceKey]) -> None:
        """Forget the differences that were only reported, because from now on they are written.

        shadowed: the services of which this is not so.
        """
        self._told = {line: told for line, told in self._told.items() if line[0] in shadowed} if self._told else {}

    def error(self, operation: Operation, text: str) -> TableError:
        """Return the event for one failed write.

        text: what went wrong.
        """
        return TableError(
            operation=operation.verb.value,
            service=self.name(operation.service.key),
            server=str(operation.destination.key) if operation.destination else "",
            error=text,
            retry_s=0.0,
        )

    def foreseen(self, operation: Operation, wanted: Wanted) -> TableChanged:
        """Return the event that would report a write if another table were wanted.

        wanted: that table.
        """
        name = wanted.names.get(operation.service.key) or self.name(operation.service.key)
        return self._changed(operation, _why(operation, wanted), name)

    def _emit_changed(self, operation: Operation, why: Why | None, *, shadow: bool, detection_s: float | None) -> None:
        changed = self._changed(operation, why, self.name(operation.service.key))
        self._emit(msgspec.structs.replace(changed, shadow=shadow, detection_s=detection_s))

    def _changed(self, operation: Operation, why: Why | None, name: str) -> TableChanged:
        return TableChanged(
            operation=operation.verb.value,
            service=name,
            server=str(operation.destination.key) if operation.destination else "",
            reason=self._reason(operation, why),
            fields=describe(operation),
            shadow=False,
            detection_s=None,
        )

    def _detection(self, operation: Operation, why: Why | None) -> float | None:
        """Return the seconds since a server's first failed probe, once for each failure that takes the server out."""
        if why is None or why.first_failure is None or not takes_capacity(operation):
            return None
        line = line_of(operation)
        if self._detected.get(line) == why.first_failure:
            return None
        self._detected[line] = why.first_failure
        return self._clock() - why.first_failure

    def _reason(self, operation: Operation, why: Why | None) -> str:
        key, server = line_of(operation)
        if server is None:
            reason = "not configured any more" if operation.verb is Verb.DELETE_SERVICE else "configured"
        elif _keeps_serving(operation) and (why is None or not why.is_asked):
            reason = "configured"
        else:
            reason = why.reason if why else NOT_CONFIGURED
        return f"repair: {reason}" if (key, server) in self._repairs else reason

    def name(self, key: ServiceKey) -> str:
        """Return the configured name of a service, even if a reload has dropped it."""
        return self._names.get(key) or str(key)


def _why(operation: Operation, wanted: Wanted) -> Why | None:
    if operation.destination is None:
        return None
    return wanted.why.get((operation.service.key, operation.destination.key))


def _keeps_serving(operation: Operation) -> bool:
    """Return whether a server serves both before and after an edit, or neither before nor after.

    The server's health is not the reason for such an edit, because health only decides whether a server serves.
    """
    was, server = operation.was, operation.destination
    if operation.verb is not Verb.SET_SERVER or server is None or not isinstance(was, DestinationRecord):
        return False
    return (was.weight > 0) == (server.weight > 0)
