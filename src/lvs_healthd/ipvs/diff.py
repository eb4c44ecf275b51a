"""What to write so that one table becomes another, in an order that never leaves a service empty. Pure."""

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
    """The safe order: what gives capacity first, what takes it last."""

    ADD_SERVICES = 0
    ADD_SERVERS = 1
    RAISE = 2
    """Edits that bring a server from weight 0 into service."""
    EDIT = 3
    QUIESCE = 4
    """Edits to weight 0."""
    DELETE_SERVERS = 5
    DELETE_SERVICES = 6


STEPS = (
    (Phase.ADD_SERVICES,),
    (Phase.ADD_SERVERS, Phase.RAISE, Phase.EDIT),
    (Phase.QUIESCE, Phase.DELETE_SERVERS, Phase.DELETE_SERVICES),
)
"""Services, what gives capacity, what takes it: a step starts when the one before is acknowledged."""


Servers = Mapping[ServiceKey, Collection[DestinationKey]]
"""Of services in which somebody else may have servers too: which are ours. In all others every server is."""


def diff(
    wanted: Table, actual: Table, owned: Collection[ServiceKey], servers: Servers | None = None
) -> list[Operation]:
    """Return the writes that make `actual` equal `wanted` for our services, in safe order.

    Services of `owned` that are no longer wanted are deleted; one with servers of somebody else's stays with those.
    Every other service that is not wanted is somebody else's and is left alone, and so is every server that is not
    ours.
    """
    ours = servers or {}
    keys = [*wanted, *(key for key in actual if key in owned and key not in wanted)]
    operations = [
        operation
        for key in keys
        for line in lines(key, wanted, actual, ours)
        if (operation := operation_on(line, wanted, actual, owned, ours)) is not None
    ]
    operations.sort(key=phase)  # stable: within a phase the configuration's order stays
    return operations


def lines(key: ServiceKey, wanted: Table, actual: Table, servers: Servers) -> Iterator[TableLine]:
    """Go through the lines in which a service may differ between two tables: none where it is equal, else all of them.

    The tables may change meanwhile; whether a line that came or went is met is then open.
    """
    entry, found = wanted.get(key), actual.get(key)
    if entry == found:
        return
    yield key, None
    if entry is None and key not in servers:
        return  # what is in it goes with it
    wanted_servers = entry.destinations if entry is not None else {}
    for server in list(wanted_servers):
        yield key, server
    for server in list(found.destinations) if found is not None else ():
        if server not in wanted_servers:
            yield key, server


def is_foreign(line: TableLine, servers: Servers) -> bool:
    """Tell whether a server in a service of ours is somebody else's."""
    key, server = line
    return server is not None and key in servers and server not in servers[key]


def is_in_sync(key: ServiceKey, wanted: Table, actual: Table, servers: Servers) -> bool:
    """Tell whether a service is in the table as wanted, whatever somebody else has in it."""
    entry, found = wanted.get(key), actual.get(key)
    if entry is None or found is None or key not in servers:
        return entry == found
    return _without_foreign(entry, servers[key]) == _without_foreign(found, servers[key])


def _without_foreign(entry: ServiceEntry, ours: Collection[DestinationKey]) -> ServiceEntry:
    return ServiceEntry(entry.service, {key: record for key, record in entry.destinations.items() if key in ours})


def operation_on(
    line: TableLine, wanted: Table, actual: Table, owned: Collection[ServiceKey], servers: Servers
) -> Operation | None:
    """Return the write that makes one line of `actual` as in `wanted`; None where it is so, or is somebody else's."""
    key, server = line
    entry, found = wanted.get(key), actual.get(key)
    if entry is None:
        return _farewell(line, found, servers) if found is not None and key in owned else None
    if server is None:
        return _service_operation(entry, found)
    if is_foreign(line, servers):
        return None  # wanted or not: those that serve until ours are proven are in the wanted table, too
    record = entry.destinations.get(server)
    was = found.destinations.get(server) if found is not None else None
    if record is None:
        return None if was is None else Operation(Verb.DELETE_SERVER, entry.service, was, was)
    if was is None:
        return Operation(Verb.ADD_SERVER, entry.service, record)
    return None if record == was else Operation(Verb.SET_SERVER, entry.service, record, was)


def phase(operation: Operation) -> Phase:
    """Say where in the safe order an operation belongs."""
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


def is_uncovered(key: ServiceKey, wanted: Table, actual: Table) -> bool:
    """Tell whether a service has servers that should serve and none of them is in the table yet."""
    entry, found = wanted.get(key), actual.get(key)
    if entry is None or found is None:
        return False
    present = found.destinations
    should_serve = False
    for server in entry.destinations.values():
        if server.weight > 0:
            should_serve = True
            if server.key in present and present[server.key].weight > 0:
                return False
    return should_serve


def update(table: Table, operation: Operation) -> None:
    """Do to `table` what the kernel does to its own when the operation succeeds. Every field is replaced."""
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
    """Tell whether an operation takes a server out of service that is in it."""
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
    """Tell whether a table is as the operation would have left it."""
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


def _farewell(line: TableLine, found: ServiceEntry, servers: Servers) -> Operation | None:
    """Return what takes out a service that we want no more: it goes whole, unless it has servers of somebody else's."""
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
