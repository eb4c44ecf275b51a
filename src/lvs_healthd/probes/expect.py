"""Decides whether the answer to a tcp, udp or http check contains the expected bytes and matches the expression."""

import msgspec

from lvs_healthd.config.check_model import ConversationStep, StreamCheck
from lvs_healthd.config.patterns import AnswerPattern, answer_pattern

SEARCHED_EACH_TIME = 16384
"""A pattern searches the whole answer again at each segment until it has searched this many bytes in all. After that it
waits until the answer has doubled or ended. So a greeting of two lines is matched at once, and a peer that sends single
bytes costs no more than another peer."""


class Expectation(msgspec.Struct, frozen=True):
    """What an answer must contain and match. Both conditions must hold; an empty one always does."""

    contains: bytes
    pattern: AnswerPattern | None
    limit: int
    """The maximum number of bytes of the answer that are searched."""

    def met(self, answer: bytes | bytearray) -> bool:
        """Whether a complete answer meets both conditions."""
        return self.contains in answer and (self.pattern is None or self.pattern.is_in(answer))

    def end(self, answer: bytes | bytearray) -> int:
        """Return where the expected part of an answer ends that meets both conditions."""
        found = answer.find(self.contains) + len(self.contains)
        return found if self.pattern is None else max(found, self.pattern.end_in(answer))


class Search:
    """Looks for what is expected in an answer that grows. It does not search a long answer again at each segment.

    at_once: how many bytes a pattern searches in all before it begins to wait for more of the answer.
    """

    __slots__ = ("_at_once", "_expected", "_found", "_looked_at", "_next", "_searched")

    def __init__(self, expected: Expectation, at_once: int = SEARCHED_EACH_TIME) -> None:
        self._expected = expected
        self._at_once = at_once
        self._found = not expected.contains
        """Whether the bytes of `contains` have been found."""
        self._looked_at = 0
        """How many bytes of the answer have been searched for `contains`."""
        self._searched = 0
        """How many bytes the pattern has searched in all its searches together."""
        self._next = 0
        """How long the answer must be before the pattern searches again."""

    def is_met(self, answer: bytearray, *, is_whole: bool = False) -> bool:
        """Whether the answer so far meets both conditions.

        Before the end of a long answer, False may only mean that the next search is still to come.

        is_whole: whether the answer is complete.
        """
        expected = self._expected
        if not self._found:
            # Search only the new bytes, and before them as many as may be the beginning of the wanted text.
            start = max(0, self._looked_at - len(expected.contains) + 1)
            self._found = answer.find(expected.contains, start) >= 0
            self._looked_at = len(answer)
        if not self._found or expected.pattern is None:
            return self._found
        if len(answer) < self._next and not is_whole:
            return False
        self._searched += len(answer)
        if self._searched > self._at_once:
            self._next = 2 * len(answer)
        return expected.pattern.is_in(answer)


def expectation(asking: StreamCheck | ConversationStep, limit: int) -> Expectation | None:
    """Return what the answer to a check or a step must look like; None when nothing is expected.

    limit: the maximum number of bytes of the answer to search.
    """
    if not asking.expect and not asking.expect_regex:
        return None
    pattern = answer_pattern(asking.expect_regex) if asking.expect_regex else None
    return Expectation(asking.expect, pattern, limit)
