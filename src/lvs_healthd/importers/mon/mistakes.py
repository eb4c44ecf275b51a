"""What mon refuses a file for, and what it does not use because it is said twice."""

from lvs_healthd.importers.account import Account, Place
from lvs_healthd.importers.mon.periods import PeriodError, when


class MistakeError(Exception):
    """Raised for a line that mon refuses, and with it the file. The message says what is wrong."""


def superseded(account: Account, before: tuple[Place, ...], what: str, places: tuple[Place, ...]) -> None:
    """Tell that lines do not count, because the same thing is said again further down."""
    for place in before:
        account.ignored(place, f"line {places[0].number} says {what} again, and the last counts")


def check_period(text: str) -> None:
    """Raise `MistakeError` if a period is none."""
    try:
        when(text)
    except PeriodError as error:
        raise MistakeError(f"malformed period: {error}") from None
