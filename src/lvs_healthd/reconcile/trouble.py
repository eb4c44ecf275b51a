"""Errors of the table since it was last in order: when to try again, and which of them to tell."""

import math

from lvs_healthd.events.kinds import TableError

RETRY_MIN_S = 0.25
"""The first retry, and the least time between two attempts while something fails: a blink to a person, no hot loop."""
RETRY_MAX_S = 10.0
"""The longest pause between retries: what an operator repairs by hand takes effect while they still watch."""
ERROR_REPEAT_S = 60.0
"""An unchanged error is told again this often."""
ERRORS_TOLD = 10
"""Of many errors at once, this many are told one by one and the others as a number."""

_Identity = tuple[str, str, str, str]
"""Operation, service, server and text: what makes two errors the same one."""


class Trouble:
    """Errors since the table was last in order: when to try again, and which of them to tell."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.errors = 0
        self.retry_at = math.inf
        self.not_before = -math.inf
        self._delay_s = RETRY_MIN_S
        self._told: dict[_Identity, float] = {}
        """When each error of the last attempt was last told."""
        self._noted: dict[_Identity, float] = {}
        self._fresh: list[TableError] = []
        self._more = 0
        """How many are worth telling beyond `_fresh`."""

    def attempt_failed(self, now: float, errors: int) -> None:
        """Count an attempt that did not bring the table in order, and put the next one off."""
        if self.since is None:
            self.since = now
        self.errors += errors
        self.retry_at = now + self._delay_s
        self.not_before = now + RETRY_MIN_S
        self._delay_s = min(self._delay_s * 2, RETRY_MAX_S)

    def note(self, error: TableError, now: float) -> None:
        """Take in one error of the attempt that failed."""
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
        """Return those noted that are new or have not been told for a while; many at once are summed up."""
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
