"""Which lists of servers take effect by themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.sources import Entry
from lvs_healthd.decide.sourcing import held_back


def entries(*weights: int, first: int = 1) -> tuple[Entry, ...]:
    """Return a list of as many servers as there are weights."""
    return tuple(Entry(f"198.51.100.{first + index}", weight) for index, weight in enumerate(weights))


@pytest.mark.parametrize(
    ("before", "found", "share", "reason"),
    [
        (None, entries(1), 50, ""),
        (None, (), 50, "it lists no server, and nothing was known of it before"),
        (None, entries(0), 50, "it lists no server, and nothing was known of it before"),
        ((), (), 50, ""),
        ((), entries(1, 1), 50, ""),
        (entries(1), (), 100, "it lists no server any more, and 1 server before: 198.51.100.1"),
        (entries(1, 1, 1), entries(1, 1), 50, ""),
        (
            entries(1, 1, 1, 1),
            entries(1, 1),
            50,
            "2 of its 4 servers would be taken out, 50% or more: 198.51.100.3, 198.51.100.4",
        ),
        (entries(1, 1, 1, 1), entries(1, 1), 51, ""),
        (entries(1, 1, 1, 1), entries(1), 100, ""),
        (
            entries(1, 1, 1, 1),
            entries(1, 0, 0, 0),
            50,
            "3 of its 4 servers would be taken out, 50% or more: 198.51.100.2, 198.51.100.3, 198.51.100.4",
        ),
        (entries(1, 0, 0, 0), entries(1), 50, ""),
        (
            entries(*(1,) * 8),
            entries(*(1,) * 8, first=101),
            50,
            "8 of its 8 servers would be taken out, 50% or more: 198.51.100.1, 198.51.100.2, 198.51.100.3 and 5 more",
        ),
    ],
)
def test_list_that_empties_or_halves_is_held(
    before: tuple[Entry, ...] | None, found: tuple[Entry, ...], share: int, reason: str
) -> None:
    assert held_back(before, found, share) == reason


servers = st.builds(Entry, st.integers(1, 9).map("198.51.100.{}".format), st.integers(0, 2))
lists = st.lists(servers, max_size=9, unique_by=lambda each: each.address).map(tuple)


@given(st.lists(lists, max_size=20), st.integers(1, 100))
def test_no_sequence_of_lists_takes_the_last_server_or_too_many_at_once(
    found: list[tuple[Entry, ...]], share: int
) -> None:
    in_force: tuple[Entry, ...] | None = None
    for each in found:
        if held_back(in_force, each, share):
            continue
        before = {entry.address for entry in in_force or () if entry.weight}
        after = {entry.address for entry in each if entry.weight}
        assert after or not before
        assert share == 100 or not before - after or 100 * len(before - after) < share * len(before)
        in_force = each
