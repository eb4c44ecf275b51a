"""Decides whether other directors hold back the removal of a server. It is pure: the caller passes the time.

A director that sees a server down may be wrong about it: a cable, a route or a firewall of its own. So, with
`agree = 2`, a server goes only if another director sees it down too. This is a veto, and nothing else: what other
directors say never takes a server out, whatever it is.

    own verdict down --too few agree--> held --enough agree, too few can tell, or five minutes--> over

What is over stays over until the own verdict changes. So no director that is wrong keeps a dead server for longer than
five minutes, and one that comes and goes does not begin again.
"""

import enum
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

LONGEST_S = 300.0
"""For how long others can hold back the removal of a server, seconds. It is counted from when it would have gone."""

MOST_NAMED = 3
"""How many directors a reason names at most."""


class Sight(enum.StrEnum):
    """How a director sees a server."""

    UP = "up"
    DOWN = "down"
    UNSURE = "unsure"
    """Its probes cannot tell, it is not proven yet, or it may be the director that is cut off."""


class Opinion(NamedTuple):
    """What another director has said last about a server."""

    director: str
    sight: Sight | None
    """None: it does not know the server."""
    age_s: float
    """How old that is, seconds."""


class Vote(NamedTuple):
    """Who sees a server that is down here how."""

    needed: int
    """How many directors must see it down so that it goes, oneself included (`agree`)."""
    down: tuple[str, ...]
    """The others that see it down."""
    up: tuple[str, ...]
    """Those that see it up."""
    mute: tuple[str, ...]
    """Those that cannot tell, or have not said anything lately."""

    @property
    def can_agree(self) -> bool:
        """Whether so many others can tell that they might agree. Otherwise one decides alone."""
        return 1 + len(self.down) + len(self.up) >= self.needed

    @property
    def holds(self) -> bool:
        """Whether the server stays for now."""
        return self.can_agree and 1 + len(self.down) < self.needed

    def __str__(self) -> str:
        if self.needed <= 1:
            return "no other director is asked"
        count = f"{1 + len(self.down)} of {self.needed} needed"
        if not self.can_agree:
            others = len(self.down) + len(self.up)
            return f"decided alone: {others} of {self.needed - 1} other directors needed can tell"
        seen = [
            f"{how} by {_named(directors)}" for how, directors in (("up", self.up), ("down", self.down)) if directors
        ]
        return f"seen {', '.join(seen)}: {count} see it down"


def voted(opinions: Iterable[Opinion], needed: int, lease_s: float) -> Vote:
    """Count how other directors see a server that is down here.

    opinions: what each has said last. If one is named twice, only the first one counts.
    needed: how many must see it down, oneself included.
    lease_s: how old an opinion may be, seconds.
    """
    found: dict[str, Sight] = {}
    for director, sight, age_s in opinions:
        if director in found:
            continue
        is_fresh = 0.0 <= age_s <= lease_s
        found[director] = sight if sight is not None and is_fresh else Sight.UNSURE
    kinds = {sight: tuple(sorted(each for each, how in found.items() if how is sight)) for sight in Sight}
    return Vote(needed, kinds[Sight.DOWN], kinds[Sight.UP], kinds[Sight.UNSURE])


class Veto(msgspec.Struct, frozen=True, gc=False):
    """Whether the removal of a server is held back. Times are seconds on the monotonic clock."""

    since: float
    """When the server would have gone."""
    vote: Vote
    """The last vote that counted."""
    over: str = ""
    """Why it may go, in words; "" while it is held."""

    @property
    def holds(self) -> bool:
        """Whether the server stays for now."""
        return not self.over


def vetoed(before: Veto | None, vote: Vote, now: float) -> Veto:
    """Return whether the removal of a server is held back. When nothing changes, return the same object.

    before: what the last call returned since its verdict is down; None at first.
    """
    if before is None:
        return Veto(now, vote, "" if vote.holds else str(vote))
    if before.over:
        return before
    if not vote.holds:
        return Veto(before.since, vote, str(vote))
    if now - before.since >= LONGEST_S:
        return Veto(before.since, vote, f"others have held it for {LONGEST_S / 60:g} minutes, the longest allowed")
    return before if vote == before.vote else Veto(before.since, vote)


def _named(directors: tuple[str, ...]) -> str:
    more = f" and {len(directors) - MOST_NAMED} more" if len(directors) > MOST_NAMED else ""
    return ", ".join(directors[:MOST_NAMED]) + more
