"""Keeps the lines that may have to be written: those that changed since they were last known to be as wanted.

A line of the table is a service itself or one of its servers. Between two readings of the whole table, only these lines
are compared, so that one changed verdict among fifty thousand costs one comparison. A line stays until it is seen to be
as wanted, so a failed write is tried again.
"""

from collections.abc import Iterable

from lvs_healthd.ipvs.diff import Phase, lines, operation_on, phase
from lvs_healthd.ipvs.records import Operation, ServiceKey, Table, TableLine
from lvs_healthd.reconcile.ownership import Ownership
from lvs_healthd.runtime.pace import Pace, paced


class ToDo:
    """The lines to compare, in the order in which they were added."""

    def __init__(self) -> None:
        self._lines: dict[TableLine, None] = {}
        self._news: dict[TableLine, None] = {}
        """Lines that were added since the last `take_news`."""
        self.is_whole = False
        """Whether every line must be compared, because the whole table was read or the wanted one was replaced."""

    @property
    def has_news(self) -> bool:
        """Whether anything was added since the last `take_news`."""
        return self.is_whole or bool(self._news)

    def add(self, changed: Iterable[TableLine]) -> None:
        """Add lines that have changed."""
        self._news.update(dict.fromkeys(changed))

    async def take_news(self, wanted: Table, actual: Table, ours: Ownership) -> None:
        """Put the new lines among the lines to compare. If `is_whole`, find more such lines in the whole tables."""
        self._lines.update(self._news)
        self._news.clear()
        if self.is_whole:
            self.is_whole = False
            await self.compare([*wanted, *(key for key in actual if key not in wanted)], wanted, actual, ours)

    async def compare(self, keys: Iterable[ServiceKey], wanted: Table, actual: Table, ours: Ownership) -> None:
        """Compare services line by line, and add the lines that differ."""
        pace = Pace()
        for key in keys:
            if pace.is_over():
                await pace.rest()
            for line in lines(key, wanted, actual, ours.servers):
                self._lines[line] = None
                if pace.is_over():
                    await pace.rest()

    async def operations(self, wanted: Table, actual: Table, ours: Ownership) -> dict[Phase, list[Operation]]:
        """Return the due writes by phase, with the phases in a safe order. Forget the lines that are as wanted."""
        phases: dict[Phase, list[Operation]] = {each: [] for each in Phase}
        async for line in paced(list(self._lines)):
            operation = operation_on(line, wanted, actual, ours.services, ours.servers)
            if operation is None:
                del self._lines[line]
            else:
                phases[phase(operation)].append(operation)
        return phases

    def is_news(self, line: TableLine) -> bool:
        """Whether a line was added since the last `take_news`."""
        return line in self._news

    def take_lines(self) -> list[TableLine]:
        """Return all lines to compare, and forget them."""
        taken, self._lines = list(self._lines), {}
        return taken
