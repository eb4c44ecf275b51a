"""`lvs-healthd flush`: removes from the kernel's IPVS table what lvs-healthd has put there, and nothing else."""

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from lvs_healthd.cli.asking import FileOption, end
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.cli.table_kind import TableKind, TableOption
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import DEFAULT_FILE
from lvs_healthd.config.model import Daemon, Ipvs
from lvs_healthd.config.parts import whole_file
from lvs_healthd.director.announced import Place, write
from lvs_healthd.director.rules import remove_rules
from lvs_healthd.ipvs.diff import diff, update
from lvs_healthd.ipvs.interface import IpvsTable
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.records import Operation, Table, Verb, Wanted
from lvs_healthd.ipvs.refusals import GONE_ANYWAY
from lvs_healthd.reconcile.ownership import Ownership
from lvs_healthd.runtime.exceptions import HealthdError
from lvs_healthd.runtime.lock import AlreadyRunningError, lock_table
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.state.file import Saved, SavedPlace, read_state, write_state

_NOTHING = Wanted({}, {}, {})


def flush(
    *,
    config: FileOption = DEFAULT_FILE,
    table: TableOption = TableKind.KERNEL,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete our services and their servers from the kernel's table. Foreign services are not touched.

    Our services are those that lvs-healthd has made or taken over; its state file lists them. The nftables table
    lvs_healthd is deleted too. Addresses that the daemon announces are taken off their interfaces first. A service that
    also has somebody else's servers (foreign_servers = "keep") stays, with those servers. The daemon must be stopped
    first: it would put everything back. Exit status: 1 the deletion failed or was not confirmed, 2 there is no terminal
    on which to confirm it: add --yes.
    """
    if table is TableKind.MEMORY:
        typer.echo("nothing of ours is in the table: one in memory ends with its daemon")
        return
    state, netns = _places(config)
    try:
        with lock_table(netns):
            saved = read_state(state, put_aside=False)
            asyncio.run(_flush(IpvsClient(netns=netns), netns, state, saved, ask=not yes))
            if remove_rules(netns):
                typer.echo("nftables table lvs_healthd deleted")
    except AlreadyRunningError as error:
        end("flush", f"{error}".partition(";")[0] + "; stop it first: systemctl stop lvs-healthd")
    except HealthdError as error:
        end("flush", str(error))


def _places(config: Path) -> tuple[Path, Netns]:
    """Return the state file's path and the network namespace.

    A broken configuration ends the command. A guess would be dangerous, because the two decide what is deleted.
    """
    try:
        document = whole_file(config).document
    except ConfigError as error:
        end("flush", str(error))
    state = _string(config, document, "daemon", "state", Daemon().state)
    return Path(state), Netns(_string(config, document, "ipvs", "netns", Ipvs().netns))


def _string(config: Path, document: dict[str, Any], table: str, key: str, default: str) -> str:
    section = document.get(table, {})
    found = section.get(key, default) if isinstance(section, dict) else None
    if not isinstance(found, str):
        end("flush", f"{config}: {table}.{key} is not a string")
    return found


async def _flush(table: IpvsTable, netns: Netns, state: Path, saved: Saved, *, ask: bool) -> None:
    ours = Ownership()
    ours.take_over(saved)
    try:
        await table.open()
        present = await table.read_services(saved.owned)
        operations = diff({}, present, ours.services, ours.servers)
        places = [Place(each.interface, each.address) for each in saved.announced]
        if not operations and not places:
            typer.echo("nothing of ours is in the table")
            return
        _confirm(present, operations, places, ask=ask)
        # First of all, so that clients go to another director while this one still serves them.
        still_there = await asyncio.to_thread(write, netns, (), places) if places else {}
        results = await table.apply(operations)
    finally:
        table.close()
    before, failed = len(present), [*still_there.values()]
    for operation, result in zip(operations, results, strict=True):
        if result.ok or (operation.verb, result.errno) in GONE_ANYWAY:
            update(present, operation)
            ours.wrote(operation, _NOTHING)
        else:
            failed.append(f"{_name(operation)}: {result.message or f'errno {result.errno}'}")
    # A service that is gone is no longer recorded as the daemon's own, because somebody else may add the same service.
    ours.give_up_gone(_NOTHING, present)
    # The kernel remembers for some minutes where the datagrams of path probes went, so their ports stay reserved.
    kept = msgspec.structs.replace(
        ours.saved(),
        path_marks=saved.path_marks,
        path_ports=saved.path_ports,
        maintenance=saved.maintenance,
        announced=tuple(SavedPlace(*place) for place in still_there),
    )
    write_state(state, kept, saved.verdicts, saved.written)
    typer.echo(f"{_count(before - len(present), 'service')} deleted")
    if failed:
        end("flush", "\n".join(failed))


def _confirm(present: Table, operations: list[Operation], places: list[Place], *, ask: bool) -> None:
    for place in places:
        typer.echo(f"{place.address} on {place.interface}, from which BGP announces it")
    going = {operation.service.key for operation in operations if operation.verb is Verb.DELETE_SERVICE}
    removed = Counter(operation.service.key for operation in operations if operation.destination is not None)
    touched = [key for key in present if key in going or key in removed]
    for key in touched:
        servers = len(present[key].destinations)
        if key in going:
            typer.echo(f"{key}: {_count(servers, 'server')}")
        else:
            theirs = servers - removed[key]
            typer.echo(f"{key}: {_count(removed[key], 'server')}; it stays, with {theirs} of somebody else's")
    if not ask:
        return
    if not _is_somebody_there():
        end("flush", "nobody to ask: use --yes to delete these", ExitStatus.USAGE)
    if not typer.confirm(f"Delete {'it' if len(touched) == 1 else 'them'} from the kernel's table?"):
        raise typer.Exit(ExitStatus.FAILED)


def _name(operation: Operation) -> str:
    server = f" {operation.destination.key}" if operation.destination is not None else ""
    return f"{operation.service.key}{server}"


def _is_somebody_there() -> bool:
    return sys.stdin.isatty()


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
