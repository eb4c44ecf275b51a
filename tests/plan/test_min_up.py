"""`min_up` and `below`: over every step from one state of three servers to another, beside the rule written plainly."""

import itertools

import msgspec
import pytest

from lvs_healthd.config.model import Below, MinUp, OnFailure
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord
from lvs_healthd.ipvs.words import AF_INET
from lvs_healthd.plan.planner import Planner
from lvs_healthd.plan.policy import NO_PLAN, Rule, ServicePlan, plan_service
from lvs_healthd.plan.precedence import Special, State
from lvs_healthd.plan.reasons import BELOW_REASON, FAIL_OPEN_REASON, HELD_OUT_REASON, reason_for
from lvs_healthd.plan.records import Floor, PlannedService, floor_of, prepare
from lvs_healthd.plan.standings import Change, Members, Standing
from tests.configs import config, server, service

SPARE = DestinationKey(AF_INET, "198.51.100.99", 80)
UP, DOWN, UNPROVEN = (Standing(verdict, 1) for verdict in (Verdict.UP, Verdict.DOWN, Verdict.UNKNOWN))
DAMPED, DRAINED = Standing(Verdict.UP, 1, State.DAMPED), Standing(Verdict.UP, 1, State.DRAINED)
WEIGHTLESS = Standing(Verdict.UP, 0)
EVERY = (UP, DOWN, UNPROVEN, DAMPED, DRAINED, WEIGHTLESS)


def made_of(
    min_up: MinUp, below: Below, *weights: int, on_failure: OnFailure = OnFailure.REMOVE, has_spare: bool = True
) -> PlannedService:
    servers = [server(f"198.51.100.{n}", weight=weight) for n, weight in enumerate(weights, 11)]
    plain = service(*servers, on_failure=on_failure, fallback=("198.51.100.99",) if has_spare else ())
    (made,) = prepare(config(msgspec.structs.replace(plain, min_up=min_up, below=below)))
    return made


Lines = dict[DestinationKey, DestinationRecord | None]


def serving(lines: Lines) -> set[DestinationKey]:
    return {key for key, record in lines.items() if record is not None and record.weight}


def everybody(made: PlannedService, standings: tuple[Standing, ...]) -> Members:
    return Members(lambda: zip(made.servers, standings, strict=True))


def step(
    made: PlannedService, plan: ServicePlan, before: tuple[Standing, ...] | None, after: tuple[Standing, ...]
) -> ServicePlan:
    changes = [
        Change(one, None if before is None else before[n], after[n])
        for n, one in enumerate(made.servers)
        if before is None or before[n] != after[n]
    ]
    return plan_service(made, plan, changes, {}, everybody(made, after))


def expected(made: PlannedService, standings: tuple[Standing, ...], last: ServicePlan) -> set[DestinationKey]:
    """The rule in the plainest way."""
    each = list(zip((one.key for one in made.servers), standings, strict=True))
    plain = {key for key, it in each if it.verdict is Verdict.UP and it.state is None and it.weight}
    damped = {key for key, it in each if it.verdict is Verdict.UP and it.state is State.DAMPED and it.weight}
    coming = {key for key, it in each if it.verdict is Verdict.UNKNOWN and it.state is None and it.weight}
    everyone = {key for key, it in each if it.state in {None, State.DAMPED} and it.weight}
    needed, hysteresis = made.floor.needed, made.floor.hysteresis
    able = plain | damped if len(plain) < needed else plain
    was_met = not last.is_below if last.is_settled else None
    edge = needed if was_met is None else needed - hysteresis if was_met else needed + hysteresis
    if able and len(able) >= edge:
        return able
    # Once there are too few, it takes all of the hysteresis to come back, also for those that are not proven yet.
    may_suffice = len(able | coming) >= max(needed + hysteresis if last.is_settled else edge, 1)
    if made.below is Below.FAIL_OPEN and everyone and (last.rule is Rule.FAIL_OPEN or not may_suffice):
        return everyone
    if not able and not made.fallback and made.below is Below.FAIL_OPEN and was_met:
        return everyone  # nobody would be left
    if not able:
        return {spare.key for spare in made.fallback}
    if made.below is Below.FALLBACK and made.fallback and (last.uses_fallback or not may_suffice):
        return {spare.key for spare in made.fallback}
    return able


