"""What other directors say as values, for /api/v1/status, `lvs-healthd status` and `why`, and the metrics."""

from typing import Protocol

import msgspec

from lvs_healthd.ipvs.records import DestinationKey, ServiceKey


class DirectorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Another director."""

    director: str
    """Its name."""
    age_s: float
    """How old what it says is, seconds."""
    is_heard: bool
    """Whether that counts: it is not too old, and can be understood."""
    at: float | None = None
    """When it said something new last, Unix time by its own clock; None if it cannot be understood."""
    not_up: int = 0
    """How many servers it does not see up."""
    error: str = ""
    """Why it cannot be understood; empty if it can."""


class VetoStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A server that is down here, and that other directors hold."""

    service: str
    server: str
    reason: str
    """Who sees it how."""
    since: float
    """Unix time."""
    until: float
    """When it goes at the latest, Unix time."""


class AgreementStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What this director and others tell each other."""

    director: str
    """This director's name."""
    agree: int
    """How many must see a server down so that it goes, this one included."""
    heard: int
    """How many others are heard."""
    directors: tuple[DirectorStatus, ...] = ()
    vetoes: tuple[VetoStatus, ...] = ()
    """The servers that others hold, at most a hundred."""
    vetoed: int = 0
    """How many there are."""
    error: str = ""
    """Why nothing can be said to others, or heard of them; empty if all is well."""


def dated_agreement(status: AgreementStatus | None, shift_s: float) -> AgreementStatus | None:
    """Return the same in Unix time.

    shift_s: what to add to the monotonic clock to get it, seconds.
    """
    if status is None or not status.vetoes:
        return status
    dated = tuple(
        msgspec.structs.replace(each, since=each.since + shift_s, until=each.until + shift_s) for each in status.vetoes
    )
    return msgspec.structs.replace(status, vetoes=dated)


class OpinionWhy(msgspec.Struct, frozen=True, kw_only=True):
    """What another director says of a server."""

    director: str
    sight: str
    """"up", "down", "unsure", or "" if it does not know the server."""
    age_s: float
    """How old that is, seconds."""
    is_heard: bool
    """Whether it counts."""


class Agreeing(Protocol):
    """Knows what other directors say."""

    @property
    def status(self) -> AgreementStatus | None:
        """What directors tell each other; None if they do not. Times are on the monotonic clock."""

    def opinions(self, service: ServiceKey, server: DestinationKey) -> tuple[OpinionWhy, ...]:
        """Return what each other director says of a server."""
