"""Compares two IPVS tables and finds the writes that turn one into the other.

The writes are ordered so that no service is left without a server.
"""

import enum
from collections.abc import Collection, Iterator, Mapping

from lvs_healthd.ipvs.records import (
    DestinationKey,
    DestinationRecord,
    Operation,
    ServiceEntry,
    ServiceKey,
    ServiceRecord,
    Table,
    TableLine,
    Verb,
)


class Phase(enum.IntEnum):
    """The safe order of writes: writes that add capacity come first, writes that remove capacity come last."""

    ADD_SERVICES = 0
    ADD_SERVERS = 1
    RAISE = 2
    """Edits that bring a server from weight 0 into service."""
    EDIT = 3
    QUIESCE = 4
    """Edits that give a server weight 0, so that it gets no new connections."""
    DELETE_SERVERS = 5
    DELETE_SERVICES = 6


STEPS = (
    (Phase.ADD_SERVICES,),
    (Phase.ADD_SERVERS, Phase.RAISE, Phase.EDIT),
    (Phase.QUIESCE, Phase.DELETE_SERVERS, Phase.DELETE_SERVICES),
)
"""The phases of each step: first new services, then added capacity, then removed capacity.

The writes of one step may be sent together. A step starts only when the kernel has acknowledged the step before it.
"""


Servers = Mapping[ServiceKey, Collection[DestinationKey]]
"""The daemon's own servers in each service that it shares with somebody else.

In a service that is not listed here, every server is the daemon's own.
"""


def diff(
    wanted: Table, actual: Table, owned: Collection[ServiceKey], servers: Servers | None = None
) -> list[Operation]:
    """Return the writes, in safe order, that make the daemon's own services in `actual` equal to `wanted`.

    wanted: the table as it should be.
    actual: the kernel's table.
    owned: the daemon's own services. A service that is no longer wanted is deleted, unless somebody else has servers
        in it; then only the daemon's servers are removed.
    servers: see `Servers`; None means that no service is shared.

    Services and servers that belong to somebody else are left alone.
    """
    ours = servers or {}
    keys = [*wanted, *(key for key in actual if key in owned and key not in wanted)]
    operations = [
        operation
        for key in keys
        for line in lines(key, wanted, actual, ours)
        if (operation := operation_on(line, wanted, actual, owned, ours)) is not None
    ]
    operations.sort(key=phase)  # a stable sort, which keeps the configuration's order within a phase
    return operations


def lines(key: ServiceKey, wanted: Table, actual: Table, servers: Servers) -> Iterator[TableLine]:
    """Iterate over the lines in which a service may differ between two tables.

    If the service is equal in both tables, there are no such lines. Otherwise all of its lines are visited. The tables
    may change during the iteration; a line that is added or removed meanwhile may or may not be visited.
    """
    entry, found = wanted.get(key), actual.get(key)
    if entry == found:
        return
    yield key, None
    if entry is None and key not in servers:
        return  # the kernel deletes a service's servers along with it
    wanted_servers = entry.destinations if entry is not None else {}
    for server in list(wanted_servers):
        yield key, server
    for server in list(found.destinations) if found is not None else ():
        if server not in wanted_servers:
            yield key, server


def is_foreign(line: TableLine, servers: Servers) -> bool:
    """Return whether a line is somebody else's server in one of the daemon's services."""
    key, server = line
    return server is not None and key in servers and server not in servers[key]


def is_in_sync(key: ServiceKey, wanted: Table, actual: Table, servers: Servers) -> bool:
    """Return whether a service is the same in both tables. Servers that belong to somebody else are ignored."""
    entry, found = wanted.get(key), actual.get(key)
    if entry is None or found is None or key not in servers:
        return entry == found
    return _without_foreign(entry, servers[key]) == _without_foreign(found, servers[key])


def _without_foreign(entry: ServiceEntry, ours: Collection[DestinationKey]) -> ServiceEntry:
    return ServiceEntry(entry.service, {key: record for key, record in entry.destinations.items() if key in ours})


def operation_on(
    line: TableLine, wanted: Table, actual: Table, owned: Collection[ServiceKey], servers: Servers
) -> Operation | None:
    """Return the write that makes one line of `actual` as it is in `wanted`.

    Returns None when the line is already as wanted, or belongs to somebody else.
    """
    key, server = line
    entry, found = wanted.get(key), actual.get(key)
    if entry is None:
        return _removal(line, found, servers) if found is not None and key in owned else None
    if server is None:
        return _service_operation(entry, found)
    if is_foreign(line, servers):
        # A foreign server is left alone even if the wanted table has it. The wanted table holds foreign servers that
        # keep serving until the daemon's own servers are proven.
        return None
    record = entry.destinations.get(server)
    was = found.destinations.get(server) if found is not None else None
    if record is None:
        return None if was is None else Operation(Verb.DELETE_SERVER, entry.service, was, was)
    if was is None:
        return Operation(Verb.ADD_SERVER, entry.service, record)
    return None if record == was else Operation(Verb.SET_SERVER, entry.service, record, was)


