"""What an answer must look like, for tcp and udp checks: it contains these bytes and matches this expression."""

import re

import msgspec

from lvs_healthd.config.model import StreamCheck
from lvs_healthd.config.values import answer_pattern


class Expectation(msgspec.Struct, frozen=True):
    """Both conditions must hold; an empty one always does."""

    contains: bytes
    pattern: re.Pattern[bytes] | None
    limit: int
    """Bytes of answer looked at."""

    def met(self, answer: bytes | bytearray) -> bool:
        """Whether the answer so far is what was asked for."""
        if self.contains and self.contains not in answer:
            return False
        return self.pattern is None or self.pattern.search(answer) is not None


def expectation(check: StreamCheck) -> Expectation | None:
    """Return what the check's answer must look like; None when any answer, or none, will do."""
    if not check.expect and not check.expect_regex:
        return None
    pattern = answer_pattern(check.expect_regex) if check.expect_regex else None
    return Expectation(check.expect, pattern, check.max_answer)
