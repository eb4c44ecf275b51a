"""The answer that a tcp or udp check expects: bytes it must contain, an expression it must match."""

import re

import msgspec

from lvs_healthd.config.model import StreamCheck
from lvs_healthd.config.values import answer_pattern


class Expectation(msgspec.Struct, frozen=True):
    """What an answer must contain and match. A condition that is not configured always holds."""

    contains: bytes
    pattern: re.Pattern[bytes] | None
    limit: int
    """How many bytes of the answer are examined."""

    def met(self, answer: bytes | bytearray) -> bool:
        """Whether the answer so far meets both conditions."""
        if self.contains and self.contains not in answer:
            return False
        return self.pattern is None or self.pattern.search(answer) is not None


def expectation(check: StreamCheck) -> Expectation | None:
    """Return what the check expects of the answer, or None when it expects nothing."""
    if not check.expect and not check.expect_regex:
        return None
    pattern = answer_pattern(check.expect_regex) if check.expect_regex else None
    return Expectation(check.expect, pattern, check.max_answer)
