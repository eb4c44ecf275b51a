"""`lvs-healthd fleet`: puts the services that directors share into etcd, gets them from there, or compares them."""

import asyncio
import enum
import getpass
import socket
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import msgspec
import typer

from lvs_healthd.cli.asking import FileOption, end
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.cli.loading import remembered
from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.load import DEFAULT_FILE, about_store, read_files, relist
from lvs_healthd.config.parts import Whole
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.config.stored import FOLDER
from lvs_healthd.config.stored_files import (
    Bodies,
    Difference,
    SharedFile,
    bodies_of,
    content,
    differences,
    file_of,
    shared_file,
)
from lvs_healthd.config.text import read_text
from lvs_healthd.daemon.store_asked import asked, client_of
from lvs_healthd.runtime.printable import printable
from lvs_healthd.store.client import Ask, Client, Compare, Delete, Put, prefix_end
from lvs_healthd.store.errors import RefusedError, StoreError, UnansweredError

_VERB = "fleet"

_WRITER = "last-put"
"""The key, after the prefix, that says who has put services last. It changes with every put."""

_STDIN = "-"


class Action(enum.StrEnum):
    """What to do."""

    PUT = "put"
    GET = "get"
    DIFF = "diff"


def fleet(
    action: Annotated[Action, typer.Argument(metavar="put|get|diff", help="What to do.")],
    file: Annotated[
        str,
        typer.Argument(
            metavar="[FILE]", help="Services, pools and checks as in a configuration; - for standard input."
        ),
    ] = "",
    *,
    delete: Annotated[bool, typer.Option("--delete", help="With put: delete from etcd what is not in FILE.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: FileOption = DEFAULT_FILE,
) -> None:
    """Put the services of FILE into the etcd that directors share, all at once, or get them as such a file.

    FILE is validated first, together with this director's own configuration. What the daemon would refuse is not put,
    nor are secrets or checks that run programs. The put is refused if somebody else has changed something meanwhile, or
    since FILE was made by get. Directors follow within a second.

    With diff, show how FILE differs from what is in etcd; without FILE, how what is in etcd differs from what this
    director's daemon has in force.

    Exit status: 0 done, or no difference, 1 refused, or etcd does not answer, 2 wrong usage, 3 there are differences.
    """
    takes_file = {Action.PUT: bool(file), Action.GET: not file, Action.DIFF: True}
    if not takes_file[action] or (delete and action is not Action.PUT):
        end(_VERB, "usage: lvs-healthd fleet put FILE [--delete], fleet get, or fleet diff [FILE]", ExitStatus.USAGE)
    try:
        files = read_files(config)
        settings, _ = about_store(files)
        if not settings.store:
            relist(files, LastReading(), None)  # which tells what is wrong with it
            end(_VERB, f'{config}: no etcd: write store = "https://etcd1.example.net:2379" below [fleet]')
        match action:
            case Action.GET:
                _get(settings, json=json)
            case Action.DIFF:
                _diff(files, settings, file, json=json)
            case Action.PUT:
                _put(files, settings, file, delete=delete, json=json)
    except ConfigError as error:
        for line in error.errors:
            typer.echo(line, err=True)
        raise typer.Exit(ExitStatus.FAILED) from None
    except UnansweredError as error:
        end(_VERB, f"{error}; [fleet] store in {config} says where etcd is")
    except StoreError as error:
        end(_VERB, str(error))


def _get(settings: Fleet, *, json: bool) -> None:
    stored = asyncio.run(asked(settings))
    bodies, errors = bodies_of(stored)
    for error in errors:
        typer.echo(f"left out: {error}", err=True)
    if json:
        typer.echo(msgspec.json.encode({"revision": stored.revision, "keys": bodies}).decode())
    else:
        typer.echo(file_of(bodies, stored.revision), nl=False)
    if errors:
        raise typer.Exit(ExitStatus.FAILED)


def _diff(files: Whole, settings: Fleet, file: str, *, json: bool) -> None:
    stored = asyncio.run(asked(settings))
    now, errors = bodies_of(stored)
    for error in errors:
        typer.echo(error, err=True)
    if file:
        found = differences(now, _read(file).bodies)
        if found and not json:
            typer.echo(f"{file} against etcd {settings.prefix} at revision {stored.revision}:")
    else:
        known = remembered(_VERB, files)
        if known is None:
            end(_VERB, "so there is nothing to compare with; name a FILE")
        found = differences(bodies_of(known)[0], now)
        if found and not json:
            at = f"revision {stored.revision} against revision {known.revision}, which is in force here"
            typer.echo(f"etcd {settings.prefix} at {at}:")
    _show(found, json=json, nothing="no difference")
    if found or errors:
        raise typer.Exit(ExitStatus.TROUBLE)


def _read(file: str) -> SharedFile:
    if file == _STDIN:
        return shared_file(sys.stdin.read(), "standard input")
    return shared_file(read_text(Path(file)), file)


def _put(files: Whole, settings: Fleet, file: str, *, delete: bool, json: bool) -> None:
    shared = _read(file)
    relist(shared.beside(files), LastReading(), None)  # raises what the daemon would refuse
    found = asyncio.run(_written(settings, shared, delete=delete))
    _show(found, json=json, nothing="nothing to change")


async def _written(settings: Fleet, shared: SharedFile, *, delete: bool) -> list[Difference]:
    """Write what is different, all at once. Return that."""
    stored = await asked(settings)
    nothing: Bodies = {key.removeprefix(settings.prefix + FOLDER): {} for key in stored.values}
    found = differences({**nothing, **bodies_of(stored)[0]}, shared.bodies)  # a wrong key says nothing
    unlisted = [each.key for each in found if each.how == "deleted"]
    if unlisted and not delete:
        names = printable(", ".join(unlisted))
        end(
            _VERB,
            f"etcd has what {shared.part.file} lacks: {names}; to delete that, add --delete; to keep it, "
            "begin with `lvs-healthd fleet get`",
        )
    if not found:
        return []
    client = client_of(settings)
    folder, writer = f"{settings.prefix}{FOLDER}".encode(), f"{settings.prefix}{_WRITER}".encode()
    revision = shared.revision or stored.revision
    operations: list[Put | Delete] = [Put(writer, _signature())]
    for each in found:
        key = f"{settings.prefix}{FOLDER}{each.key}".encode()
        operations.append(Delete(key) if each.how == "deleted" else Put(key, content(shared.bodies[each.key])))
    added = {f"{settings.prefix}{FOLDER}{each.key}".encode() for each in found if each.how == "added"}
    try:
        if gone := added & await _known_at(client, folder, shared.revision):
            _refuse(shared, f"; deleted since then: {printable(', '.join(sorted(key.decode() for key in gone)))}")
        # Nobody may have written a key since, nor put anything, which may have been a deletion.
        unchanged = [Compare(folder, revision, prefix_end(folder)), Compare(writer, revision)]
        done = await client.transact(unchanged, operations, Ask(folder, prefix_end(folder)))
    except UnansweredError as error:
        end(_VERB, f"{error}; whether it was written is not known: `lvs-healthd fleet diff FILE` tells")
    finally:
        await client.close()
    if not done.succeeded:
        _refuse(shared)
    listed = done.responses[-1].response_range if done.responses else None
    missing = {f"{settings.prefix}{FOLDER}{key}".encode() for key in shared.bodies}
    missing -= {each.key for each in (listed.kvs if listed is not None else ())}
    if missing:
        names = printable(", ".join(sorted(key.decode() for key in missing)))
        end(_VERB, f"written, but somebody has deleted {names} meanwhile; put it again if that is wrong")
    return found


def _refuse(shared: SharedFile, more: str = "") -> NoReturn:
    """End, because somebody else has changed something."""
    since = f"since revision {shared.revision}, of which {shared.part.file} is" if shared.revision else "meanwhile"
    end(
        _VERB,
        f"refused, because somebody has changed services {since}: see `lvs-healthd fleet diff FILE`; then "
        f"begin again with `lvs-healthd fleet get`, or leave out the first line of FILE{more}",
    )


async def _known_at(client: Client, folder: bytes, revision: int) -> frozenset[bytes]:
    """Return the keys that etcd had at a revision; none if it has forgotten that by a compaction.

    revision: 0 for one that is not known.
    """
    if not revision:
        return frozenset()
    try:
        found = await client.range(folder, prefix_end(folder), at=revision)
    except RefusedError:
        return frozenset()
    return frozenset(each.key for each in found.kvs)


def _signature() -> bytes:
    """Return who puts something, for whoever looks into etcd."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "?"
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return msgspec.json.encode({"by": f"{user}@{socket.gethostname()}", "at": at})


def _show(found: list[Difference], *, json: bool, nothing: str) -> None:
    if json:
        lines = [{"how": each.how, "key": each.key, "fields": each.fields} for each in found]
        typer.echo(msgspec.json.encode(lines).decode())
    else:
        typer.echo("\n".join(printable(str(each)) for each in found) or nothing)
