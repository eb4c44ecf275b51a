"""Every combination of orders, weights, agents and damping, and what becomes of it in the plan."""

import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import NamedTuple

import pytest

from lvs_healthd.config.model import Below
from lvs_healthd.health.machine import Verdict
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceRecord
from lvs_healthd.ipvs.words import ForwardingMethod
from lvs_healthd.plan.policy import NO_PLAN, plan_service
from lvs_healthd.plan.precedence import FULL, MOST_WEIGHT, Asking, Hand, State, special
from lvs_healthd.plan.records import Floor, PlannedServer, PlannedService
from lvs_healthd.plan.standings import Change, Members, Standing
from lvs_healthd.probes.outcome import AskedWeight
from tests.ipvs.tables import WEB

WEIGHTS = (0, 1, 3, 7, MOST_WEIGHT)
ORDERED = (None, *WEIGHTS)
ASKS = [AskedWeight(value, is_share=True) for value in (0, 1, 50, 99, 100, 250)] + [
    AskedWeight(value, is_share=False) for value in (0, 2, 100_000)
]


def asked_for() -> Iterator[tuple[Asking, ...]]:
    yield ()
    for one in ASKS:
        yield (Asking("agent", one),)
    for one, other in itertools.combinations(ASKS, 2):
        yield Asking("agent", one), Asking("load", other)


def expected_weight(configured: int, ordered: int | None, asks: tuple[Asking, ...], ramp: int) -> int:
    base = configured if ordered is None else ordered
    shares = [Fraction(each.asked.value, 100) for each in asks if each.asked.is_share]
    wanted = [share * base for share in shares]
    if ordered is None and base:
        wanted += [Fraction(each.asked.value) for each in asks if not each.asked.is_share]
    least = min(Fraction(MOST_WEIGHT), *wanted, *([Fraction(base)] if not wanted else []))
    return math.ceil(least * Fraction(ramp, 100))


@pytest.mark.parametrize("state", [None, State.DRAINED, State.DISABLED])
def test_every_combination_of_wishes_has_one_winner(state: State | None) -> None:
    every = itertools.product(WEIGHTS, ORDERED, asked_for(), ("", "it flaps"), (FULL, 5, 50))
    for configured, ordered, asks, damped, ramp in every:
        hand = None
        if state is not None or ordered is not None:
            hand = Hand(state, "an order", ordered, "a weight by order")
        found = special(configured, hand, asks, damped, ramp)
        weight = expected_weight(configured, ordered, asks, ramp)
        what = (configured, hand, asks, damped, ramp, found)
        if state is None and not damped and weight == configured:
            assert found is None, what
            continue
        assert found is not None, what
        assert found.weight == weight, what
        assert found.state is (state or (State.DAMPED if damped else None)), what
        reason = "an order" if state is not None else "it flaps" if damped else ""
        assert reason in found.reason, what
        if not reason:
            said = [each.check for each in asks] + (["a weight by order"] if ordered is not None else [])
            said += ["slow start"] if ramp < FULL else []
            assert any(each in found.reason for each in said), what


class Case(NamedTuple):
    """One server: how it stands, and with which weight the kernel has it; None for not at all."""

    standing: Standing
    present: int | None

    @property
    def is_able(self) -> bool:
        """Whether it may serve, damped or not."""
        it = self.standing
        return it.verdict is Verdict.UP and it.weight > 0 and it.state in {None, State.DAMPED}

    @property
    def is_ordered_out(self) -> bool:
        return self.standing.state in {State.DISABLED, State.DRAINED}

    @property
    def waits(self) -> bool:
        """Whether it is not proven yet, and nothing else is in the way."""
        return self.standing.verdict is Verdict.UNKNOWN and self.standing.state is None

    def at_rest(self, *, quiesce: bool) -> int | None:
        """Return its weight if it does not serve; None if it is not in the table."""
        if self.standing.state is State.DISABLED:
            return None
        if self.standing.state is State.DRAINED:
            return 0 if self.present is not None and not self.standing.is_empty else None
        is_there = self.standing.verdict is Verdict.UNKNOWN and self.present is not None
        return 0 if quiesce or is_there else None


def cases() -> list[Case]:
    made = itertools.product(Verdict, (0, 2), (None, *State), (None, 0, 2))
    return [
        Case(Standing(verdict, weight, state, is_empty), present)
        for verdict, weight, state, present in made
        for is_empty in ((False, True) if state is State.DRAINED else (False,))
    ]


