"""`lvs-healthd flush`: takes what is ours out of the kernel's IPVS table, and nothing else."""

import asyncio
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from lvs_healthd.config.load import DEFAULT_FILE
from lvs_healthd.config.model import Daemon, Ipvs
from lvs_healthd.director.aspect import SettingError
from lvs_healthd.director.rules import remove_rules
from lvs_healthd.ipvs.client import IpvsClient
from lvs_healthd.ipvs.interface import IpvsTable, TableUnavailableError
from lvs_healthd.ipvs.records import Operation, Result, Table, Verb
from lvs_healthd.lock import AlreadyRunningError, lock_table
from lvs_healthd.netns import Netns, NetnsError
from lvs_healthd.state import Ours, Saved, StateFileError, read_state, write_state

EXIT_FAILED = 1
EXIT_NOT_CONFIRMED = 2


def flush(
    *,
    config: Annotated[Path, typer.Option(help="Configuration file that names the state file.")] = DEFAULT_FILE,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete the services that are ours from the kernel's table, with their servers; foreign ones are not touched.

    Ours are those that lvs-healthd has made or taken over, as its state file has it, and the nftables table
    lvs_healthd. The daemon must be stopped, for it would put them back. Exit status: 1 it could not be done, 2 it was
    not confirmed.
    """
    state, netns = _places(config)
    try:
        with lock_table(netns):
            saved = read_state(state, put_aside=False)
            asyncio.run(_flush(IpvsClient(netns=netns), state, saved, ask=not yes))
            if remove_rules(netns):
                typer.echo("nftables table lvs_healthd deleted")
    except AlreadyRunningError as error:
        _end(f"{error}".partition(";")[0] + "; stop it first: systemctl stop lvs-healthd")
    except (StateFileError, TableUnavailableError, NetnsError, SettingError) as error:
        _end(str(error))


def _places(config: Path) -> tuple[Path, Netns]:
    """Return the state file's path, and the network namespace. No guess: what is deleted depends on them."""
    try:
        document = tomllib.loads(config.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        _end(f"{config}: {getattr(error, 'strerror', None) or error}")
    state = _string(config, document, "daemon", "state", Daemon().state)
    return Path(state), Netns(_string(config, document, "ipvs", "netns", Ipvs().netns))


def _string(config: Path, document: dict[str, Any], table: str, key: str, default: str) -> str:
    section = document.get(table, {})
    found = section.get(key, default) if isinstance(section, dict) else None
    if not isinstance(found, str):
        _end(f"{config}: {table}.{key} is not a string")
    return found


async def _flush(table: IpvsTable, state: Path, saved: Saved, *, ask: bool) -> None:
    try:
        await table.open()
        present = await table.read_services(saved.owned)
        if not present:
            typer.echo("nothing of ours is in the table")
            return
        _confirm(present, ask=ask)
        operations = [Operation(Verb.DELETE_SERVICE, each.service, was=each.service) for each in present.values()]
        results = await table.apply(operations)
    finally:
        table.close()
    failed = [(operation, result) for operation, result in zip(operations, results, strict=True) if not result.ok]
    # What is gone is not ours any more, should somebody else make the like of it.
    write_state(state, Ours(frozenset(operation.service.key for operation, _ in failed)), saved.verdicts)
    typer.echo(f"{_count(len(operations) - len(failed), 'service')} deleted")
    if failed:
        _end("\n".join(f"{operation.service.key}: {_why(result)}" for operation, result in failed))


def _confirm(present: Table, *, ask: bool) -> None:
    for key, entry in present.items():
        typer.echo(f"{key}: {_count(len(entry.destinations), 'server')}")
    if not ask:
        return
    if not _is_somebody_there():
        _end("nobody to ask: say --yes to delete these", status=EXIT_NOT_CONFIRMED)
    if not typer.confirm(f"Delete {'it' if len(present) == 1 else 'them'} from the kernel's table?"):
        raise typer.Exit(EXIT_NOT_CONFIRMED)


def _is_somebody_there() -> bool:
    return sys.stdin.isatty()


def _why(result: Result) -> str:
    return result.message or f"errno {result.errno}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _end(message: str, *, status: int = EXIT_FAILED) -> NoReturn:
    typer.echo(f"lvs-healthd flush: {message}", err=True)
    raise typer.Exit(status)