def phase(operation: Operation) -> Phase:
    """Return the phase to which an operation belongs in the safe order."""
    match operation.verb:
        case Verb.ADD_SERVICE:
            return Phase.ADD_SERVICES
        case Verb.ADD_SERVER:
            return Phase.ADD_SERVERS
        case Verb.SET_SERVICE:
            return Phase.EDIT
        case Verb.SET_SERVER:
            return _edit_phase(operation)
        case Verb.DELETE_SERVER:
            return Phase.DELETE_SERVERS
        case Verb.DELETE_SERVICE:
            return Phase.DELETE_SERVICES


def is_uncovered(key: ServiceKey, wanted: Table, actual: Table, *, in_any_way: bool = True) -> bool:
    """Return whether a service has servers that should serve, but none of them serves in `actual` yet.

    in_any_way: whether a server also counts as serving while its packets are sent in another way than wanted
        (forwarding method, tunnel). Such packets may not reach the server.
    """
    entry, found = wanted.get(key), actual.get(key)
    if entry is None or found is None:
        return False
    present = found.destinations
    should_serve = False
    for server in entry.destinations.values():
        if server.weight > 0:
            should_serve = True
            has = present.get(server.key)
            if has is not None and has.weight > 0 and (in_any_way or _way(has) == _way(server)):
                return False
    return should_serve


def changes_way(operation: Operation) -> bool:
    """Return whether an edit changes the way in which packets are sent to a server: forwarding method or tunnel."""
    was, server = operation.was, operation.destination
    return isinstance(was, DestinationRecord) and server is not None and _way(was) != _way(server)


def _way(server: DestinationRecord) -> tuple[int, ...]:
    return server.forward, server.tunnel_type, server.tunnel_port, server.tunnel_flags


def update(table: Table, operation: Operation) -> None:
    """Change `table` as the kernel changes its own table when the operation succeeds.

    An edit replaces every field of the record.
    """
    key = operation.service.key
    destination = operation.destination
    match operation.verb:
        case Verb.ADD_SERVICE:
            table[key] = ServiceEntry(operation.service, {})
        case Verb.SET_SERVICE:
            table[key].service = operation.service
        case Verb.DELETE_SERVICE:
            table.pop(key, None)
        case Verb.ADD_SERVER | Verb.SET_SERVER if destination is not None:
            table[key].destinations[destination.key] = destination
        case Verb.DELETE_SERVER if destination is not None:
            table[key].destinations.pop(destination.key, None)
        case _:
            raise ValueError(f"{operation.verb} without a destination")


def takes_capacity(operation: Operation) -> bool:
    """Return whether an operation ends new connections to a server that has got them until then."""
    if operation.verb not in (Verb.SET_SERVER, Verb.DELETE_SERVER):
        return False
    is_out = operation.verb is Verb.DELETE_SERVER or (
        operation.destination is not None and operation.destination.weight == 0
    )
    return is_out and isinstance(operation.was, DestinationRecord) and operation.was.weight > 0


def line_of(operation: Operation) -> TableLine:
    """Return the line of the table that an operation writes."""
    destination = operation.destination
    return operation.service.key, None if destination is None else destination.key


def is_in_effect(operation: Operation, table: Table) -> bool:
    """Return whether a table is already as the operation would leave it."""
    entry = table.get(operation.service.key)
    if operation.verb is Verb.DELETE_SERVICE:
        return entry is None
    if entry is None:
        return operation.verb is Verb.DELETE_SERVER
    if operation.destination is None:
        return entry.service == operation.service
    found = entry.destinations.get(operation.destination.key)
    return found == (None if operation.verb is Verb.DELETE_SERVER else operation.destination)


def _service_operation(entry: ServiceEntry, found: ServiceEntry | None) -> Operation | None:
    if found is None:
        return Operation(Verb.ADD_SERVICE, entry.service)
    return None if found.service == entry.service else Operation(Verb.SET_SERVICE, entry.service, was=found.service)


def _removal(line: TableLine, found: ServiceEntry, servers: Servers) -> Operation | None:
    """Return the write that removes one line of a service that is no longer wanted.

    The whole service is deleted, unless somebody else has servers in it; then only the daemon's servers are removed.
    """
    key, server = line
    if server is None:
        is_in_use = any(is_foreign((key, each), servers) for each in found.destinations)
        return None if is_in_use else Operation(Verb.DELETE_SERVICE, found.service, was=found.service)
    was = found.destinations.get(server)
    if was is None or key not in servers or is_foreign(line, servers):
        return None
    return Operation(Verb.DELETE_SERVER, found.service, was, was)


def _edit_phase(operation: Operation) -> Phase:
    weight = operation.destination.weight if operation.destination else 0
    was = _weight(operation.was)
    if was == 0 and weight > 0:
        return Phase.RAISE
    if was > 0 and weight == 0:
        return Phase.QUIESCE
    return Phase.EDIT


def _weight(record: ServiceRecord | DestinationRecord | None) -> int:
    return record.weight if isinstance(record, DestinationRecord) else 0
