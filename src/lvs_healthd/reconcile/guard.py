"""The last look at writes before they are sent: what cannot work, or would leave a service empty, is held back."""

from collections.abc import Mapping

from lvs_healthd.ipvs.diff import is_in_effect, is_uncovered, line_of, takes_capacity
from lvs_healthd.ipvs.records import Operation, ServiceKey, Table, TableLine


class Guard:
    """Remembers which services are uncovered, for as long as that holds."""

    def __init__(self) -> None:
        self._uncovered: dict[ServiceKey, bool] = {}

    def forget(self) -> None:
        """Forget what was seen: a step of writing begins, or another table is wanted."""
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

        Held back are: writes to a service that is not there; what the kernel has just `refused`; with `has_news`, what
        is wanted otherwise by now; and what takes a server out of a service whose new servers did not get in.
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
