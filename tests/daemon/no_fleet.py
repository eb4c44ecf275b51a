"""A director that belongs to no fleet."""

from lvs_healthd.daemon.order_changes import Change, RefusedOrderError


class NoFleet:
    """Takes no orders for a fleet."""

    name = "alone"

    async def order(self, change: Change, why: str) -> None:
        """Refuse."""
        raise RefusedOrderError(f"no fleet, {why}, {change}")
