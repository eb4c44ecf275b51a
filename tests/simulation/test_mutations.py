"""Faults that somebody might make in the rules: the products or the simulation find each of them."""

import pytest

from tests.simulation.mutations import MUTATIONS, Mutation, found_by


@pytest.mark.long
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda each: each.name)
def test_mutation_is_found(mutation: Mutation) -> None:
    assert found_by(mutation)


def test_mutations_still_fit_the_code() -> None:
    for mutation in MUTATIONS:
        assert mutation.is_possible, mutation.name
