"""`lvs-healthd probe`: runs every check of a configuration once, without a daemon and without touching IPVS."""

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.load import DEFAULT_FILE, load
from lvs_healthd.config.model import AnyCheck, Config
from lvs_healthd.probes.outcome import OutcomeKind
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.probing.descriptors import probes_within_limit, raise_descriptor_limit
from lvs_healthd.probing.once import ProbeResult, run_once
from lvs_healthd.runtime.printable import printable

EXIT_DOWN = 1
EXIT_UNSURE = 3

_COLOURS = {OutcomeKind.UP: "green", OutcomeKind.DOWN: "red", OutcomeKind.UNSURE: "yellow"}


class ProbeLine(msgspec.Struct, frozen=True):
    """One line of the output: what one check of one real server found."""

    service: str
    server: str
    check: str
    status: OutcomeKind
    reason: str
    detail: str
    latency_s: float


def probe(
    file: Annotated[Path, typer.Argument(help="The configuration file.", readable=False)] = DEFAULT_FILE,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run every check once and show what it found.

    Exit status: 0 all are up, 1 some are down or the file has errors, 3 none is down but some could not be told (a
    fault on this host).
    """
    try:
        config = load(file)
        raise_descriptor_limit()
        room = probes_within_limit(config.daemon.max_probes)
        probed = asyncio.run(run_once(_checks(config), max_in_flight=room))
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_DOWN) from None
    except OSError as error:
        typer.echo(f"{file}: a check's ca cannot be used: {error}", err=True)
        raise typer.Exit(EXIT_DOWN) from None
    found = list(_found(config, probed))
    if json:
        typer.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _show(found)
    statuses = {each.status for each in found}
    if OutcomeKind.DOWN in statuses:
        raise typer.Exit(EXIT_DOWN)
    if OutcomeKind.UNSURE in statuses:
        raise typer.Exit(EXIT_UNSURE)


def _checks(config: Config) -> list[AnyCheck]:
    return [check for service in config.services for server in service.real_servers for check in server.checks]


def _found(config: Config, probed: dict[AnyCheck, ProbeResult]) -> list[ProbeLine]:
    return [
        ProbeLine(
            service.name,
            str(server.endpoint),
            check.name,
            (outcome := (each := probed[probe_key(check)]).outcome).kind,
            outcome.reason,
            printable(outcome.detail),
            round(each.latency_s, 6),
        )
        for service in config.services
        for server in service.real_servers
        for check in server.checks
    ]


def _show(found: list[ProbeLine]) -> None:
    table = Grid(box=None, pad_edge=False, header_style="bold")
    for heading in ("SERVICE", "REAL SERVER", "CHECK", "OUTCOME"):
        table.add_column(heading, overflow="fold")
    table.add_column("LATENCY", justify="right", no_wrap=True)
    table.add_column("DETAIL", overflow="fold")
    for each in found:
        table.add_row(
            Text(each.service),
            Text(each.server),
            Text(each.check),
            Text(each.status, style=_COLOURS[each.status]),
            f"{each.latency_s * 1000:.1f} ms",
            Text(each.detail),
        )
    console = Console()
    if not console.is_terminal:
        # In a pipe, lines are never wrapped, so that grep finds whole ones.
        console = Console(width=10_000)
    console.print(table)
