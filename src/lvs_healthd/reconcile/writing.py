"""Sends writes to the kernel in a safe order, and acts on its answers."""

import asyncio
import itertools
from collections.abc import Callable

from lvs_healthd.ipvs.diff import STEPS, Phase, line_of
from lvs_healthd.ipvs.interface import IpvsTable, TableUnavailableError
from lvs_healthd.ipvs.records import Operation, Result, TableLine, Wanted
from lvs_healthd.ipvs.refusals import GONE_ANYWAY, MISMATCH, code_name
from lvs_healthd.reconcile.gate import Gate
from lvs_healthd.reconcile.guard import Guard
from lvs_healthd.reconcile.ownership import Ownership
from lvs_healthd.reconcile.readback import Readback
from lvs_healthd.reconcile.reports import TableObserver, TableReports
from lvs_healthd.reconcile.todo import ToDo

_BATCH = 128
"""The maximum number of writes sent before `Readback.progress` is updated and the event loop gets its turn."""


class Attempt:
    """What became of the writes of one turn, which may send some again."""

    def __init__(self) -> None:
        self.failed: dict[TableLine, str] = {}
        """The errors, by line."""
        self.refused: dict[TableLine, Operation] = {}
        """The writes that the kernel has refused, which are not sent again."""


class Writing:
    """Writes to the kernel's table.

    wanted: returns the newest wanted table, which may be another one after every `await`.
    may_write: returns whether anything may be written at all.
    """

    def __init__(
        self,
        table: IpvsTable,
        *,
        readback: Readback,
        ownership: Ownership,
        gate: Gate,
        todo: ToDo,
        reports: TableReports,
        observer: TableObserver,
        wanted: Callable[[], Wanted | None],
        may_write: Callable[[], bool],
    ) -> None:
        self._table = table
        self._readback = readback
        self._ownership = ownership
        self._gate = gate
        self._todo = todo
        self._reports = reports
        self._observer = observer
        self._wanted = wanted
        self._may_write = may_write
        self._guard = Guard()

    def wanted_changed(self) -> None:
        """Note that the wanted table is another one."""
        self._guard.forget()

    async def write(self, due: dict[Phase, list[Operation]], attempt: Attempt) -> bool:
        """Write in three steps, each of which is acknowledged before the next begins.

        Return False if nothing may be written any more. The remaining batches are then not sent.

        due: the writes of each phase.
        attempt: what became of the writes of this turn so far. Updated.

        Raises `TableUnavailableError`.
        """
        for phases in STEPS:
            step = list(itertools.chain.from_iterable(due[each] for each in phases))
            self._guard.forget()
            for start in range(0, len(step), _BATCH):
                if not self._may_write():
                    return False
                await self._send(step[start : start + _BATCH], attempt)
                self._readback.note_progress()
                await asyncio.sleep(0)
        return self._may_write()

    async def _send(self, operations: list[Operation], attempt: Attempt) -> None:
        # Each batch is checked against the newest wanted table, because a reload may have replaced it meanwhile.
        wanted = self._wanted()
        batch = self._guard.permitted(
            self._gate.permitted(operations),
            wanted.table if wanted is not None else {},
            self._readback.actual,
            refused=attempt.refused,
            has_news=self._todo.has_news,
        )
        try:
            results = await self._table.apply(batch) if batch else []
        except TableUnavailableError:
            self._readback.unconfirmed += batch
            raise
        for operation, result in zip(batch, results, strict=True):
            self._take_result(operation, result, attempt)

    def _take_result(self, operation: Operation, result: Result, attempt: Attempt) -> None:
        """Act on the kernel's answer to one write."""
        self._observer.operation(operation.verb.value, result.ok, "" if result.ok else code_name(result.errno))
        line = line_of(operation)
        attempt.failed.pop(line, None)
        if result.errno == 0:
            self._readback.take_in(operation)
            self.confirm(operation)
            return
        if result.errno is None:
            self._readback.unconfirmed.append(operation)
            self._readback.stale.add(operation.service.key)
        elif (operation.verb, result.errno) in GONE_ANYWAY:
            self._readback.take_in(operation)
            self._take_over(operation)
            return
        elif (operation.verb, result.errno) in MISMATCH:
            self._readback.stale.add(operation.service.key)
        else:
            attempt.refused[line] = operation
        attempt.failed[line] = result.message

    def confirm(self, operation: Operation) -> None:
        """Report a write that is in effect, and update what is ours."""
        self._take_over(operation)
        self._reports.written(operation)

    def _take_over(self, operation: Operation) -> None:
        wanted = self._wanted()
        if wanted is not None:
            self._ownership.wrote(operation, wanted)
