"""Regular expressions that search the bytes of an answer in linear time.

Python's own engine backtracks: with an ordinary expression and an answer of 64 KiB it can block the process, and so all
probes, for tens of seconds. RE2 (https://github.com/google/re2/wiki/Syntax) looks at each byte once. So it lacks the
features that need more than that: look-around and back-references.
"""

import functools
import re
from typing import Any

from lvs_healthd.config.errors import Problem, WrongValueError

MOST_STEPS = 5_000_000
"""The maximum number of steps in one search: the size of the compiled expression times the number of bytes searched.
The slowest expressions that were tried (`a[ab]{n}c` on random a and b) take 4 ns a step, so one search blocks the event
loop for about 20 ms at most."""

_MEMORY_BYTES = 1 << 20
"""The size of RE2's cache of states. With RE2's default of 8 MiB the first searches of an unlucky expression are
slower."""

_TOO_OFTEN = "RE2 repeats 1000 times at most: use + or *, or several repetitions"
_HINTS = (
    (re.compile(rb"\(\?<?[=!]"), "RE2 has no look-around: describe the text itself, without looking ahead or back"),
    (re.compile(rb"\\[1-9]|\(\?P="), "RE2 has no back-references: write out what is to be there twice"),
    (re.compile(rb"\(\?>|[*+?}]\+"), "RE2 never backtracks: leave out the possessive + or the atomic group (?>…)"),
    (re.compile(rb"\(\?#|\(\?[a-zA-Z]*x"), "RE2 has no comments and no x flag: write the expression without them"),
    (re.compile(rb"\{\d{4,}"), _TOO_OFTEN),
)
"""Syntax that RE2 does not have, each with a hint on what to write instead."""


class AnswerPattern:
    """A compiled expression. `size` is the number of instructions; a search takes at most that many for each byte."""

    __slots__ = ("_search", "size")

    def __init__(self, compiled: Any) -> None:  # noqa: ANN401  # the engine has no types
        self._search = compiled.search
        self.size: int = compiled.programsize

    def is_in(self, answer: bytes | bytearray) -> bool:
        """Return whether the expression matches somewhere in an answer."""
        return self._search(answer) is not None

    def end_in(self, answer: bytes | bytearray) -> int:
        """Return where the first match in an answer ends. Raises `ValueError` when there is none."""
        match = self._search(answer)
        if match is None:
            raise ValueError("no match")
        end: int = match.end()
        return end


@functools.lru_cache(maxsize=1024)
def answer_pattern(text: str) -> AnswerPattern:
    r"""Compile a regular expression on the bytes of an answer.

    Text matches its UTF-8 encoding, `\xff` matches that byte, and a dot matches any byte, including a newline. Raises
    `WrongValueError`, which says what is wrong and what to write instead.
    """
    # Imported only when a configuration has an expression, because it costs 3 MB of memory and 8 ms.
    import re2  # noqa: PLC0415

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # a character is a byte
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _MEMORY_BYTES
    written = text.encode("utf-8", "surrogateescape")
    if re.search(rb"\{\d{5,}", written):  # RE2 would take this as literal characters, not as a repetition
        raise WrongValueError(Problem((), f"not a regular expression: {_TOO_OFTEN}"))
    try:
        return AnswerPattern(re2.compile(_in_its_dialect(written), options))
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if error.args else "too large"
        hint = next((hint for found, hint in _HINTS if found.search(written)), "")
        message = f"not a regular expression: {reason}"
        raise WrongValueError(Problem((), f"{message}; {hint}" if hint else message)) from error


def too_expensive(text: str, size: int, most: str) -> str:
    """Return the message if an expression could block the event loop for longer than other probes tolerate, else "".

    text: the expression, which is one.
    size: how many bytes of an answer it searches.
    most: the key that sets this number.
    """
    steps = answer_pattern(text).size if text else 0
    if steps * size <= MOST_STEPS:
        return ""
    return (
        f"an answer of {size} bytes could make this expression hold up all probes; "
        f"shorten the expression, or set {most} to at most {MOST_STEPS // steps}"
    )


def _in_its_dialect(written: bytes) -> bytes:
    r"""Translate the syntax that Python spells differently: `\Z`, and a `$` that also matches before a last newline."""
    is_by_line = re.search(rb"\(\?[a-zA-Z]*m", written) is not None
    spelled = bytearray()
    in_class = False
    position = 0
    while position < len(written):
        part = written[position : position + (2 if written[position : position + 1] == b"\\" else 1)]
        position += len(part)
        if part == b"\\Z":
            part = rb"\z"
        elif part == b"$" and not in_class and not is_by_line:
            part = rb"(?:\n?\z)"
        elif part == b"[" and not in_class:
            in_class = True
            # A closing bracket right after the opening one, or right after [^, belongs to the set of characters.
            rest = re.compile(rb"\^?\]?").match(written, position)
            if rest is not None:
                part += rest[0]
                position = rest.end()
        elif part == b"]":
            in_class = False
        spelled += part
    return bytes(spelled)
