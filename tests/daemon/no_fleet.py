"""A director that belongs to no fleet."""

from lvs_healthd.daemon.fleet_writes import Seen
from lvs_healthd.daemon.order_changes import Change, RefusedOrderError
from lvs_healthd.state.overrides import Override


class NoFleet:
    """Takes no orders for a fleet."""

    name = "alone"
    seen = Seen()

    async def order(self, change: Change, why: str, seen: Seen) -> None:
        """Refuse."""
        raise RefusedOrderError(f"no fleet, {why}, {change}, {seen}")

    async def catch_up(self, seen: Seen) -> None:
        """Do nothing."""

    def is_lost(self, override: Override) -> bool:
        """Return that it is not."""
        return override.director == "nobody"
