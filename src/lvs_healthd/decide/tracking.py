"""Decides what the track file tells VRRP: 0 while this director can serve, 1 while it cannot. It is pure.

A change costs the clients a takeover, so a fault must last before it is told, and all must be well for longer before
that is told.
"""

from typing import NamedTuple

CAN_SERVE, CANNOT_SERVE = 0, 1


class Finding(NamedTuple):
    """What one look at the tracked services has found."""

    fault: str
    """Why this director cannot serve, in words; empty if it can."""
    is_known: bool = True
    """Whether it is known at all. After a start it is not, until servers are proven."""


class Tracking:
    """What the file is to say."""

    def __init__(self) -> None:
        self.value: int | None = None
        """None while nothing is known: then the file is to stay as it is."""
        self.reason = ""
        """Why it is so, in words."""
        self._since: float | None = None
        """Since when the findings differ from the value; None while they agree."""

    def look(self, finding: Finding, now: float, *, after_s: float, back_s: float) -> None:
        """Take a finding.

        now: seconds on the monotonic clock.
        after_s: how long a fault must last until it is told.
        back_s: how long all must be well until that is told. It counts only after a fault, not after a start.
        """
        if not finding.is_known:
            self._since = None
            return
        found = CANNOT_SERVE if finding.fault else CAN_SERVE
        if found == self.value:
            self._since = None
            self.reason = finding.fault or self.reason
            return
        if self._since is None:
            self._since = now
        wait_s = after_s if finding.fault else back_s if self.value is not None else 0.0
        if now - self._since >= wait_s:
            self.value, self._since = found, None
            self.reason = finding.fault or "every tracked service may serve"
