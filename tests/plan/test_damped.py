"""Damped servers are out, but never all of them: over every step from one state of two servers to another."""

import itertools

import pytest

from lvs_healthd.config.model import OnFailure
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord
from lvs_healthd.ipvs.words import AF_INET
from lvs_healthd.plan.planner import Planner
from lvs_healthd.plan.policy import NO_PLAN, ServicePlan, plan_service
from lvs_healthd.plan.precedence import Special, State
from lvs_healthd.plan.reasons import NOBODY_ELSE_REASON
from lvs_healthd.plan.records import PlannedService, prepare
from lvs_healthd.plan.standings import Change, Members, Standing
from tests.configs import config, server, service

SPARE = DestinationKey(AF_INET, "198.51.100.99", 80)
STANDINGS = [
    (Standing(verdict, 1, state), Standing(verdict, 0, state)) for verdict in Verdict for state in (None, *State)
]
"""Each standing of a server, with weight 1 and with weight 0."""


def planned(*weights: int, on_failure: OnFailure = OnFailure.REMOVE) -> PlannedService:
    servers = [server(f"198.51.100.{n}", weight=weight) for n, weight in enumerate(weights, 11)]
    (made,) = prepare(config(service(*servers, on_failure=on_failure, fallback=("198.51.100.99",))))
    return made


Lines = dict[DestinationKey, DestinationRecord | None]


def serving(lines: Lines) -> set[DestinationKey]:
    return {key for key, record in lines.items() if record is not None and record.weight}


def expected(made: PlannedService, standings: tuple[Standing, ...]) -> set[DestinationKey]:
    """The rule in the plainest way."""
    each = list(zip((one.key for one in made.servers), standings, strict=True))
    plain = {key for key, it in each if it.verdict is Verdict.UP and it.state is None and it.weight}
    spared = {key for key, it in each if it.verdict is Verdict.UP and it.state is State.DAMPED and it.weight}
    return plain or spared or {SPARE}


@pytest.mark.parametrize("on_failure", OnFailure)
def test_every_step_from_one_state_to_another_follows_the_rule(on_failure: OnFailure) -> None:
    made = planned(1, 1, on_failure=on_failure)
    every = [pair[0] for pair in STANDINGS] + [pair[1] for pair in STANDINGS if pair[1].verdict is Verdict.UP]
    for before in itertools.product(every, repeat=2):
        first = plan_service(made, NO_PLAN, changes(made, None, before), {}, everybody(made, before))
        assert serving(first.changed) == expected(made, before)
        for after in itertools.product(every, repeat=2):
            second = plan_service(made, first, changes(made, before, after), {}, everybody(made, after))
            assert serving(first.changed | second.changed) == expected(made, after)
            assert second.may_serve is (expected(made, after) != {SPARE})


def changes(made: PlannedService, before: tuple[Standing, ...] | None, after: tuple[Standing, ...]) -> list[Change]:
    return [
        Change(one, None if before is None else before[n], after[n])
        for n, one in enumerate(made.servers)
        if before is None or before[n] != after[n]
    ]


def everybody(made: PlannedService, standings: tuple[Standing, ...]) -> Members:
    return Members(lambda: zip(made.servers, standings, strict=True))


def test_damped_server_is_treated_as_down() -> None:
    up, held = Standing(Verdict.UP, 1), Standing(Verdict.UP, 1, State.DAMPED)
    removes, quiesces = planned(1, 1), planned(1, 1, on_failure=OnFailure.QUIESCE)
    (first, _) = removes.servers
    assert plan(removes, held, up).changed[first.key] is None
    quiesced = plan(quiesces, held, up).changed[first.key]
    assert quiesced is not None
    assert quiesced.weight == 0


def plan(made: PlannedService, *standings: Standing) -> ServicePlan:
    return plan_service(made, NO_PLAN, changes(made, None, standings), {}, everybody(made, standings))


def test_damped_servers_do_not_serve_with_a_weight_of_zero_only() -> None:
    found = plan(planned(0, 0), Standing(Verdict.UP, 0, State.DAMPED), Standing(Verdict.DOWN, 0))
    assert serving(found.changed) == {SPARE}
    assert not found.may_serve


def test_planner_says_why_and_changes_what_it_says() -> None:
    made = planned(1, 1)
    one, two = (each.key for each in made.servers)
    healths = {(made.key, key): Health(Verdict.UP, 0.0, detail="passed") for key in (one, two)}
    planner = Planner()
    planner.configure([made], healths, {(made.key, one): Special(State.DAMPED, 1, "damped")})
    planner.plan({})
    assert planner.wanted.why[made.key, one].reason == "damped"
    planner.changed(made.key, two, Health(Verdict.DOWN, 1.0, detail="refused"))
    planner.plan({})
    assert planner.wanted.why[made.key, one].reason == f"{NOBODY_ELSE_REASON}; damped"
    assert set(planner.wanted.table[made.key].destinations) == {one}
    planner.changed(made.key, two, Health(Verdict.UP, 2.0, detail="passed"))
    planner.plan({})
    assert planner.wanted.why[made.key, one].reason == "damped"
    assert set(planner.wanted.table[made.key].destinations) == {two}
    planner.changed(made.key, one, healths[made.key, one])
    planner.plan({})
    assert planner.wanted.why[made.key, one].reason == "passed"
    assert set(planner.wanted.table[made.key].destinations) == {one, two}
