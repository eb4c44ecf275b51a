"""Finds drift: how a table differs from the way we left it, because somebody else wrote to it. Pure."""

import enum
from collections.abc import Iterable, Iterator

import msgspec

from lvs_healthd.ipvs.describe import surprise
from lvs_healthd.ipvs.records import DestinationKey, ServiceEntry, ServiceKey, Table


class Kind(enum.StrEnum):
    """What kind of difference was found. The values are labels of a metric."""

    MISSING_SERVICE = "missing_service"
    MISSING_SERVER = "missing_server"
    EXTRA_SERVER = "extra_server"
    CHANGED_SERVICE = "changed_service"
    CHANGED_SERVER = "changed_server"


class Drift(msgspec.Struct, frozen=True):
    """One difference. `server` is None when the service itself differs; `found` describes the difference for people."""

    kind: Kind
    service: ServiceKey
    server: DestinationKey | None
    found: str


def compare(left: Table, found: Table, keys: Iterable[ServiceKey]) -> Iterator[Drift]:
    """Find how a table differs from the way we left it.

    left: the table as we left it.
    found: the table as it is now.
    keys: the services to compare.

    A missing service counts as one difference, however many servers were in it. A service that `left` does not have is
    ignored, because we did not put it there.
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
            yield Drift(Kind.CHANGED_SERVER, key, server, surprise(record, found))
    for server in now.destinations:
        if server not in before.destinations:
            yield Drift(Kind.EXTRA_SERVER, key, server, "not configured")
