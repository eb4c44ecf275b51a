"""`lvs-healthd checks`: lists the ready-made checks, explains one, or tries one on a server and shows each step."""

from collections.abc import Sequence
from typing import Annotated, NoReturn

import msgspec
import typer

from lvs_healthd.cli.asking import FileOption, end
from lvs_healthd.cli.draw_status import rows
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import DEFAULT_FILE, parse
from lvs_healthd.config.readymade import ReadyMade, Shelf, search_path
from lvs_healthd.config.schema import CHECK_TYPES
from lvs_healthd.config.text import read_text
from lvs_healthd.config.values import did_you_mean, duration_text
from lvs_healthd.probes.outcome import OutcomeKind
from lvs_healthd.probing.transcript import Trial, tried
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.why_words import course_in_words

_TRY = "try"
_USAGE = "lvs-healthd checks [NAME], or lvs-healthd checks try NAME ADDRESS[:PORT] [KEY=VALUE ...]"


class ListedCheck(msgspec.Struct, frozen=True):
    """One ready-made check in the JSON output."""

    name: str
    type: str
    description: str
    file: str
    min_interval: str
    """The shortest interval that it may have, such as "2s"; empty for any."""


def checks(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME | try NAME ADDRESS [KEY=VALUE ...]]", help="A check, or what to try where."),
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: FileOption = DEFAULT_FILE,
) -> None:
    """List the ready-made checks. With a name, show its file. With try, run it once and show each step.

    ADDRESS is a real server with its port; a check whose file has a port needs none. A type of check, such as http, can
    be tried too. KEY=VALUE changes a key of the check, as in the configuration: 'query="example.org"'. Exit status: 1
    the check cannot be used, 2 wrong usage, 3 the server is down, or a fault on this host left its state unknown.
    """
    shelf = Shelf(search_path(str(config)))
    match words or []:
        case []:
            _list(shelf, json=json)
        case [name]:
            _explain(name, _found(shelf, name), json=json)
        case [word, name, address, *keys] if word == _TRY:
            _try(shelf, name, _aimed(address), keys, file=str(config), json=json)
        case _:
            end("checks", f"usage: {_USAGE}", ExitStatus.USAGE)


def _found(shelf: Shelf, name: str) -> ReadyMade:
    found = shelf.find(name)
    if found is None:
        _unknown(shelf, name)
    if shelf.errors:
        for error in shelf.errors:
            typer.echo(error, err=True)
        raise typer.Exit(ExitStatus.FAILED)
    return found


def _unknown(shelf: Shelf, name: str) -> NoReturn:
    guess = did_you_mean(name, shelf.names()) or "see: lvs-healthd checks"
    end("checks", f'no ready-made check "{printable(name)}"; {guess}', ExitStatus.USAGE)


def _listed(name: str, found: ReadyMade) -> ListedCheck:
    least = duration_text(found.floor.interval) if found.floor else ""
    return ListedCheck(name, found.kind, found.description, str(found.path), least)


def _list(shelf: Shelf, *, json: bool) -> None:
    listed = [_listed(name, found) for name in shelf.names() if (found := shelf.find(name)) is not None]
    if json:
        _print_json(listed)
    else:
        typer.echo(rows([(each.name, each.type, each.description) for each in listed]), nl=False)
    for error in shelf.errors:
        typer.echo(error, err=True)
    if shelf.errors:
        raise typer.Exit(ExitStatus.FAILED)


def _explain(name: str, found: ReadyMade, *, json: bool) -> None:
    if json:
        _print_json(_listed(name, found))
    else:
        typer.echo(f"# {found.path}\n{read_text(found.path)}", nl=False)


def _try(shelf: Shelf, name: str, target: tuple[str, str], keys: Sequence[str], *, file: str, json: bool) -> None:
    if name not in CHECK_TYPES:
        _found(shelf, name)
    server, port = target
    written = ", ".join((f'type = "{name}"', *([f"port = {port}"] if port else []), *keys))
    # The mark lets the service be without an address, and direct routing lets the server be anywhere.
    service = f'[[service]]\nname = "{_TRY}"\nfwmark = 1\nforward = "dr"\nreal_server = ["{server}"]'
    text = f"{service}\ncheck = {{ {written} }}\n"
    try:
        (check,) = parse(text, file).services[0].real_servers[0].checks
        trial = tried(check)
    except ConfigError as error:
        if not port and any("port is missing" in each for each in error.errors):
            end("checks", f"which port? lvs-healthd checks try {name} {server}:PORT", ExitStatus.USAGE)
        end("checks", "; ".join(each.removeprefix(f'{file}:6: service "{_TRY}": ') for each in error.errors))
    except OSError as error:
        end("checks", f"a file that the check needs cannot be read: {error}")
    if json:
        outcome, course = trial.result
        result = {"status": outcome.kind, "reason": outcome.reason, "detail": outcome.detail}
        _print_json(result | {"latency_s": course.total_s, "course": course, "steps": trial.entries})
    else:
        _show(trial)
    if trial.result.outcome.kind is not OutcomeKind.UP:
        raise typer.Exit(ExitStatus.TROUBLE)


def _aimed(address: str) -> tuple[str, str]:
    """Split "192.0.2.1:80", "[2001:db8::1]:80" or an address alone into the address and the port ("" for none)."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or (":" in host and not host.endswith("]")):
        host, port = address, ""
    host = host.removeprefix("[").removesuffix("]")
    return f"[{host}]" if ":" in host else host, port


def _show(trial: Trial) -> None:
    for entry in trial.entries:
        typer.echo(f"{entry.at_s * 1000:8.1f} ms  {printable(entry.what)}")
    outcome = trial.result.outcome
    typer.echo(f"{outcome.kind}: {printable(outcome.detail)} ({course_in_words(trial.result.course)})")


def _print_json(value: object) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
