"""What an answer must look like, for tcp, udp and http checks: it contains some bytes or matches an expression."""

import msgspec

from lvs_healthd.config.model import StreamCheck
from lvs_healthd.config.patterns import AnswerPattern, answer_pattern

SEARCHED_EACH_TIME = 16384
"""Bytes that a pattern searches again for every segment; after that it waits until the answer has doubled, or ended.
A greeting of two lines is matched at once, and a peer that sends single bytes costs no more than one that does not."""


class Expectation(msgspec.Struct, frozen=True):
    """Both conditions must hold; an empty one always does."""

    contains: bytes
    pattern: AnswerPattern | None
    limit: int
    """Bytes of the answer that are looked at."""

    def met(self, answer: bytes | bytearray) -> bool:
        """Whether a whole answer is what was asked for."""
        return self.contains in answer and (self.pattern is None or self.pattern.is_in(answer))


class Search:
    """Looks for what is expected in an answer that grows. Nothing is searched again for every segment."""

    __slots__ = ("_expected", "_found", "_looked_at", "_next", "_searched")

    def __init__(self, expected: Expectation) -> None:
        self._expected = expected
        self._found = not expected.contains
        """Whether the bytes have been found."""
        self._looked_at = 0
        """How much of the answer the bytes have been looked for in."""
        self._searched = 0
        """Bytes that the pattern has searched, all searches together."""
        self._next = 0
        """How long the answer must be before the pattern searches again."""

    def is_met(self, answer: bytearray, *, is_whole: bool = False) -> bool:
        """Whether the answer so far is what was asked for; `is_whole` when no more of it will come.

        False before the end of an answer may mean that a long one is searched later.
        """
        expected = self._expected
        if not self._found:
            # Only the new bytes, and as many before them as could begin what is looked for.
            start = max(0, self._looked_at - len(expected.contains) + 1)
            self._found = answer.find(expected.contains, start) >= 0
            self._looked_at = len(answer)
        if not self._found or expected.pattern is None:
            return self._found
        if len(answer) < self._next and not is_whole:
            return False
        self._searched += len(answer)
        if self._searched > SEARCHED_EACH_TIME:
            self._next = 2 * len(answer)
        return expected.pattern.is_in(answer)


def expectation(check: StreamCheck) -> Expectation | None:
    """Return what the check's answer must look like; None when any answer, or none, will do."""
    if not check.expect and not check.expect_regex:
        return None
    pattern = answer_pattern(check.expect_regex) if check.expect_regex else None
    return Expectation(check.expect, pattern, check.max_answer)