def planned_server(number: int, weight: int = 1) -> PlannedServer:
    key = DestinationKey(2, f"198.51.100.{number}", 80)
    record = DestinationRecord(key, ForwardingMethod.MASQ, weight)
    return PlannedServer(key, record)


A, B, SPARE, GONE = (planned_server(number) for number in (1, 2, 9, 77))


class Found(NamedTuple):
    """Who ought to be in the table, with which weight."""

    servers: list[int | None]
    spare: bool
    leaving: bool


def expected(pair: tuple[Case, Case], needed: int, below: Below, *, quiesce: bool, spare: bool, left: bool) -> Found:
    """Return what docs/configuration.md says ("How many servers a service needs")."""
    able = [case for case in pair if case.is_able and case.standing.state is None]
    damped = [case for case in pair if case.is_able and case.standing.state is State.DAMPED]
    serving = able + damped if len(able) < needed else able
    lacks = len(serving) < needed
    leaving = lacks and left and any(case.waits for case in pair)
    may_suffice = len(serving) + sum(case.waits and case.standing.weight > 0 for case in pair) >= needed
    uses_spare = is_held_out = False
    if lacks and not leaving:
        in_service = [case for case in pair if not case.is_ordered_out]
        if below is Below.FAIL_OPEN and any(case.standing.weight for case in in_service) and not may_suffice:
            serving = in_service
        elif spare and (not serving or (below is Below.FALLBACK and not may_suffice)):
            uses_spare, is_held_out, serving = True, bool(serving), []
    spares_damped = any(each.standing.state is State.DAMPED for each in serving)
    lines: list[int | None] = []
    for case in pair:
        verdict, weight, state = case.standing.verdict, case.standing.weight, case.standing.state
        is_spared = spares_damped and verdict is Verdict.UP and state is State.DAMPED
        if is_spared or any(case is each for each in serving):
            lines.append(weight)
        elif verdict is Verdict.UP and state is None:
            lines.append(0 if uses_spare else weight)
        elif is_held_out and verdict is Verdict.UP and state is State.DAMPED:
            lines.append(0)
        else:
            lines.append(case.at_rest(quiesce=quiesce))
    return Found(lines, uses_spare, leaving)


def unordered() -> Iterable[tuple[Case, Case]]:
    """Return every pair once, which of them stands first depends on chance."""
    chance = random.Random(1)
    for one, other in itertools.combinations_with_replacement(cases(), 2):
        yield (one, other) if chance.random() < 0.5 else (other, one)


def ordered() -> Iterable[tuple[Case, Case]]:
    return itertools.product(cases(), cases())


@pytest.mark.parametrize("needed", [1, 2])
@pytest.mark.parametrize("below", list(Below))
@pytest.mark.parametrize("quiesce", [False, True])
@pytest.mark.parametrize("spare", [False, True])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("pairs", [unordered, pytest.param(ordered, marks=pytest.mark.long)])
def test_every_pair_of_servers_gets_the_lines_that_it_ought_to(
    needed: int, below: Below, quiesce: bool, spare: bool, left: bool, pairs: Callable[[], Iterable[tuple[Case, Case]]]
) -> None:
    """`left`: whether a server that a reload has dropped is still in the table."""
    tiers = ((SPARE,),) if spare else ()
    service = PlannedService(WEB, ServiceRecord(WEB, "wlc"), "web", quiesce, False, (A, B), tiers, Floor(needed), below)
    for pair in pairs():
        both = list(zip((A, B), pair, strict=True))
        present = {server.key: server.at(case.present) for server, case in both if case.present is not None}
        if left:
            present[GONE.key] = GONE.at(1)
        changes = [Change(server, None, case.standing) for server, case in both]
        standings = [(server, case.standing) for server, case in both]
        plan = plan_service(service, NO_PLAN, changes, present, Members(lambda standings=standings: standings))  # type: ignore[misc]
        lines = {key: record.weight for key, record in plan.changed.items() if record is not None}
        found = Found([lines.get(A.key), lines.get(B.key)], SPARE.key in lines, GONE.key in lines)
        assert found == expected(pair, needed, below, quiesce=quiesce, spare=spare, left=left), pair
