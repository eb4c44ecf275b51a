"""What the headers of an answer to an http check must be."""

from collections.abc import Iterator, Mapping

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.config.patterns import answer_pattern
from lvs_healthd.config.secrecy import HIDDEN, is_secret
from lvs_healthd.probes.exchange import quote
from lvs_healthd.probes.outcome import Outcome, Reason, down

Fields = Mapping[bytes, list[bytes]]
"""The values of an answer's headers, by their names in lower case. A header that appears twice has two values."""

_MOST_VALUES = 100
"""How many values of one header are examined. A server can send thousands, each of which takes an expression 1 µs."""

_MOST_SHOWN = 3
"""How many of them an outcome shows."""


class HeaderRules:
    """One check's conditions on the headers. All probes of the check share one object."""

    __slots__ = ("_patterns", "_texts", "names")

    def __init__(self, check: HttpCheck) -> None:
        self._texts = tuple((name, text.encode()) for name, text in check.expect_headers)
        self._patterns = tuple((name, answer_pattern(text)) for name, text in check.expect_headers_regex)
        self.names = frozenset(name.lower().encode() for name, _ in (*self._texts, *self._patterns))
        """The headers that there are conditions on. Empty when there is no condition."""

    def fault(self, fields: Fields, hidden: tuple[bytes, ...]) -> Outcome | None:
        """Return the outcome of an answer whose headers do not meet all conditions; None if they do.

        fields: at least the headers in `names`.
        hidden: parts of secrets, which the outcome does not show.
        """
        for name, values, is_met, wanted in self._conditions(fields):
            if not is_met:
                shown = ", ".join(quote(value, hidden=hidden) for value in values[:_MOST_SHOWN])
                shown += f" and {len(values) - _MOST_SHOWN} more" if len(values) > _MOST_SHOWN else ""
                is_what = f"is {HIDDEN if is_secret(name) else shown}" if values else "is missing"
                return down(Reason.BAD_ANSWER, f"header {name} {is_what}, expected {wanted}")
        return None

    def _conditions(self, fields: Fields) -> Iterator[tuple[str, list[bytes], bool, str]]:
        """Yield for each condition the header's name and values, whether the condition holds, and what it wants."""
        for name, text in self._texts:
            values = _values(fields, name)
            yield name, values, text in values, HIDDEN if is_secret(name) else quote(text)
        for name, pattern in self._patterns:
            values = _values(fields, name)
            yield name, values, any(map(pattern.is_in, values)), "a match of expect_headers_regex"


def _values(fields: Fields, name: str) -> list[bytes]:
    return fields.get(name.lower().encode(), [])[:_MOST_VALUES]
