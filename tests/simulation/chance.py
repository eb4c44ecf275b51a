"""Chooses what happens: steps by chance, from a seed."""

import random

from lvs_healthd.ipvs.records import Verb
from tests.simulation.documents import CHECKS, EDITS, HOSTS, NAMES
from tests.simulation.outcomes import (
    BAD,
    HALF,
    LIMIT,
    NO_ROUTE,
    NONE,
    PASS,
    REFUSED,
    SAID_DOWN,
    STALLED,
    TIMEOUT,
    UNREACHABLE,
)
from tests.simulation.peers import MODES
from tests.simulation.world import Step

_ALL = (1 << len(HOSTS)) - 1
_NEAR, _FAR = 0b10001111, 0b01110000

_RESULTS = (
    *(PASS,) * 6,
    *(REFUSED,) * 3,
    *(TIMEOUT,) * 4,
    BAD,
    BAD,
    UNREACHABLE,
    NO_ROUTE,
    LIMIT,
    STALLED,
    HALF,
    NONE,
    SAID_DOWN,
)


class Chance:
    """Draws steps.

    chooser: the only source of chance.
    """

    def __init__(self, chooser: random.Random) -> None:
        self._chooser = chooser
        self._draw = {kind: getattr(self, f"_{kind}") for kind in _WEIGHTS}
        self._kinds = [kind for kind, weight in _WEIGHTS.items() for _ in range(weight)]

    def step(self) -> Step:
        """Draw one step."""
        drawn: Step = self._draw[self._chooser.choice(self._kinds)]()
        return drawn

    def _service(self) -> int:
        return self._chooser.randrange(len(NAMES))

    def _host(self) -> int:
        return self._chooser.randrange(len(HOSTS))

    def _outcome(self) -> Step:
        return "outcome", self._host(), self._chooser.choice(CHECKS), self._chooser.choice(_RESULTS)

    def _weather(self) -> Step:
        choose = self._chooser.choice
        hosts = choose((1 << self._host(), 1 << self._host(), 1 << self._host(), _NEAR, _FAR, _ALL, _ALL))
        result = choose(_RESULTS) if hosts not in (_NEAR, _FAR, _ALL) else choose((PASS, PASS, REFUSED, TIMEOUT, BAD))
        return "weather", hosts, choose((0b001, 0b010, 0b100, 0b011, 0b111)), result

    def _round(self) -> Step:
        return "round", self._chooser.choice((1, 1, 1, 2, 4))

    def _pass(self) -> Step:
        return "pass", self._chooser.choice((0.05, 0.1, 0.1, 0.3, 0.3, 1.0, 2.0))

    def _long(self) -> Step:
        return "pass", self._chooser.choice((5.0, 11.0, 11.0, 61.0))

    def _hours(self) -> Step:
        return "pass", self._chooser.choice((600.0, 3600.0))

    def _order(self) -> Step:
        choose = self._chooser.choice
        verb = choose(("drain", "disable", "enable", "enable", "weight"))
        where = choose((-1, self._service(), self._service(), self._service()))
        host = choose((-1, *(self._host() for _ in range(5)))) if where >= 0 else self._host()
        for_s = choose((0.0, 0.0, 5.0, 60.0, 1500.0))
        return "order", verb, where, host, choose((-1, 0, 1, 3, 7)), for_s, choose((False, False, True))

    def _both(self) -> Step:
        choose = self._chooser.choice
        other = choose((("reload",), ("order", choose(("drain", "enable", "disable")), self._service())))
        return "both", choose(("drain", "disable", "enable")), self._service(), self._host(), other

    def _undo(self) -> Step:
        return "undo", self._chooser.choice(("delete", "quiesce", "raise")), self._service(), self._host(), 4

    def _hold(self) -> Step:
        return "hold", self._chooser.choice((-1, self._service()))

    def _release(self) -> Step:
        return "release", self._chooser.choice((-1, -1, self._service()))

    def _edit(self) -> Step:
        return "edit", self._chooser.choice(EDITS), self._service(), self._host(), self._chooser.randrange(1000)

    def _spoil(self) -> Step:
        return ("spoil",)

    def _reload(self) -> Step:
        return "reload", self._chooser.random() < 0.3

    def _restart(self) -> Step:
        return ("restart",)

    def _crash(self) -> Step:
        choose = self._chooser.choice
        return "crash", choose(("", "", "", "state", "overrides", "holds")), choose((0.0, 0.3, 0.9, 0.99))

    def _disk(self) -> Step:
        return "disk", self._chooser.random() < 0.4

    def _foreign(self) -> Step:
        what = self._chooser.choice(
            ("delete", "delete", "quiesce", "raise", "add", "add", "delete_service", "scheduler", "flush")
        )
        return "foreign", what, self._service(), self._host()

    def _refuse(self) -> Step:
        return "refuse", str(self._chooser.choice(list(Verb))), self._chooser.choice((1, 1, 2, 5))

    def _lose(self) -> Step:
        choose = self._chooser.choice
        return "lose", str(choose(list(Verb))), choose((1, 2)), choose((False, True))

    def _unavailable(self) -> Step:
        return "unavailable", self._chooser.choice((1, 2, 5))

    def _miss(self) -> Step:
        return "miss", self._service()

    def _connections(self) -> Step:
        return "connections", self._service(), self._host(), self._chooser.choice((0, 0, 3))

    def _cut(self) -> Step:
        return "cut", self._chooser.randrange(2)

    def _mend(self) -> Step:
        return "mend", self._chooser.randrange(2)

    def _fault(self) -> Step:
        return "fault", self._chooser.choice(("full", "drops", "neighbour", "lag")), self._chooser.random() < 0.4

    def _clock(self) -> Step:
        return "clock", self._chooser.choice((0.5, 30.0, 4000.0))

    def _stall(self) -> Step:
        return "stall", self._chooser.choice((0.2, 3.0, 40.0))

    def _thread(self) -> Step:
        return "thread", self._chooser.choice((0.0, 0.0, 0.0, 0.02, 0.4, 6.0))

    def _slices(self) -> Step:
        return "slices", self._chooser.choice((0, 0, 1, 2, 5))

    def _work(self) -> Step:
        return "work", self._chooser.choice((0.0, 0.0, 0.02, 0.05))

    def _peers(self) -> Step:
        choose = self._chooser.choice
        agree = choose((1, 2, 2, 3))
        return "peers", agree, tuple(choose(MODES) for _ in range(choose((0, 1, 1, 2, 3)))) if agree > 1 else ()

    def _settle(self) -> Step:
        return ("settle",)


_WEIGHTS = {
    "outcome": 15000,
    "round": 600,
    "weather": 900,
    "pass": 2000,
    "long": 50,
    "hours": 1,
    "order": 400,
    "both": 30,
    "undo": 10,
    "hold": 20,
    "release": 40,
    "edit": 180,
    "spoil": 8,
    "reload": 100,
    "restart": 15,
    "crash": 25,
    "disk": 40,
    "thread": 50,
    "slices": 50,
    "work": 50,
    "clock": 6,
    "stall": 10,
    "foreign": 180,
    "refuse": 80,
    "lose": 80,
    "unavailable": 30,
    "miss": 30,
    "connections": 80,
    "cut": 30,
    "mend": 60,
    "fault": 90,
    "settle": 70,
    "peers": 60,
}
"""How often each kind of step is drawn, of about twenty thousand."""
