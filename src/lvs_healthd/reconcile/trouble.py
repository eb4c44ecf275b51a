"""Decides what to do about errors of the table: when to try again, and which errors to report."""

import math
from collections.abc import Callable, Mapping, Sequence

from lvs_healthd.events.kinds import Event, TableError, TableRecovered
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.runtime.pace import paced

RETRY_MIN_S = 0.25
"""The pause before the first retry, and the minimum time between two attempts while something fails, seconds. A person
hardly notices it, and it is long enough to avoid a hot loop."""
RETRY_MAX_S = 10.0
"""The longest pause between retries, seconds. An operator who repairs something soon sees the effect."""
ERROR_REPEAT_S = 60.0
"""How many seconds pass before an unchanged error is reported again."""
ERRORS_TOLD = 10
"""How many errors of one attempt are reported one by one. Any others are only counted."""

_Identity = tuple[str, str, str, str]
"""An error's operation, service, server and text. Two errors that agree in all of these are the same error."""


class TableErrors:
    """Why the table is not as wanted, and when to try again.

    emit: receives the events.
    clock: monotonic, seconds.
    """

    def __init__(self, emit: Callable[[Event], None], clock: Callable[[], float]) -> None:
        self.last = ""
        """Why the table is not as wanted; empty when it is."""
        self._of: Mapping[ServiceKey, str] | None = {}
        """Why services are not as wanted, for each that is not. None: `last` concerns all."""
        self._emit = emit
        self._clock = clock
        self._trouble = _Trouble()

    @property
    def retry_at(self) -> float:
        """When to try again, on `clock`; infinity while nothing fails."""
        return self._trouble.retry_at

    @property
    def not_before(self) -> float:
        """Before which time not to try again, whatever else happens, on `clock`."""
        return self._trouble.not_before

    def of(self, key: ServiceKey) -> str:
        """Return why a service is not in the kernel's table as wanted; empty if nothing has failed."""
        return self.last if self._of is None else self._of.get(key, "")

    async def fail(self, errors: Sequence[TableError], of: Mapping[ServiceKey, str] | None) -> None:
        """Report the errors of an attempt, at least one.

        of: the first error of each service that has one. None: they concern all services.
        """
        now = self._clock()
        self._trouble.attempt_failed(now, len(errors))
        self.last, self._of = errors[0].error, of
        async for error in paced(errors):
            self._trouble.note(error, now)
        for error in self._trouble.worth_telling(now):
            self._emit(error)

    def recover(self) -> None:
        """Note that the table is as wanted."""
        self.last, self._of = "", {}
        if self._trouble.since is not None:
            after_s = self._clock() - self._trouble.since
            self._emit(TableRecovered(errors=self._trouble.errors, after_s=after_s))
            self._trouble = _Trouble()


class _Trouble:
    """Holds the errors since the table was last as wanted. Decides when to try again and which errors to report."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.errors = 0
        self.retry_at = math.inf
        self.not_before = -math.inf
        self._delay_s = RETRY_MIN_S
        self._told: dict[_Identity, float] = {}
        """When each error of the last attempt was last reported."""
        self._noted: dict[_Identity, float] = {}
        self._fresh: list[TableError] = []
        self._more = 0
        """How many errors must be reported in addition to those in `_fresh`."""

    def attempt_failed(self, now: float, errors: int) -> None:
        """Count an attempt that failed, and schedule the next one.

        now: monotonic, seconds.
        errors: how many errors the attempt had.
        """
        if self.since is None:
            self.since = now
        self.errors += errors
        self.retry_at = now + self._delay_s
        self.not_before = now + RETRY_MIN_S
        self._delay_s = min(self._delay_s * 2, RETRY_MAX_S)

    def note(self, error: TableError, now: float) -> None:
        """Note one error of the failed attempt.

        now: monotonic, seconds.
        """
        identity = (error.operation, error.service, error.server, error.error)
        told_at = self._told.get(identity, -math.inf)
        if now - told_at < ERROR_REPEAT_S:
            self._noted[identity] = told_at
            return
        self._noted[identity] = now
        if len(self._fresh) <= ERRORS_TOLD:
            self._fresh.append(error)
        else:
            self._more += 1

    def worth_telling(self, now: float) -> list[TableError]:
        """Return the noted errors that are new or have not been reported for a while. Many at once are summed up.

        now: monotonic, seconds.
        """
        self._told, self._noted = self._noted, {}
        told, rest = self._fresh[:ERRORS_TOLD], self._fresh[ERRORS_TOLD:]
        for more in rest:
            summary = f"{more.error} (and {self._more + 1} more failed writes)"
            told.append(TableError(operation=more.operation, service="", server="", error=summary, retry_s=0.0))
        self._fresh, self._more = [], 0
        retry_s = self.retry_at - now
        return [
            TableError(
                operation=error.operation,
                service=error.service,
                server=error.server,
                error=error.error,
                retry_s=retry_s,
            )
            for error in told
        ]
