"""The manual pages: lvs-healthd(8), one page for each verb, and lvs-healthd.toml(5)."""

import re
from collections.abc import Iterator, Mapping

import msgspec

from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.cli.manual.command_line import HELP, Option, Verb, verbs
from lvs_healthd.cli.manual.roff import (
    bold,
    entry,
    escaped,
    heading,
    italic,
    page,
    paragraphs,
    prose,
    subheading,
)
from lvs_healthd.config.model import Daemon
from lvs_healthd.config.reference import CHECKS, KeyReference, TableReference, check_types, tables
from lvs_healthd.config.text import DEFAULT_FILE
from lvs_healthd.config.values import listing

PROGRAM = "lvs-healthd"
SUMMARY = "Health checks for Linux Virtual Server: probes real servers and keeps the kernel's IPVS table true."

_EXIT = re.compile(r"(?:^|(?<=\. ))Exit status: ?")
STATUSES = {
    ExitStatus.OK: "Done, and all is well.",
    ExitStatus.FAILED: "Refused, or failed.",
    ExitStatus.USAGE: "Wrong usage.",
    ExitStatus.TROUBLE: "The verb did its work, and found something that is not well.",
    ExitStatus.UNREACHABLE: "No daemon was reached.",
}


def pages() -> Mapping[str, str]:
    """Return the text of every page, by the name of its file, such as "lvs-healthd-drain.8"."""
    known = tuple(verbs())
    found = {f"{PROGRAM}.8": _program(known), f"{PROGRAM}.toml.5": _file()}
    return found | {f"{PROGRAM}-{verb.name}.8": _verb(verb) for verb in known}


def _program(known: tuple[Verb, ...]) -> str:
    return page(PROGRAM, 8, SUMMARY, [line for part in _program_parts(known) for line in part])


def _program_parts(known: tuple[Verb, ...]) -> Iterator[list[str]]:
    version = Option(names=("--version",), text="Print the version.")
    yield [heading("SYNOPSIS"), f"{bold(PROGRAM)} [{italic('OPTIONS')}] {italic('VERB')} ..."]
    yield [heading("DESCRIPTION"), *paragraphs(SUMMARY)]
    yield [heading("VERBS"), *(line for verb in known for line in entry(bold(verb.name), verb.summary))]
    yield [".PP", *paragraphs(f"Each has a page of its own, such as `{PROGRAM}-{known[0].name}`(8).")]
    yield [heading("OPTIONS"), *_options((version, HELP))]
    yield [
        heading("EXIT STATUS"),
        *(line for status, text in STATUSES.items() for line in entry(bold(str(int(status))), text)),
    ]
    yield [heading("FILES"), *entry(bold(str(DEFAULT_FILE)), f"The configuration: {PROGRAM}.toml(5).")]
    yield entry(bold(Daemon().control), "The control socket, through which the verbs talk to the daemon.")
    yield entry(bold(Daemon().state), "What survives a restart.")
    yield [heading("SEE ALSO"), ", ".join([f"{bold(f'{PROGRAM}.toml')}(5)", *(_of(verb) for verb in known)])]


def _of(verb: Verb) -> str:
    return f"{bold(f'{PROGRAM}-{verb.name}')}(8)"


def _verb(verb: Verb) -> str:
    return page(f"{PROGRAM}-{verb.name}", 8, verb.summary, [line for part in _verb_parts(verb) for line in part])


def _verb_parts(verb: Verb) -> Iterator[list[str]]:
    words = " ".join(italic(word.metavar) for word in verb.words)
    yield [heading("SYNOPSIS"), f"{bold(f'{PROGRAM} {verb.name}')} [{italic('OPTIONS')}] {words}".rstrip()]
    described, statuses = split_statuses(verb.paragraphs)
    yield [heading("DESCRIPTION"), *paragraphs("\n\n".join(described))]
    if verb.words:
        yield [heading("ARGUMENTS"), *(line for word in verb.words for line in entry(italic(word.metavar), word.text))]
    yield [heading("OPTIONS"), *_options(verb.options)]
    if statuses:
        yield [heading("EXIT STATUS"), *paragraphs(statuses[0].upper() + statuses[1:])]
    yield [heading("SEE ALSO"), f"{bold(PROGRAM)}(8), {bold(f'{PROGRAM}.toml')}(5)"]


