"""What to write so that one table becomes another, in an order that never leaves a service empty. Pure."""

import enum
from collections.abc import Collection

from lvs_healthd.ipvs.records import (
    DestinationRecord,
    Operation,
    ServiceEntry,
    ServiceKey,
    ServiceRecord,
    Table,
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


def diff(wanted: Table, actual: Table, owned: Collection[ServiceKey]) -> list[Operation]:
    """Return the writes that make `actual` equal `wanted` for our services, in safe order.

    Services of `owned` that are no longer wanted are deleted. Every other service that is not wanted is somebody
    else's and is left alone.
    """
    operations: list[Operation] = []
    for key, entry in wanted.items():
        operations += _entry_diff(entry, actual.get(key))
    operations += [
        Operation(Verb.DELETE_SERVICE, entry.service, was=entry.service)
        for key, entry in actual.items()
        if key in owned and key not in wanted
    ]
    operations.sort(key=phase)  # stable: within a phase the configuration's order stays
    return operations


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


def is_in_effect(operation: Operation, table: Table) -> bool:
    """Tell whether a table is as the operation would have left it."""
    entry = table.get(operation.service.key)
    if operation.verb is Verb.DELETE_SERVICE:
        return entry is None
    if entry is None:
        return False
    if operation.destination is None:
        return entry.service == operation.service
    found = entry.destinations.get(operation.destination.key)
    return found == (None if operation.verb is Verb.DELETE_SERVER else operation.destination)


def _entry_diff(entry: ServiceEntry, found: ServiceEntry | None) -> list[Operation]:
    service = entry.service
    if found is None:
        added = [Operation(Verb.ADD_SERVER, service, destination) for destination in entry.destinations.values()]
        return [Operation(Verb.ADD_SERVICE, service), *added]
    operations: list[Operation] = []
    if found.service != service:
        operations.append(Operation(Verb.SET_SERVICE, service, was=found.service))
    for key, destination in entry.destinations.items():
        was = found.destinations.get(key)
        if was is None:
            operations.append(Operation(Verb.ADD_SERVER, service, destination))
        elif was != destination:
            operations.append(Operation(Verb.SET_SERVER, service, destination, was))
    operations += [
        Operation(Verb.DELETE_SERVER, service, was, was)
        for key, was in found.destinations.items()
        if key not in entry.destinations
    ]
    return operations


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
