"""Numbers stay with their holders, and rest before somebody else gets them."""

from lvs_healthd.plan.leases import Leases

REST_S = 300.0
NOW = 1_000_000.0


def leases(count: int = 4) -> Leases:
    return Leases(range(100, 100 + count), REST_S)


def held(numbers: Leases, *holders: str) -> list[int | None]:
    return [numbers.of(each) for each in holders]


def test_each_holder_gets_a_number_and_keeps_it() -> None:
    numbers = leases()
    numbers.hold(["a", "b"], NOW)
    assert held(numbers, "a", "b") == [100, 101]
    numbers.hold(["c", "b", "a"], NOW)
    assert held(numbers, "a", "b", "c") == [100, 101, 102]


def test_number_that_became_free_rests() -> None:
    numbers = leases(2)
    numbers.hold(["a", "b"], NOW)
    numbers.hold(["b", "c"], NOW)
    assert held(numbers, "b", "c") == [101, None]
    numbers.hold(["b", "c"], NOW + REST_S - 1)
    assert numbers.of("c") is None
    numbers.hold(["b", "c"], NOW + REST_S)
    assert numbers.of("c") == 100


def test_holder_that_comes_back_gets_its_number_again() -> None:
    numbers = leases(8)
    numbers.hold(["a", "b"], NOW)
    numbers.hold(["b"], NOW)
    numbers.hold(["c", "a", "b"], NOW + 1)
    assert held(numbers, "a", "b", "c") == [100, 101, 102]


def test_number_that_never_rested_comes_before_one_that_has() -> None:
    numbers = leases(4)
    numbers.hold(["a"], NOW)
    numbers.hold([], NOW)
    numbers.hold(["b"], NOW + 10 * REST_S)
    assert numbers.of("b") == 101


def test_leases_survive_a_restart() -> None:
    before = leases()
    before.hold(["a", "b"], NOW)
    before.hold(["b"], NOW)
    after = leases()
    after.restore(before.saved())
    assert after.saved() == before.saved()
    after.hold(["c", "b"], NOW + 1)
    assert held(after, "b", "c") == [101, 102]
    after.hold(["a", "b", "c"], NOW + 1)
    assert after.of("a") == 100


def test_saved_leases_are_the_same_object_while_nothing_changes() -> None:
    numbers = leases()
    numbers.hold(["a"], NOW)
    first = numbers.saved()
    numbers.hold(["a"], NOW + 1)
    assert numbers.saved() is first


def test_clock_that_was_ahead_makes_no_number_rest_for_ever() -> None:
    numbers = leases(1)
    numbers.hold(["a"], NOW + 1e9)
    numbers.hold([], NOW + 1e9)
    numbers.hold(["b"], NOW)
    assert numbers.of("b") == 100


def test_number_that_somebody_else_has_is_not_given_out_and_not_kept() -> None:
    numbers = leases()
    numbers.hold(["a"], NOW, is_free=lambda _, number: number != 100)
    assert numbers.of("a") == 101
    numbers.hold(["a"], NOW, is_free=lambda _, number: number != 101)
    assert numbers.of("a") not in {None, 101}


def test_preferred_number_is_given_if_it_is_free() -> None:
    numbers = leases()
    numbers.hold(["a", "b"], NOW, preferred={"a": 103, "b": 103}.get)
    assert held(numbers, "a", "b") == [103, 100]


def test_number_outside_a_new_range_is_replaced() -> None:
    numbers = leases()
    numbers.hold(["a"], NOW)
    numbers.numbers = range(200, 204)
    numbers.hold(["a"], NOW)
    assert numbers.of("a") in numbers.numbers


def test_renewed_number_is_another_one_and_the_old_one_rests() -> None:
    numbers = leases(2)
    numbers.hold(["a"], NOW)
    assert numbers.renew("a", NOW) == 101
    assert numbers.renew("a", NOW) is None
    numbers.hold(["a"], NOW + 1)
    assert numbers.of("a") is not None
