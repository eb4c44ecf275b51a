"""Finds out what is wrong with the director, or shows that nothing is, while targets behind a way are silent.

It watches the firewall's counters and asks neighbours, and does neither while all is well.
"""

import contextlib
from collections.abc import Mapping
from typing import NamedTuple

from lvs_healthd.director import neighbours, own_firewall
from lvs_healthd.director.neighbours import Neighbour
from lvs_healthd.director.own_firewall import Drops
from lvs_healthd.director.ways import Hop

FIREWALL_S = 1.0
"""The time between the first readings of the firewall's counters, seconds."""

LATER_S = 5.0
"""The same, once it has been watched for as long as this. A large ruleset takes a second of CPU."""


class Question(NamedTuple):
    """A way to find out about."""

    hop: Hop
    since: float
    """When it was clear that its first target is silent, seconds on the monotonic clock."""


class Answer(NamedTuple):
    """What was found out about a way. Times are seconds on the monotonic clock."""

    proof: str
    """Who has shown since then that the way works; "" if nobody has."""
    drops: tuple[str, ...]
    """Which rules of our own firewall have dropped packets since the readings began."""
    watched_from: float
    """When the firewall's counters were first read; 0 if they cannot be read."""
    watched_to: float
    """When they were last read."""


class Diagnosis:
    """Looks at the director while targets are silent. Its methods block, and belong on a thread, one at a time."""

    def __init__(self) -> None:
        self._first: Drops = {}
        self._drops: tuple[str, ...] = ()
        self._from = 0.0
        self._to = 0.0

    def forget(self) -> None:
        """Forget what was found, because nobody is silent any more."""
        self._first, self._drops, self._from, self._to = {}, (), 0.0, 0.0

    def turn(self, questions: Mapping[str, Question], now: float) -> dict[str, Answer]:
        """Find out about each way. This blocks.

        now: seconds on the monotonic clock.
        """
        self._watch_firewall(now)
        try:
            around = neighbours.neighbours()
        except OSError:
            around = []
        found: dict[str, Answer] = {}
        asked: dict[Neighbour, None] = {}
        for name, (hop, since) in questions.items():
            them = neighbours.worth_asking(around, hop.number, hop.next_hop)
            proof = next((_words(each, hop) for each in them if now - each.silent_s > since), "")
            found[name] = Answer(proof, self._drops, self._from, self._to)
            if not proof:
                asked.update(dict.fromkeys(them))
        with contextlib.suppress(OSError):  # not permitted: the kernel asks them by itself, but later
            neighbours.ask(asked)
        return found

    def _watch_firewall(self, now: float) -> None:
        every_s = FIREWALL_S if now - self._from < LATER_S else LATER_S
        if self._from and now - self._to < every_s:
            return
        drops = own_firewall.read_drops()
        if drops is None:
            return
        if not self._from:
            self._first, self._from = drops, now
        self._drops, self._to = tuple(own_firewall.risen(self._first, drops)), now


def _words(neighbour: Neighbour, hop: Hop) -> str:
    return f"neighbour {neighbour.address} answers on {hop.interface}"
