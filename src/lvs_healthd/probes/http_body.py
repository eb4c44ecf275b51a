"""What the body of an answer to an http check must be, once it has arrived."""

import hashlib
from typing import Protocol

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.config.patterns import answer_pattern
from lvs_healthd.probes.exchange import quote
from lvs_healthd.probes.expect import Expectation
from lvs_healthd.probes.http_json import JsonFields
from lvs_healthd.probes.outcome import Outcome, Reason, down

_HASHES = {"sha256": hashlib.sha256, "md5": hashlib.md5}
"""The kinds of digests. md5 is there for those who come from keepalived, whose genhash makes no other."""


class Hash(Protocol):
    """Computes a digest, as the objects of `hashlib` do."""

    @property
    def name(self) -> str:
        """Which digest it is, such as "md5"."""

    def update(self, data: bytes | bytearray, /) -> None:
        """Take the next bytes."""

    def hexdigest(self) -> str:
        """Return the digest so far, in lower case."""


class BodyRules:
    """One check's conditions on the body. All probes of the check share one object."""

    __slots__ = (
        *("_digest", "_hash", "_json", "absent", "absent_pattern"),
        *("max_body", "needs_all", "needs_end", "pattern", "text"),
    )

    def __init__(self, check: HttpCheck) -> None:
        self.text = Expectation(check.body.encode(), None, check.max_body)
        self.pattern = answer_pattern(check.body_regex) if check.body_regex else None
        self.absent = Expectation(check.absent.encode(), None, check.max_body) if check.absent else None
        """What must be nowhere in the body; None when there is no such text."""
        self.absent_pattern = answer_pattern(check.absent_regex) if check.absent_regex else None
        self.max_body = check.max_body
        self._json = JsonFields(check.json) if check.json else None
        kind, _, self._digest = check.digest.partition(":")
        self._hash = _HASHES.get(kind)
        self.needs_end = self._json is not None or self._hash is not None
        """Whether only a body that has ended can pass."""
        self.needs_all = self.needs_end or self.absent is not None or self.absent_pattern is not None
        """Whether nothing can pass before the body has ended, or `max_body` bytes of it have arrived."""

    def __bool__(self) -> bool:
        """Whether there is any condition."""
        return bool(self.text.contains or self.pattern or self.needs_all)

    def unwanted_text(self, hidden: tuple[bytes, ...]) -> Outcome:
        """Return the outcome of a body that contains the text of `absent`."""
        text = b"" if self.absent is None else self.absent.contains
        return down(Reason.BAD_ANSWER, f"unwanted text in the body: {quote(text, hidden=hidden)}")

    def too_large(self, most: int) -> Outcome:
        """Return the outcome of a body that goes on after `most` bytes, although all of it is needed."""
        needed = "json" if self._json is not None else "digest"
        return down(Reason.TOO_LARGE, f"body longer than {most} bytes; {needed} needs all of it (max_body)")

    def begin_hash(self) -> Hash | None:
        """Return what computes the digest of one body as it arrives; None when no digest is needed."""
        return None if self._hash is None else self._hash(usedforsecurity=False)

    def fault(self, body: bytearray, computed: Hash | None, hidden: tuple[bytes, ...]) -> Outcome | None:
        """Judge a body that has ended or reached `max_body` by what only then can be known. Return None if it passes.

        computed: what `begin_hash` returned, after all of the body.
        hidden: parts of secrets, which the outcome does not show.
        """
        if computed is not None and computed.hexdigest() != self._digest:
            return down(Reason.BAD_ANSWER, f"the body has another digest: {computed.name}:{computed.hexdigest()}")
        if self.absent_pattern is not None and self.absent_pattern.is_in(body):
            return down(Reason.BAD_ANSWER, f"match of absent_regex in the body: {quote(body, hidden=hidden)}")
        fault = "" if self._json is None else self._json.fault(body, hidden)
        return down(Reason.BAD_ANSWER, fault) if fault else None
