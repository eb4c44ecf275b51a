"""The brake of one way: its whole product of stages and looks, and the courses that an operator would tell."""

import itertools

import pytest

from lvs_healthd.decide.brake import (
    NOBODY_LEFT,
    NOT_TOGETHER,
    TOO_FEW,
    Brake,
    Look,
    Recovering,
    Rule,
    Stage,
    answered,
    fell_silent,
    looked,
    may_recover,
)

RULE = Rule(share=0.8, within_s=10.0, min_targets=2, longest_s=300.0)
SINCE, ENTERED = 100.0, 101.0
ARP = "neighbour 198.51.100.1 answers"
FAULT = "our interface eth0 has no carrier"

LOOKS = [
    Look(silent, others, has_answer, symptom, proof)
    for silent, others, has_answer, symptom, proof in itertools.product(
        range(6), range(6), (False, True), ("", FAULT), ("", ARP)
    )
]
AGES = (0.0, 9.999, 10.0, 299.999, 300.0, 10_000.0)
PRODUCT = list(itertools.product(Stage, LOOKS, AGES))


def expected(stage: Stage, look: Look, age: float) -> Stage:
    """Say in other words than the code what must become of a stage: each line is a sentence of the documentation."""
    proved = bool(look.proof) and not look.symptom
    if stage is Stage.CLEAR or look.has_answer or look.silent == 0:
        return Stage.CLEAR
    if stage is Stage.RELEASED:
        return Stage.RELEASED
    if proved:
        return Stage.RELEASED
    if stage is Stage.BRAKED:
        return Stage.BRAKED if age < 300.0 else Stage.RELEASED
    total = look.silent + look.others
    if total < 2:
        return Stage.RELEASED
    if look.silent >= 2 and 100 * look.silent >= 80 * total:
        return Stage.BRAKED
    if age < 10.0:
        return Stage.DOUBT
    return Stage.BRAKED if look.symptom else Stage.RELEASED


def test_every_stage_and_every_look_at_every_age() -> None:
    """The whole product: 4 stages, 288 looks, 6 ages."""
    seen = set()
    for stage, look, age in PRODUCT:
        before = Brake(stage, SINCE, ENTERED)
        after = looked(before, look, RULE, ENTERED + age)
        assert after.stage is expected(stage, look, age), (stage, look, age)
        seen.add((stage, after.stage))
        if after.stage is stage:
            assert after is before
        else:
            assert (after.since, after.entered) == (SINCE, ENTERED + age)
            assert bool(after.why) is (after.stage is not Stage.BRAKED)
    assert seen == {
        (Stage.CLEAR, Stage.CLEAR),
        *itertools.product((Stage.DOUBT,), Stage),
        *itertools.product((Stage.BRAKED,), (Stage.CLEAR, Stage.BRAKED, Stage.RELEASED)),
        *itertools.product((Stage.RELEASED,), (Stage.CLEAR, Stage.RELEASED)),
    }


@pytest.mark.parametrize("stage", Stage)
def test_silence_begins_an_episode_only_when_none_is_under_way(stage: Stage) -> None:
    before = Brake(stage, SINCE, ENTERED)
    after = fell_silent(before, 200.0, 201.0)
    assert after == (Brake(Stage.DOUBT, 200.0, 201.0) if stage is Stage.CLEAR else before)


@pytest.mark.parametrize("stage", Stage)
def test_answer_ends_every_episode(stage: Stage) -> None:
    after = answered(Brake(stage, SINCE, ENTERED), 200.0)
    assert after.stage is Stage.CLEAR
    assert not after.holds


@pytest.mark.parametrize("stage", Stage)
def test_it_holds_in_doubt_and_while_braked(stage: Stage) -> None:
    assert Brake(stage).holds is (stage in (Stage.DOUBT, Stage.BRAKED))


def run(*looks: tuple[float, Look]) -> Brake:
    brake = fell_silent(Brake(), SINCE, ENTERED)
    for now, look in looks:
        brake = looked(brake, look, RULE, now)
    return brake


def test_it_never_holds_longer_than_within_and_longest_together_whatever_happens() -> None:
    silence = [look for look in LOOKS if not look.has_answer]
    for first, second in itertools.product(silence, silence):
        assert not run((ENTERED, first), (ENTERED + 10.0, second), (ENTERED + 310.0, second)).holds


def test_all_of_ten_brake_and_eight_of_ten_and_not_seven() -> None:
    assert run((102.0, Look(10, 0, False))).stage is Stage.BRAKED
    assert run((102.0, Look(8, 2, False))).stage is Stage.BRAKED
    assert run((102.0, Look(7, 3, False))).stage is Stage.DOUBT
    late = run((102.0, Look(7, 3, False)), (111.0, Look(7, 3, False)))
    assert (late.stage, late.why) == (Stage.RELEASED, NOT_TOGETHER)


def test_two_servers_of_which_one_dies_and_a_rack_of_which_some_answer_are_no_case() -> None:
    assert run((102.0, Look(1, 1, False)), (102.5, Look(1, 0, True))).stage is Stage.CLEAR
    assert run((102.0, Look(9, 1, True))).stage is Stage.CLEAR


def test_one_target_can_tell_nothing() -> None:
    assert run((101.0, Look(1, 0, False))) == Brake(Stage.RELEASED, SINCE, 101.0, TOO_FEW)


def test_proof_lets_go_at_once_unless_the_director_has_a_fault_of_its_own() -> None:
    braked = (102.0, Look(10, 0, False))
    assert run(braked, (103.0, Look(10, 0, False, proof=ARP))) == Brake(Stage.RELEASED, SINCE, 103.0, ARP)
    assert run(braked, (103.0, Look(10, 0, False, FAULT, ARP))).stage is Stage.BRAKED
    assert run(braked, (103.0, Look(10, 0, False, FAULT)), (104.0, Look(10, 0, True))).stage is Stage.CLEAR


def test_it_lets_go_after_the_longest_time_and_does_not_brake_again_for_the_same_silence() -> None:
    braked = (102.0, Look(10, 0, False, FAULT))
    assert run(braked, (401.9, braked[1])).stage is Stage.BRAKED
    released = run(braked, (402.0, braked[1]))
    assert (released.stage, "300s" in released.why) == (Stage.RELEASED, True)
    assert fell_silent(looked(released, braked[1], RULE, 5000.0), 5001.0, 5002.0).stage is Stage.RELEASED


def test_episode_of_targets_that_a_reload_has_dropped_is_over() -> None:
    assert run((102.0, Look(10, 0, False)), (103.0, Look(0, 3, False))) == Brake(Stage.CLEAR, SINCE, 103.0, NOBODY_LEFT)


def test_single_silence_becomes_a_brake_only_if_a_fault_stands_to_the_end_of_doubt() -> None:
    look = Look(1, 4, False, FAULT)
    assert run((102.0, look)).stage is Stage.DOUBT
    assert run((102.0, look), (111.0, look)).stage is Stage.BRAKED


@pytest.mark.parametrize("age", [0.0, 0.5, 8.999, 9.0, 100.0])
@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("probed", [-1.0, 0.0, 0.4])
def test_server_that_was_kept_stays_until_its_own_next_probe_and_while_it_passes(
    age: float, passes: bool, probed: float
) -> None:
    server = Recovering(500.0, 500.0 + probed, passes, rise=2, interval_s=2.0, timeout_s=1.0)
    assert may_recover(server, 500.0 + age) is (age < 9.0 and (passes or probed <= 0.0))
