"""What hooks are given: events, when they happened, and what is known of the servers that they are about."""

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from lvs_healthd.config.model import RealServer, Service
from lvs_healthd.events.kinds import Event
from lvs_healthd.probes.outcome import MonitorRun


class Told(NamedTuple):
    """Something that has happened."""

    event: Event
    at: float
    """When, Unix time."""


class Facts(msgspec.Struct, frozen=True):
    """What is known of what an event is about."""

    service: Service
    server: RealServer | None = None
    """The real server, or fallback server; None if the event is about the service."""
    monitor: MonitorRun | None = None
    """The last failed run of the check, if that is a program with mon's convention."""


Lookup = Callable[[str, str, str], Facts | None]
"""Returns what is known of a service, a server ("" for none) and a check ("" for none), by their names in events."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """Something to tell."""

    lane: str
    """Messages of the same lane are told in their order."""
    about: str
    """What it is about, for the log."""
    made: Callable[[], object]
    """Makes what the hook's sender takes."""


class NotToldError(Exception):
    """Raised when a message could not be told. The text says why.

    may_work_later: whether it may work if it is tried again.
    """

    def __init__(self, why: str, *, may_work_later: bool) -> None:
        super().__init__(why)
        self.may_work_later = may_work_later


def lane_of(event: Event) -> str:
    """Return what an event is about: its server, its service, or nothing."""
    return f"{getattr(event, 'service', '')} {getattr(event, 'server', '')}".strip()


def about(event: Event) -> str:
    """Return an event's name and what it is about, for the log."""
    return f"{event.name} {lane_of(event)}".strip()
