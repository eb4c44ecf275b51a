"""Parses the values of exec checks: a program with its arguments, and the variables of its environment."""

import re

from lvs_healthd.config.errors import Problem, WrongValueError, expected, show
from lvs_healthd.config.secrecy import HIDDEN, is_secret
from lvs_healthd.config.shapes import shaped
from lvs_healthd.config.values import listed, string

PROGRAM_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
"""The name of a program that is looked for beside the ready-made checks."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@shaped("a list of words", type="array", items={"type": "string"}, minItems=1)
def command(value: object) -> tuple[str, ...]:
    """Parse a program with its arguments: a list, because there is no shell that would split a string."""
    if isinstance(value, str):
        shown = ", ".join(show(word) for word in value.split())
        raise expected("a list of words, because no shell splits them", value, f"write [{shown}]")
    words = listed(string, 'a list of words such as ["/usr/lib/nagios/plugins/check_tcp", "-H", "{address}"]')(value)
    if not words[0].startswith("/") and not PROGRAM_NAME.fullmatch(words[0]):
        raise expected("the absolute path of a program", words[0], at=(0,))
    for index, word in enumerate(words):
        if "\0" in word:
            raise expected("a word without a NUL byte", word, at=(index,))
    return words


@shaped('a table such as { COMMUNITY = "public" }', type="object", additionalProperties={"type": "string"})
def variables(value: object) -> tuple[tuple[str, str], ...]:
    """Parse a table of variables."""
    if not isinstance(value, dict):
        raise expected('a table such as { COMMUNITY = "public" }', value)
    problems: list[Problem] = []
    for name, content in value.items():
        shown = HIDDEN if is_secret(name) else content
        if not _VARIABLE.fullmatch(name):
            problems += expected("a name of letters, digits and underscores", name, at=(name,)).problems
        if not isinstance(content, str):
            problems += expected("a string", shown, at=(name,)).problems
        elif "\0" in content:
            problems += expected("a string without a NUL byte", shown, at=(name,)).problems
    if problems:
        raise WrongValueError(*problems)
    return tuple(value.items())
