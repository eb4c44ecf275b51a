"""Describes what keeps the table as it is: operators' holds, and the brake."""

from collections.abc import Iterable

from lvs_healthd.decide.way import Held
from lvs_healthd.state.holds import Hold
from lvs_healthd.view.hold_values import BrakeStatus, HoldStatus


def brake_statuses(held: Iterable[Held], shift_s: float) -> tuple[BrakeStatus, ...]:
    """Describe the ways on which the brake is on.

    shift_s: what to add to the monotonic clock to get Unix time, seconds.
    """
    return tuple(
        [
            BrakeStatus(
                way=each.way,
                since=each.since + shift_s,
                silent=each.silent,
                targets=each.targets,
                cause="; ".join(each.causes),
            )
            for each in held
        ]
    )


def hold_statuses(holds: Iterable[Hold]) -> tuple[HoldStatus, ...]:
    """Describe what operators hold."""
    return tuple(map(_hold_status, holds))


def _hold_status(hold: Hold) -> HoldStatus:
    address = "" if hold.service is None else str(hold.service)
    return HoldStatus(service=hold.name, address=address, since=hold.since, uid=hold.uid, reason=hold.reason)
