"""Says what would be written if another table were wanted. Nothing is written or changed for that.

The writes are made in a copy of the table, step by step as the reconciler makes them, because a write that is kept back
in one step may keep back another in the next: no server is taken out while those that replace it may not come in.
"""

import itertools
from collections.abc import Mapping
from typing import NamedTuple

from lvs_healthd.events.kinds import TableChanged
from lvs_healthd.ipvs.diff import STEPS, update
from lvs_healthd.ipvs.records import Operation, ServiceEntry, ServiceKey, Table, Wanted
from lvs_healthd.reconcile.gate import Braked, Gate, Stop
from lvs_healthd.reconcile.guard import Guard
from lvs_healthd.reconcile.ownership import Ownership
from lvs_healthd.reconcile.reports import TableReports
from lvs_healthd.reconcile.todo import ToDo
from lvs_healthd.runtime.pace import paced


class Circumstances(NamedTuple):
    """What the reconciler knows now."""

    actual: Table
    """The kernel's table, as last read."""
    ownership: Ownership
    gate: Gate
    reports: TableReports


class Foreseen(NamedTuple):
    """One write that would be due."""

    operation: Operation
    told: TableChanged
    """The event with which it would be reported."""
    stop: Stop | None
    """What keeps it back; None if it would be written at once."""


async def foresee(
    now: Circumstances,
    wanted: Wanted,
    braked: Mapping[ServiceKey, Braked],
    *,
    shadow: bool,
    shadowed: frozenset[ServiceKey],
) -> list[Foreseen]:
    """Return the writes, in the order in which they would be made, that make the kernel's table as wanted.

    wanted: the table that would be wanted.
    braked: what the brake would hold then.
    shadow: whether everything would be in shadow mode.
    shadowed: the services that would be by themselves.
    """
    ours, gate, todo = now.ownership.copy(), now.gate.copy(), ToDo()
    ours.want(wanted, shadow=shadow, shadowed=shadowed)
    gate.shadowed = shadowed
    gate.brake(braked)
    todo.is_whole = True
    # The table may be read again before this is done, and all of this must be about the same one.
    table = {key: ServiceEntry(entry.service, dict(entry.destinations)) for key, entry in now.actual.items()}
    await todo.take_news(wanted.table, table, ours)
    phases = await todo.operations(wanted.table, table, ours)
    guard, found = Guard(), []
    for step in STEPS:
        guard.forget()
        async for operation in paced(itertools.chain.from_iterable(phases[each] for each in step)):
            stop = Stop.SHADOW if shadow else gate.stop(operation)
            if stop is None and not guard.permitted([operation], wanted.table, table, refused={}, has_news=False):
                stop = Stop.GUARD
            if stop is None:
                update(table, operation)
            found.append(Foreseen(operation, now.reports.foreseen(operation, wanted), stop))
    return found
