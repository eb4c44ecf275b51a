"""Finds drift: how the table differs from what the daemon wrote, because somebody else has changed it since."""

import enum
from collections.abc import Iterable, Iterator

import msgspec

from lvs_healthd.ipvs.describe import surprise
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, ServiceKey, Table

NOT_CONFIGURED = "not configured"
"""What is said of a server in the table that is not configured, and the reason why it is removed."""


class Kind(enum.StrEnum):
    """What kind of difference was found. The values are labels of a metric."""

    MISSING_SERVICE = "missing_service"
    MISSING_SERVER = "missing_server"
    EXTRA_SERVER = "extra_server"
    CHANGED_SERVICE = "changed_service"
    CHANGED_SERVER = "changed_server"


class Drift(msgspec.Struct, frozen=True):
    """One difference between the table and what the daemon wrote."""

    kind: Kind
    service: ServiceKey
    server: DestinationKey | None
    """The server that differs; None when the service itself differs."""
    found: str
    """A description of the difference for people."""
    weight: int | None = None
    """The weight that a serving server has got; None if anything else is different too."""


def compare(left: Table, found: Table, keys: Iterable[ServiceKey]) -> Iterator[Drift]:
    """Find how a table differs from what the daemon wrote.

    left: the table as it was after the daemon's last write.
    found: the table as it is now.
    keys: the services to compare.

    A missing service counts as one difference, however many servers it had. A service that `left` does not have is
    ignored, because the daemon did not add it.
    """
    for key in keys:
        before = left.get(key)
        now = found.get(key)
        if before is None or before == now:
            continue
        if now is None:
            yield Drift(Kind.MISSING_SERVICE, key, None, "missing")
        else:
            yield from _entry_drift(key, before, now)


def _entry_drift(key: ServiceKey, before: ServiceEntry, now: ServiceEntry) -> Iterator[Drift]:
    if before.service != now.service:
        yield Drift(Kind.CHANGED_SERVICE, key, None, surprise(before.service, now.service))
    for server, record in before.destinations.items():
        found = now.destinations.get(server)
        if found is None:
            yield Drift(Kind.MISSING_SERVER, key, server, "missing")
        elif found != record:
            yield Drift(Kind.CHANGED_SERVER, key, server, surprise(record, found), _given_weight(record, found))
    for server in now.destinations:
        if server not in before.destinations:
            yield Drift(Kind.EXTRA_SERVER, key, server, NOT_CONFIGURED)


def _given_weight(record: DestinationRecord, found: DestinationRecord) -> int | None:
    is_all = found == msgspec.structs.replace(record, weight=found.weight)
    return found.weight if is_all and record.weight else None
