"""What is expected is found in an answer that grows, without looking at all of it again for every segment."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lvs_healthd.config.patterns import answer_pattern
from lvs_healthd.probes.expect import SEARCHED_EACH_TIME, Expectation, Search


class CountedPattern:
    """A pattern that counts the bytes it looks at."""

    def __init__(self, text: str) -> None:
        self._pattern = answer_pattern(text)
        self.bytes = 0

    def is_in(self, answer: bytearray) -> bool:
        self.bytes += len(answer)
        return self._pattern.is_in(answer)


class CountedAnswer(bytearray):
    """An answer that counts the bytes that are searched for text."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def find(self, text: object, start: object = 0, *_: object) -> int:
        self.bytes += len(self) - int(start)  # type: ignore[call-overload]
        return super().find(text, start)  # type: ignore[arg-type]


def expected(contains: bytes = b"", pattern: object = None) -> Expectation:
    return Expectation(contains, pattern, 1 << 20)  # type: ignore[arg-type]


@given(st.binary(max_size=60), st.binary(min_size=1, max_size=4), st.lists(st.integers(1, 7), max_size=80))
def test_text_is_found_wherever_the_segments_are_cut(answer: bytes, text: bytes, cuts: list[int]) -> None:
    search, so_far, position = Search(expected(text)), bytearray(), 0
    for cut in [*cuts, len(answer)]:
        so_far += answer[position : position + cut]
        position += cut
        assert search.is_met(so_far) is (text in so_far)


@given(st.text("ab", max_size=60), st.lists(st.integers(1, 7), max_size=80))
def test_short_answer_matches_as_soon_as_it_can(answer: str, cuts: list[int]) -> None:
    pattern = answer_pattern("ab+a")
    search, so_far, position, whole = Search(expected(pattern=pattern)), bytearray(), 0, answer.encode()
    for cut in [*cuts, len(whole)]:
        so_far += whole[position : position + cut]
        position += cut
        assert search.is_met(so_far) is pattern.is_in(so_far)


def test_an_answer_in_single_bytes_costs_as_much_as_one_in_a_piece() -> None:
    size = 1 << 18
    pattern, answer = CountedPattern("never"), CountedAnswer()
    searches = [Search(expected(pattern=pattern)), Search(expected(b"not here"))]
    for _ in range(size):
        answer.append(0x61)
        assert not any(search.is_met(answer) for search in searches)
    assert pattern.bytes <= 2 * size + 2 * SEARCHED_EACH_TIME
    assert answer.bytes <= len(b"not here") * size


@pytest.mark.parametrize("size", [100, SEARCHED_EACH_TIME, 3 * SEARCHED_EACH_TIME])
def test_a_long_answer_is_matched_at_its_end_at_the_latest(size: int) -> None:
    search, answer = Search(expected(pattern=answer_pattern("end$"))), bytearray()
    for _ in range(size // 50):
        answer += bytes(50)
        assert not search.is_met(answer)
    answer += b"end"
    assert search.is_met(answer, is_whole=True)


def test_both_conditions_must_hold() -> None:
    search = Search(expected(b"one", answer_pattern("two")))
    assert not search.is_met(bytearray(b"one"))
    assert search.is_met(bytearray(b"one two"))
    assert not Search(expected(b"one", answer_pattern("two"))).is_met(bytearray(b"two"), is_whole=True)
