"""How often a check probes: usually, while its verdict is in doubt, and while it is down.

A verdict takes several probes. The first of them tells that something has changed, so the others may follow sooner.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import Check
from lvs_healthd.config.values import duration_text

PACES = ("interval", "fast_interval", "down_interval")
"""The fields that say how often a check probes. The floor of a ready-made check bounds all of them."""

FAST_INTERVAL = Seconds(0.5)
"""The default of `fast_interval` for checks whose probes cost a server next to nothing, unless `interval` is shorter.
Half a second outlasts the hiccups of a network, and a timeout lasts longer anyway. HAProxy's `fastinter` has no default
of its own."""

_CHEAP = frozenset({"http", "https", "tcp"})
"""The types of check with this default. To those of any other type, a probe may mean a program or a query."""

_INTERVAL: Seconds = next(each.default for each in msgspec.structs.fields(Check) if each.name == "interval")


def paces(kind: str, fields: Mapping[str, Any], floor: Seconds) -> dict[str, Seconds]:
    """Return the `fast_interval` and the `down_interval` of a check.

    kind: the type of check.
    fields: those of its fields that are set.
    floor: the shortest interval that the check may have, seconds; 0 for any.
    """
    interval: Seconds = fields.get("interval", _INTERVAL)
    fast = fields.get("fast_interval", FAST_INTERVAL if kind in _CHEAP else interval)
    return {
        "fast_interval": min(interval, max(fast, floor)),
        "down_interval": fields.get("down_interval", interval),
    }


def slow_fast(fast: Seconds | None, interval: Seconds) -> str:
    """Return the message for a `fast_interval` above `interval`, both in seconds; empty if there is none."""
    if fast is None or fast <= interval:
        return ""
    return (
        f"fast_interval {duration_text(fast)} is longer than interval {duration_text(interval)}: it is for a verdict "
        f'in doubt, which needs more probes and not fewer; write fast_interval = "{duration_text(interval)}" or less'
    )