@pytest.mark.parametrize("needed", [1, 2, 3])
@pytest.mark.parametrize("below", Below)
@pytest.mark.parametrize("has_spare", [True, False])
def test_every_step_from_one_state_to_another_follows_the_rule(needed: int, below: Below, has_spare: bool) -> None:
    made = made_of(MinUp(count=needed, hysteresis=needed - 1), below, 1, 1, 1, has_spare=has_spare)
    states = list(itertools.product(EVERY, repeat=3))
    for before in states[:: 7 if needed == 2 else 11]:
        first = step(made, NO_PLAN, None, before)
        assert serving(first.changed) == expected(made, before, NO_PLAN)
        for after in states:
            second = step(made, first, before, after)
            lines = first.changed | second.changed
            assert serving(lines) == expected(made, after, first), (before, after)
            again = step(made, second, after, after)
            assert serving(lines | again.changed) == serving(lines), "another look changes something"


@pytest.mark.parametrize("needed", [1, 2])
def test_service_whose_last_server_goes_down_fails_open_though_another_is_not_proven(needed: int) -> None:
    made = made_of(MinUp(count=needed, hysteresis=needed - 1), Below.FAIL_OPEN, 1, 1, has_spare=False)
    at_a_start = step(made, NO_PLAN, None, (UNPROVEN, UNPROVEN))
    assert serving(at_a_start.changed) == set()
    all_up = step(made, at_a_start, (UNPROVEN, UNPROVEN), (UP, UP))
    one = step(made, all_up, (UP, UP), (UP, UNPROVEN))
    last = step(made, one, (UP, UNPROVEN), (DOWN, UNPROVEN))
    assert last.rule is Rule.FAIL_OPEN
    assert serving(last.changed) == {each.key for each in made.servers}


def test_servers_that_wait_for_others_keep_their_connections() -> None:
    made = made_of(MinUp(count=2), Below.FALLBACK, 1, 1, 1)
    first = step(made, NO_PLAN, None, (UP, UP, DOWN))
    one, two, three = (each.key for each in made.servers)
    assert serving(first.changed) == {one, two}
    second = step(made, first, (UP, UP, DOWN), (UP, DOWN, DOWN))
    lines = first.changed | second.changed
    assert lines[two] is lines[three] is None
    assert lines[one] == made.servers[0].quiesced
    assert lines[SPARE] == made.fallback[0].record
    third = step(made, second, (UP, DOWN, DOWN), (UP, UP, DOWN))
    assert serving(lines | third.changed) == {one, two}


def test_damped_server_that_serves_waits_for_others_too_and_keeps_its_connections() -> None:
    made = made_of(MinUp(count=2), Below.FALLBACK, 1, 1, 1)
    first = step(made, NO_PLAN, None, (DAMPED, UP, DOWN))
    one, two, _ = made.servers
    assert serving(first.changed) == {one.key, two.key}
    second = step(made, first, (DAMPED, UP, DOWN), (DAMPED, DOWN, DOWN))
    lines = first.changed | second.changed
    assert lines[one.key] == one.quiesced
    assert serving(lines) == {SPARE}
    why = reason_for(Health(Verdict.UP, 0.0), Special(State.DAMPED, 1, "it flaps"), second.rule)
    assert why.reason == f"{HELD_OUT_REASON}; it flaps"