def split_statuses(parts: tuple[str, ...]) -> tuple[list[str], str]:
    """Split a verb's paragraphs into what it does, and its exit statuses."""
    described, statuses = [], []
    for part in parts:
        before, *after = _EXIT.split(part, maxsplit=1)
        described += [before.strip()] if before.strip() else []
        statuses += after
    return described, " ".join(statuses)


def _options(options: tuple[Option, ...]) -> list[str]:
    lines: list[str] = []
    for option in options:
        names = ", ".join(bold(name) for name in option.names)
        default = f" Default: {option.default}." if option.default else ""
        lines += entry(f"{names} {italic(option.metavar)}" if option.metavar else names, option.text + default)
    return lines


def _file() -> str:
    summary = f"The configuration of {PROGRAM}(8)."
    return page(f"{PROGRAM}.toml", 5, summary, [line for part in _file_parts() for line in part])


_DEFAULTS_ELSEWHERE = {"[[service]]": "\n\n`[defaults.service]` has defaults for all services."}
"""What is said of a table besides its own text."""


def _file_parts() -> Iterator[list[str]]:
    found = dict(tables())
    checks = found.pop(CHECKS)
    yield [heading("SYNOPSIS"), bold(str(DEFAULT_FILE))]
    yield [heading("DESCRIPTION")]
    yield paragraphs(
        "The file is TOML. A duration is a string with a unit: `ms`, `s`, `m`, `h` or `d`. An unknown key, a wrong "
        f"value or an impossible combination is an error, and a file with errors is refused. `{PROGRAM} validate` "
        "lists all of them. A remark is about something that is allowed, but will probably not do what was meant.\n\n"
        "`include`, above the first table, is the path of another file, or a list of paths, relative to this one. The "
        "last part of a path may have `*`, `?` and `[`. All files make one configuration."
    )
    for table in found.values():
        text = f"{table.text}{_DEFAULTS_ELSEWHERE.get(table.header, '')}"
        yield [heading(table.header), *paragraphs(text), *_keys(table)]
    yield [
        heading(CHECKS),
        *paragraphs(
            f"{checks.text}\n\n`[defaults.check]` has defaults for all checks. A "
            "`[check.NAME]` is a check whose name is a type."
        ),
    ]
    yield [subheading("Types of checks")]
    for kind, text in check_types().items():
        yield entry(bold(kind), text)
    yield [".PP", *paragraphs(f"`{PROGRAM} checks` lists ready-made checks, whose names are types too.")]
    yield [subheading("Keys of checks"), *_keys(checks)]
    yield [heading("SEE ALSO"), f"{bold(PROGRAM)}(8), {bold(f'{PROGRAM}-validate')}(8), {bold(f'{PROGRAM}-checks')}(8)"]


def _keys(table: TableReference) -> list[str]:
    return [line for key in table.keys for line in _key(key)]


def _key(key: KeyReference) -> list[str]:
    accepted = key.shape.words if key.shape.schema else ""
    lines = entry(f"{bold(key.name)} = {escaped(accepted)}" if accepted else bold(key.name), key.text)
    remarks = []
    if key.types:
        remarks.append(f"Only for {listing(key.types, 'and')} checks.")
    if key.default is not msgspec.UNSET:
        others = "".join(f"; of {kind} checks: {shown(value)}" for kind, value in key.exceptions.items())
        remarks.append(f"Default: {shown(key.default)}{others}.")
    return [*lines, *([".br", prose(" ".join(remarks))] if remarks else [])]


def shown(value: object) -> str:
    """Return a value as the file has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
