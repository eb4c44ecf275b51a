"""The reference in Markdown: a page of all verbs, and a page of all keys of the configuration."""

from collections.abc import Iterable, Iterator

import msgspec

from lvs_healthd.cli.manual.command_line import Verb, verbs
from lvs_healthd.cli.manual.pages import PROGRAM, STATUSES, shown, split_statuses
from lvs_healthd.config.reference import CHECKS, KeyReference, TableReference, check_types, tables
from lvs_healthd.config.values import listing

_MADE = "<!-- Made by `make reference` from the code. Edit that. -->"


def verbs_page() -> str:
    """Return the page of all verbs."""
    return _page(_verbs_lines())


def keys_page() -> str:
    """Return the page of all keys."""
    return _page(_keys_lines())


def _page(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def _verbs_lines() -> Iterator[str]:
    known = tuple(verbs())
    yield from ("# Verbs", "", _MADE, "")
    yield from (f"`{PROGRAM} VERB`, each with a manual page: `man {PROGRAM}-{known[0].name}`.", "")
    yield from _table(("verb", "what it does"), ((f"[{verb.name}](#{verb.name})", verb.summary) for verb in known))
    yield from ("", "## Exit statuses", "", "Where a verb has others, it says so.", "")
    yield from _table(("status", "meaning"), ((str(int(status)), text) for status, text in STATUSES.items()))
    for verb in known:
        yield from _verb(verb)


def _verb(verb: Verb) -> Iterator[str]:
    described, statuses = split_statuses(verb.paragraphs)
    yield from ("", f"## {verb.name}", "", f"`{PROGRAM} {verb.usage}`")
    for paragraph in described:
        yield from ("", paragraph)
    if statuses:
        yield from ("", f"Exit status: {statuses}")
    words = [(f"`{word.metavar}`", word.text) for word in verb.words]
    for option in verb.options:
        names = ", ".join(f"`{name} {option.metavar}`".replace(" `", "`") for name in option.names)
        words.append((names, option.text + (f" Default: {option.default}." if option.default else "")))
    yield ""
    yield from _table(("word or option", "meaning"), words)


def _keys_lines() -> Iterator[str]:
    yield from ("# Keys of the configuration", "", _MADE, "")
    yield "Each key with what it means, what it accepts and its default. [configuration.md](../configuration.md) has"
    yield from ("examples, reasons, and the rules about several keys together.", "")
    for table in tables().values():
        yield from (f"## `{table.header}`", "", " ".join(table.text.split()), "")
        if table.header == CHECKS:
            yield from _table(("type", "what it does"), ((f"`{name}`", text) for name, text in check_types().items()))
            yield ""
        yield from _keys(table)
        yield ""
    yield "Ready-made checks, whose names are types too: [checks.md](../checks.md)."


def _keys(table: TableReference) -> Iterator[str]:
    return _table(("key", "accepts", "default", "meaning"), (_key(key) for key in table.keys))


def _key(key: KeyReference) -> tuple[str, ...]:
    text = key.text + (f" Only for {listing(key.types, 'and')} checks." if key.types else "")
    default = "" if key.default is msgspec.UNSET else f"`{shown(key.default)}`"
    default += "".join(f"; {kind}: `{shown(value)}`" for kind, value in key.exceptions.items())
    return f"`{key.name}`", key.shape.words if key.shape.schema else "", default, text


def _table(heading: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    names = tuple(heading)
    yield f"| {' | '.join(names)} |"
    yield "|" + "---|" * len(names)
    yield from (f"| {' | '.join(map(_cell, row))} |".replace("|  |", "| |") for row in rows)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