@pytest.mark.parametrize(
    ("floor", "serving", "was_met", "is_met"),
    [
        # keepalived starts as below, with two of two servers up, and leaves only the sorry server in the table.
        (Floor(2, 1), 2, None, True),
        (Floor(2, 1), 1, None, False),
        (Floor(2, 1), 2, False, False),
        (Floor(2, 1), 3, False, True),
        (Floor(2, 1), 1, True, True),
        (Floor(2, 1), 0, True, False),
        (Floor(1, 0), 0, True, False),
    ],
)
def test_hysteresis(floor: Floor, serving: int, was_met: bool | None, is_met: bool) -> None:
    assert floor.is_met(serving, was_met=was_met) is is_met


def test_hysteresis_does_not_count_before_all_servers_had_their_turn() -> None:
    """keepalived begins as below, and two of two servers do not end that."""
    made = made_of(MinUp(count=2, hysteresis=1), Below.FALLBACK, 1, 1)
    first = step(made, NO_PLAN, None, (UNPROVEN, UNPROVEN))
    second = step(made, first, (UNPROVEN, UNPROVEN), (UP, UNPROVEN))
    assert serving(first.changed | second.changed) == {SPARE}
    third = step(made, second, (UP, UNPROVEN), (UP, UP))
    assert serving(first.changed | second.changed | third.changed) == {each.key for each in made.servers}
    fourth = step(made, third, (UP, UP), (DOWN, DOWN))
    assert fourth.is_below
    assert step(made, fourth, (DOWN, DOWN), (UP, UP)).is_below


def test_kernels_table_tells_at_a_start_whether_enough_could_serve() -> None:
    made = made_of(MinUp(count=2, hysteresis=1), Below.FALLBACK, 1, 1, 1)
    standings = (UP, DOWN, DOWN)
    changes = [Change(one, None, standing) for one, standing in zip(made.servers, standings, strict=True)]
    serves = {made.servers[0].key: made.servers[0].record}
    waits = {made.servers[0].key: made.servers[0].quiesced, SPARE: made.fallback[0].record}
    met = plan_service(made, NO_PLAN, changes, serves, everybody(made, standings))
    assert (serving(met.changed), met.is_below) == ({made.servers[0].key}, False)
    unmet = plan_service(made, NO_PLAN, changes, waits, everybody(made, standings))
    assert (serving(unmet.changed), unmet.is_below) == ({SPARE}, True)


@pytest.mark.parametrize(
    ("min_up", "weights", "floor"),
    [
        (MinUp(count=2), (1, 1, 1), Floor(2)),
        (MinUp(percent=50), (1, 1, 1), Floor(2)),
        (MinUp(percent=50), (1, 1, 0), Floor(1)),
        (MinUp(percent=1), (1,), Floor(1)),
        (MinUp(percent=50), (0, 0), Floor(1)),
        (MinUp(percent=100), (1, 2, 3), Floor(3)),
        (MinUp(weight=5, hysteresis=2), (3, 3), Floor(5, 2, counts_weight=True)),
    ],
)
def test_what_is_needed(min_up: MinUp, weights: tuple[int, ...], floor: Floor) -> None:
    servers = [server(f"198.51.100.{n}", weight=weight) for n, weight in enumerate(weights, 11)]
    assert floor_of(msgspec.structs.replace(service(*servers), min_up=min_up)) == floor


def test_weight_is_added_up_as_keepalived_does() -> None:
    made = made_of(MinUp(weight=5), Below.FALLBACK, 4, 3, 2)
    heavy, middle, light = (each.key for each in made.servers)
    up = tuple(Standing(Verdict.UP, weight) for weight in (4, 3, 2))
    down = tuple(Standing(Verdict.DOWN, weight) for weight in (4, 3, 2))
    assert serving(step(made, NO_PLAN, None, (up[0], down[1], down[2])).changed) == {SPARE}
    assert serving(step(made, NO_PLAN, None, (down[0], up[1], up[2])).changed) == {middle, light}
    assert serving(step(made, NO_PLAN, None, up).changed) == {heavy, middle, light}


