"""What the body of an answer to an http check must be, once it has arrived."""

from lvs_healthd.config.model import HttpCheck
from lvs_healthd.config.patterns import answer_pattern
from lvs_healthd.probes.exchange import quote
from lvs_healthd.probes.expect import Expectation
from lvs_healthd.probes.http_json import JsonFields
from lvs_healthd.probes.outcome import Outcome, Reason, down


class BodyRules:
    """One check's conditions on the body. All probes of the check share one object."""

    __slots__ = ("_json", "absent", "absent_pattern", "max_body", "needs_all", "needs_end", "pattern", "text")

    def __init__(self, check: HttpCheck) -> None:
        self.text = Expectation(check.body.encode(), None, check.max_body)
        self.pattern = answer_pattern(check.body_regex) if check.body_regex else None
        self.absent = Expectation(check.absent.encode(), None, check.max_body) if check.absent else None
        """What must be nowhere in the body; None when there is no such text."""
        self.absent_pattern = answer_pattern(check.absent_regex) if check.absent_regex else None
        self.max_body = check.max_body
        self._json = JsonFields(check.json) if check.json else None
        self.needs_end = self._json is not None
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

    def too_large(self) -> Outcome:
        """Return the outcome of a body that goes on after `max_body`, although all of it is needed."""
        return down(Reason.TOO_LARGE, f"body longer than {self.max_body} bytes; json needs all of it (max_body)")

    def fault(self, body: bytearray, hidden: tuple[bytes, ...]) -> Outcome | None:
        """Judge a body that has ended or reached `max_body` by what only then can be known. Return None if it passes.

        hidden: parts of secrets, which the outcome does not show.
        """
        if self.absent_pattern is not None and self.absent_pattern.is_in(body):
            return down(Reason.BAD_ANSWER, f"match of absent_regex in the body: {quote(bytes(body), hidden=hidden)}")
        fault = "" if self._json is None else self._json.fault(body, hidden)
        return down(Reason.BAD_ANSWER, fault) if fault else None
