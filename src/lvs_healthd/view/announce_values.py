"""An announced address as values, for /api/v1/status, `lvs-healthd status` and `why`, and the metrics."""

from collections.abc import Iterable
from typing import Protocol

import msgspec

from lvs_healthd.ipvs.records import ServiceKey

MOST_ERRORS = 10
"""How many different faults of addresses are listed. The rest of the status must stay in sight."""


class AnnounceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual address that BGP announces while its services may serve."""

    vip: str
    interface: str
    services: tuple[str, ...]
    """The names of the services that decide about it."""
    wanted: bool | None
    """Whether it is to be announced; None while that is not known, and it is left as it is."""
    present: bool | None
    """Whether the interface has it and is up, as last read or written; None before the first reading."""
    since: float | None = None
    """Since when that is wanted, Unix time; None while nothing is."""
    reason: str = ""
    """Why it is to be announced or not; while that is not known, why not."""
    pending: str = ""
    """Why that is about to change, if it lasts; empty while it is not."""
    shadow: bool = False
    """Whether nothing is written, because all services that decide about it are in shadow mode, or the daemon is."""
    error: str = ""
    """Why it is not as wanted; empty while it is."""


def errors_of(statuses: Iterable[AnnounceStatus]) -> list[str]:
    """Return what is wrong with these addresses, each fault once, and at most `MOST_ERRORS` of them with a remark."""
    errors = list(dict.fromkeys(each.error for each in statuses if each.error))
    more = len(errors) - MOST_ERRORS
    return [*errors[:MOST_ERRORS], *([f"and {more} more"] if more > 0 else [])]


class Announcing(Protocol):
    """Knows the announced addresses; an `AnnounceRuns`. The times in its answers are on the monotonic clock."""

    @property
    def statuses(self) -> tuple[AnnounceStatus, ...]:
        """Each address."""

    @property
    def foreign(self) -> tuple[str, ...]:
        """The addresses on the interfaces that are none of ours, in words."""

    def of(self, key: ServiceKey) -> AnnounceStatus | None:
        """Return the address of a service; None if it is not announced."""


def dated(status: AnnounceStatus, shift_s: float) -> AnnounceStatus:
    """Return a status whose times are Unix time.

    shift_s: what to add to the monotonic clock to get Unix time, seconds.
    """
    return status if status.since is None else msgspec.structs.replace(status, since=status.since + shift_s)