def planner_of(made: PlannedService) -> Planner:
    planner = Planner()
    healths = {(made.key, each.key): Health(Verdict.UP, 0.0, detail="passed") for each in made.servers}
    planner.configure([made], healths)
    planner.plan({})
    return planner


def reasons(planner: Planner, made: PlannedService) -> list[str]:
    return [planner.wanted.why[made.key, each.key].reason for each in (*made.servers, *made.fallback)]


def test_reasons_of_a_service_that_goes_to_its_fallback() -> None:
    made = made_of(MinUp(count=2), Below.FALLBACK, 1, 1)
    planner = planner_of(made)
    down = Health(Verdict.DOWN, 1.0, detail="refused")
    planner.changed(made.key, made.servers[0].key, down)
    planner.plan({})
    assert reasons(planner, made) == ["refused", f"{HELD_OUT_REASON}; passed", BELOW_REASON]
    planner.changed(made.key, made.servers[1].key, msgspec.structs.replace(down, verdict=Verdict.UP, detail="slow"))
    assert reasons(planner, made)[1] == f"{HELD_OUT_REASON}; slow"
    planner.changed(made.key, made.servers[0].key, Health(Verdict.UP, 2.0, detail="passed"))
    planner.plan({})
    assert reasons(planner, made) == ["passed", "slow", "real servers serve again"]


def test_reasons_of_a_service_that_fails_open() -> None:
    made = made_of(MinUp(count=2), Below.FAIL_OPEN, 1, 1)
    planner = planner_of(made)
    planner.changed(made.key, made.servers[0].key, Health(Verdict.DOWN, 1.0, detail="refused"))
    planner.plan({})
    assert reasons(planner, made)[:2] == [f"{FAIL_OPEN_REASON}; refused", "passed"]
    assert set(planner.wanted.table[made.key].destinations) == {each.key for each in made.servers}
    planner.changed(made.key, made.servers[0].key, Health(Verdict.UP, 2.0, detail="passed"))
    planner.plan({})
    assert reasons(planner, made)[:2] == ["passed", "passed"]


def test_reload_does_not_forget_that_there_were_too_few() -> None:
    made = made_of(MinUp(count=2, hysteresis=1), Below.FALLBACK, 1, 1, 1)
    planner = planner_of(made)
    down = {each.key: Health(Verdict.DOWN, 1.0, detail="refused") for each in made.servers}
    for key, health in down.items():
        planner.changed(made.key, key, health)
    planner.plan({})
    again = made_of(MinUp(count=2, hysteresis=1), Below.FALLBACK, 1, 1, 2)
    healths = {(made.key, key): health for key, health in down.items()}
    up = Health(Verdict.UP, 2.0, detail="passed")
    first, second, third = (each.key for each in made.servers)
    planner.configure([again], healths | {(made.key, first): up, (made.key, second): up})
    planner.plan({})
    assert serving(dict(planner.wanted.table[made.key].destinations)) == {SPARE}
    planner.changed(made.key, third, up)
    planner.plan({})
    assert serving(dict(planner.wanted.table[made.key].destinations)) == {first, second, third}


def test_service_that_fails_open_does_so_until_its_hysteresis_is_met() -> None:
    made = made_of(MinUp(count=2, hysteresis=1), Below.FAIL_OPEN, 1, 1, 1, 1)
    everyone = {each.key for each in made.servers}
    states = [(UP, UP, DOWN, DOWN), (DOWN, DOWN, DOWN, DOWN), (UP, DOWN, DOWN, DOWN), (UP, UP, DOWN, DOWN)]
    plan, before = NO_PLAN, None
    lines: Lines = {}
    for after in states:
        plan = step(made, plan, before, after)
        before, lines = after, lines | plan.changed
    assert plan.action is Below.FAIL_OPEN
    assert serving(lines) == everyone
    plan = step(made, plan, before, (UP, UP, UP, DOWN))
    assert plan.action is None
    assert serving(lines | plan.changed) == {each.key for each in made.servers[:3]}
