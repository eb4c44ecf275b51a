"""Which fallback servers serve: over every combination of how four of them in two tiers stand."""

import itertools

import msgspec
import pytest

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.model import Below, FallbackServer, MinUp
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey
from lvs_healthd.plan.planner import Planner
from lvs_healthd.plan.policy import NO_PLAN, ServicePlan, plan_service
from lvs_healthd.plan.precedence import Special, State
from lvs_healthd.plan.records import PlannedService, prepare
from lvs_healthd.plan.standings import Change, Members, Standing
from tests.configs import config, server, service

UP, DOWN, UNPROVEN = (Standing(verdict, 1) for verdict in (Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN))
DISABLED, WEIGHTLESS = Standing(Verdict.UP, 1, State.DISABLED), Standing(Verdict.UP, 0)
EVERY = (UP, DOWN, UNPROVEN, DISABLED, WEIGHTLESS)
TIERS = (2, 1, 2, 1)
"""The tiers of the fallback servers, in the order of the file."""


def made_of(min_up: int = 1, below: Below = Below.FALLBACK) -> PlannedService:
    spares = tuple(
        FallbackServer(endpoint=Endpoint(f"198.51.100.{n}", 80), tier=tier) for n, tier in enumerate(TIERS, 90)
    )
    plain = service(server("198.51.100.11"), server("198.51.100.12"))
    (made,) = prepare(config(msgspec.structs.replace(plain, fallback=spares, min_up=MinUp(count=min_up), below=below)))
    return made


def expected(made: PlannedService, standings: dict[DestinationKey, Standing]) -> set[DestinationKey]:
    """The rule in the plainest way."""
    fit = {key for key, it in standings.items() if it.verdict is not Verdict.DOWN and it.state is None and it.weight}
    up = {key for key in fit if standings[key].verdict is Verdict.UP}
    for able in (up, fit):
        for tier in made.tiers:
            if found := able & {spare.key for spare in tier}:
                return found
    return set()


def step(
    made: PlannedService, plan: ServicePlan, standings: dict[DestinationKey, Standing], *real: Standing
) -> ServicePlan:
    pairs = list(zip(made.servers, real or (DOWN, DOWN), strict=True))
    changes = [Change(one, None, it) for one, it in pairs] if plan is NO_PLAN else []
    return plan_service(made, plan, changes, {}, Members(lambda: pairs, standings))


def test_every_combination() -> None:
    made = made_of()
    keys = [spare.key for spare in made.fallback]
    assert [key.address for key in keys] == ["198.51.100.91", "198.51.100.93", "198.51.100.90", "198.51.100.92"]
    all_up = dict.fromkeys(keys, UP)
    for found in itertools.product(EVERY, repeat=4):
        standings = dict(zip(keys, found, strict=True))
        first = step(made, NO_PLAN, standings, DOWN, DOWN)
        assert {key for key, record in first.changed.items() if record} == expected(made, standings)
        # From there to the usual state and back.
        second = step(made, first, all_up)
        third = step(made, second, standings)
        lines = first.changed | second.changed
        assert {key for key, record in lines.items() if record} == {*keys[:2]}
        assert {key for key, record in (lines | third.changed).items() if record} == expected(made, standings)


@pytest.mark.parametrize("below", [Below.FALLBACK, Below.FAIL_OPEN])
def test_real_servers_go_on_when_no_fallback_is_fit(below: Below) -> None:
    made = made_of(2, below)
    dead = {spare.key: DOWN for spare in made.fallback}
    plan = step(made, NO_PLAN, dead, UP, DOWN)
    serving = {key.address for key, record in plan.changed.items() if record and record.weight}
    assert serving == ({"198.51.100.11"} if below is Below.FALLBACK else {"198.51.100.11", "198.51.100.12"})
    assert plan.action is (Below.NONE if below is Below.FALLBACK else Below.FAIL_OPEN)


def test_unchecked_servers_are_up() -> None:
    made = made_of()
    plan = step(made, NO_PLAN, {}, DOWN, DOWN)
    assert {spare.key.address for spare in plan.spares} == {"198.51.100.91", "198.51.100.93"}


def test_drained_server_that_serves_keeps_its_connections_until_it_is_empty() -> None:
    made = made_of()
    key = made.tiers[0][0].key
    plan = step(made, NO_PLAN, {}, DOWN, DOWN)
    present = {each: record for each, record in plan.changed.items() if record is not None}
    drained = Standing(Verdict.UP, 1, State.DRAINED)
    emptied = Standing(Verdict.UP, 1, State.DRAINED, is_empty=True)
    others = {spare.key: DOWN for spare in made.fallback if spare.key != key}
    plan = plan_service(made, plan, [], present, Members(tuple, {**others, key: drained}))
    assert plan.changed[key] == made.tiers[0][0].quiesced
    plan = plan_service(made, plan, [], present, Members(tuple, {**others, key: emptied}))
    assert plan.changed[key] is None


def test_server_that_serves_and_gets_weight_0_keeps_its_connections_while_a_fallback_is_needed() -> None:
    made = made_of()
    key = made.tiers[0][0].key
    plan = step(made, NO_PLAN, {}, DOWN, DOWN)
    present = {each: record for each, record in plan.changed.items() if record is not None}
    for others in (DOWN, UP):
        standings = {spare.key: others for spare in made.fallback} | {key: WEIGHTLESS}
        quiesced = plan_service(made, plan, [], present, Members(tuple, standings))
        assert quiesced.changed[key] == made.tiers[0][0].quiesced
        assert key not in {spare.key for spare in quiesced.spares}
        one_up = [Change(made.servers[0], DOWN, UP)]
        assert plan_service(made, quiesced, one_up, present, Members(tuple, standings)).changed[key] is None
        dead = standings | {key: Standing(Verdict.DOWN, 0)}
        assert plan_service(made, quiesced, [], present, Members(tuple, dead)).changed[key] is None


def test_planner_says_why() -> None:
    made = made_of()
    planner = Planner()
    down = Health(Verdict.DOWN, 0.0, detail="refused")
    planner.configure([made], {(made.key, each.key): down for each in made.servers})
    planner.plan({})
    assert reasons(planner, made) == [
        FALLBACK,
        FALLBACK,
        "others of the fallback serve",
        "others of the fallback serve",
    ]
    for spare in made.tiers[0]:
        planner.spare_changed(made.key, spare.key, down, None)
    planner.plan({})
    assert reasons(planner, made) == ["refused", "refused", *(2 * [f"{FALLBACK}, and none of a lower tier is fit"])]
    assert {key.address for key in planner.wanted.table[made.key].destinations} == {"198.51.100.90", "198.51.100.92"}
    up = Health(Verdict.UP, 1.0, detail="passed")
    planner.spare_changed(made.key, made.tiers[0][0].key, up, Special(State.DISABLED, 1, "disabled by uid 0"))
    planner.changed(made.key, made.servers[0].key, up)
    planner.plan({})
    assert reasons(planner, made)[:2] == ["disabled by uid 0", "refused"]
    assert reasons(planner, made)[2:] == 2 * ["real servers serve again"]


FALLBACK = "fallback: no real server may serve"


def reasons(planner: Planner, made: PlannedService) -> list[str]:
    return [planner.wanted.why[made.key, spare.key].reason for spare in made.fallback]
