"""Guests divide the tests among themselves by claims in one folder."""

from pathlib import Path

from lab.queue import Queue

TESTS = ["a::1", "a::2", "a::3", "b::1", "b::2", "c::1"]


def test_guest_keeps_to_its_file_and_helps_where_most_is_left(tmp_path: Path) -> None:
    first, second = (Queue(tmp_path, TESTS) for _ in range(2))
    assert first.take(TESTS) == "a::1"
    assert second.take(TESTS) == "b::1"
    assert second.take(TESTS) == "b::2"
    assert second.take(TESTS) == "c::1"
    assert second.take(TESTS) == "a::2"
    assert first.take(TESTS) == "a::3"
    assert (first.take(TESTS), second.take(TESTS)) == (None, None)


def test_guest_takes_only_what_it_knows_and_what_was_asked_for(tmp_path: Path) -> None:
    queue = Queue(tmp_path, TESTS)
    assert queue.take(["b::2", "other::1"]) == "b::2"
    assert queue.take(["b::2", "other::1"]) is None


def test_claim_lost_to_a_faster_guest_is_followed_by_the_next(tmp_path: Path) -> None:
    class Slow(Queue):
        """A guest that finds a test unclaimed, but is too slow: another guest claims it first."""

        def _claim(self, nodeid: str) -> bool:
            other.take(TESTS[:1])
            return super()._claim(nodeid)

    other = Queue(tmp_path, TESTS)
    assert Slow(tmp_path, TESTS).take(TESTS) == "a::2"
