"""Errors of the table since it was last in order: when to try again, and which of them to tell."""

import math
from collections.abc import Sequence

from lvs_healthd.events import TableError

RETRY_MIN_S = 0.25
"""The first retry, and the least time between two attempts while something fails: a blink to a person, no hot loop."""
RETRY_MAX_S = 10.0
"""The longest pause between retries: what an operator repairs by hand takes effect while they still watch."""
ERROR_REPEAT_S = 60.0
"""An unchanged error is told again this often."""
ERRORS_TOLD = 10
"""Of many errors at once, this many are told one by one and the others as a number."""


class Trouble:
    """Errors since the table was last in order: when to try again, and which of them to tell."""

    def __init__(self) -> None:
        self.since: float | None = None
        self.errors = 0
        self.retry_at = math.inf
        self.not_before = -math.inf
        self._delay_s = RETRY_MIN_S
        self._told: dict[tuple[str, str, str, str], float] = {}

    def attempt_failed(self, now: float, errors: int) -> None:
        """Count an attempt that did not bring the table in order, and put the next one off."""
        if self.since is None:
            self.since = now
        self.errors += errors
        self.retry_at = now + self._delay_s
        self.not_before = now + RETRY_MIN_S
        self._delay_s = min(self._delay_s * 2, RETRY_MAX_S)

    def worth_telling(self, errors: Sequence[TableError], now: float) -> list[TableError]:
        """Return the errors that are new or have not been told for a while; many at once are summed up."""
        fresh = [error for error in errors if now - self._told.get(_identity(error), -math.inf) >= ERROR_REPEAT_S]
        self._told = {_identity(error): self._told.get(_identity(error), now) for error in errors}
        self._told.update({_identity(error): now for error in fresh})
        told = fresh[:ERRORS_TOLD]
        if more := fresh[ERRORS_TOLD:]:
            summary = f"{more[0].error} (and {len(more)} more failed writes)"
            told.append(TableError(operation=more[0].operation, service="", server="", error=summary, retry_s=0.0))
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


def _identity(error: TableError) -> tuple[str, str, str, str]:
    return error.operation, error.service, error.server, error.error
