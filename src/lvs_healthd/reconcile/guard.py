"""The last check of writes before they are sent. It holds back what cannot work or would leave a service empty."""

from collections.abc import Mapping

from lvs_healthd.ipvs.diff import is_in_effect, is_uncovered, line_of, takes_capacity
from lvs_healthd.ipvs.records import Operation, ServiceKey, Table, TableLine


class Guard:
    """Decides which writes may be sent.

    It remembers which services are uncovered: none of the servers that should serve is in the table.
    """

    def __init__(self) -> None:
        self._uncovered: dict[ServiceKey, bool] = {}

    def forget(self) -> None:
        """Forget which services are uncovered, before each step of writing and when the wanted table changes."""
        self._uncovered.clear()

    def permitted(
        self,
        batch: list[Operation],
        wanted: Table,
        actual: Table,
        *,
        refused: Mapping[TableLine, Operation],
        has_news: bool,
    ) -> list[Operation]:
        """Return the writes that may be sent now.

        These are held back:

        - a write to the servers of a service that does not exist;
        - a write that the kernel has just `refused`;
        - a write that the wanted table no longer asks for (checked only if `has_news`: the wanted table has changed);
        - a write that takes a server out of a service whose new servers could not be added.
        """
        return [
            operation
            for operation in batch
            if (operation.destination is None or operation.service.key in actual)
            and not (refused and refused.get(line_of(operation)) == operation)
            and (not has_news or is_in_effect(operation, wanted))
            and not (takes_capacity(operation) and self._is_uncovered(operation.service.key, wanted, actual))
        ]

    def _is_uncovered(self, key: ServiceKey, wanted: Table, actual: Table) -> bool:
        answer = self._uncovered.get(key)
        if answer is None:
            answer = self._uncovered[key] = is_uncovered(key, wanted, actual)
        return answer
