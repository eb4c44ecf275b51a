"""Decides whether a virtual address is announced by this director. It is pure.

A change of the route costs clients their connections, and a router may keep a route that flaps away for a minute. So a
fault must last before the address is withdrawn, and all must be well for longer before it is announced again.

If other directors say that they cannot serve either, a director goes on announcing (`combined`): clients are then
refused, and do not wait in vain. What others say never withdraws an address, and never announces one.
"""

from collections.abc import Mapping
from typing import NamedTuple

from lvs_healthd.config.basics import AnnounceWhen

MOST_NAMED = 3
"""How many services a reason names at most."""


class Say(NamedTuple):
    """What one service of an address says."""

    may: bool | None
    """Whether it may serve here. None: that is not known, or is not to change anything, so all stays as it is."""
    service: str
    """The service's name."""
    why: str
    """In words: "no real server may serve"."""


class Finding(NamedTuple):
    """What all services of an address say together."""

    may: bool | None
    """Whether the address may be announced; None leaves it as it is."""
    why: str


class Hearing:
    """Hears the services of one address, one after another, until it is clear what they say together.

    when: whether one service that may serve is enough, or all must.
    """

    def __init__(self, when: AnnounceWhen) -> None:
        self._decisive = when is AnnounceWhen.ANY
        self._named: dict[bool | None, list[Say]] = {}
        """The first ones that said so."""
        self._counts: dict[bool | None, int] = {}

    def hear(self, say: Say) -> bool:
        """Take what one service says. Return whether that decides, so that no other need be heard."""
        named = self._named.setdefault(say.may, [])
        if len(named) < MOST_NAMED:
            named.append(say)
        self._counts[say.may] = self._counts.get(say.may, 0) + 1
        return say.may is self._decisive

    @property
    def finding(self) -> Finding:
        """What they say together, as far as they were heard."""
        for may in (self._decisive, None, not self._decisive):
            if named := self._named.get(may):
                more = self._counts[may] - len(named)
                words = [f"{say.service}: {say.why}" for say in named] + ([f"and {more} more"] if more else [])
                return Finding(may, "; ".join(words))
        return Finding(None, "no service says anything")


def combined(own: Finding, local: str, others: Mapping[str, bool | None]) -> Finding:
    """Return what is found about an address, after other directors were heard.

    own: what this director finds.
    local: what is wrong with this director itself, in words; empty if nothing is. Then others may serve all the same.
    others: whether each other director that has been heard lately may serve; None if that is not known.

    If none of them may, this director leaves the address where it is: whoever announces it at last refuses clients.
    """
    if own.may is not False or local or not others or any(may is not False for may in others.values()):
        return own
    names = sorted(others)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return Finding(
        None, f"{own.why}; nor may any on {', '.join(names[:MOST_NAMED])}{more}, so clients are refused here"
    )


class Announcement:
    """What is wanted for one address."""

    def __init__(self) -> None:
        self.wanted: bool | None = None
        """Whether it is to be announced. None while that is not known: then it is left as it is."""
        self.reason = ""
        """Why it is so, in words; while nothing is known, why not."""
        self.since: float | None = None
        """When it was decided, seconds on the monotonic clock; None while nothing is."""
        self.pending = ""
        """Why it is about to change, if that lasts; empty while it is not."""
        self._contrary_since = 0.0
        """Since when the findings differ from what is wanted. It means something only while `pending` does."""

    def look(self, finding: Finding, now: float, *, announce_after_s: float, withdraw_after_s: float) -> bool:
        """Take a finding. Return whether what is wanted has changed.

        now: seconds on the monotonic clock.
        announce_after_s: how long it must be able to serve until it is announced again. It counts only after it was
            withdrawn, not after a start.
        withdraw_after_s: how long it must be unable to serve until it is withdrawn.
        """
        if finding.may is None or finding.may is self.wanted:
            self.pending = ""
            if self.wanted is None:
                self.reason = finding.why
            return False
        if not self.pending:
            self.pending, self._contrary_since = finding.why, now
        wait_s = withdraw_after_s if not finding.may else announce_after_s if self.wanted is not None else 0.0
        if now - self._contrary_since < wait_s:
            return False
        self.wanted, self.reason, self.since, self.pending = finding.may, finding.why, now, ""
        return True
