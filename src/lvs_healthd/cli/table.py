"""`lvs-healthd table`: shows the kernel's IPVS table as the running daemon last read it, beside the wanted one."""

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Annotated
from urllib.parse import quote

import msgspec
import typer
from rich.console import Console

from lvs_healthd.cli import draw_table as table_lines
from lvs_healthd.cli.asking import (
    TIMEOUT_S,
    AllOption,
    ConfigOption,
    ControlError,
    ControlOption,
    RefusedError,
    RunningDaemon,
    decoded,
    end,
    explained,
)
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.ipvs.kernel.connections import Connection, decode
from lvs_healthd.view.table_values import Listing

CONNECTIONS_TIMEOUT_S = 60.0
"""How long to wait for each piece of the list of connections, seconds. If the list has a million connections, the
kernel is slow near its end."""

_MEASURED = 500
"""The number of connections from which the widths of the columns are computed. The list is in no particular order, so
the first ones are a fair sample."""
_WIDEST = 1000
_NOT_FOUND = 404


def table(
    service: Annotated[
        str, typer.Argument(help='Only this service: its name, its address, or "fwmark N".', show_default="all")
    ] = "",
    *,
    stats: Annotated[
        bool, typer.Option("--stats", help="Connections, packets and bytes since each was added.")
    ] = False,
    rate: Annotated[bool, typer.Option("--rate", help="The same per second, from the kernel's estimators.")] = False,
    connections: Annotated[bool, typer.Option("--connections", help="The connections that exist now.")] = False,
    exact: Annotated[
        bool, typer.Option("--exact", help="Whole numbers instead of scaled ones; always so in a pipe.")
    ] = False,
    everything: AllOption = False,
    config: ConfigOption = None,
    control: ControlOption = None,
    json: Annotated[
        bool, typer.Option("--json", help="The daemon's answer as JSON; connections as one object per line.")
    ] = False,
) -> None:
    """Show the kernel's IPVS table as the daemon last read it, beside the wanted one.

    Exit status: 0 answered, 1 refused, 2 wrong usage or no such service, 4 no daemon was reached.
    """
    if stats + rate + connections > 1:
        end("table", "--stats, --rate and --connections are three views: use one of them", ExitStatus.USAGE)
    endpoint = "/api/v1/connections" if connections else "/api/v1/table"
    asked_for = [f"service={quote(service, safe='')}"] if service else []
    asked_for += ["all"] if everything and not connections else []
    query = f"?{'&'.join(asked_for)}" if asked_for else ""
    counters = table_lines.STATS if stats else table_lines.RATE if rate else ()
    with explained("table"):
        asked = RunningDaemon("table", config, control)
        body = asked.pieces(endpoint + query, timeout_s=CONNECTIONS_TIMEOUT_S if connections else TIMEOUT_S)
        try:
            if connections:
                _show_connections(_connections(body), json=json)
            else:
                _show(b"".join(body), counters, exact=exact, json=json)
        except RefusedError as error:
            if error.code == _NOT_FOUND and error.why:
                end("table", error.why, ExitStatus.USAGE)
            raise


def _show(body: bytes, counters: table_lines.Counters, *, exact: bool, json: bool) -> None:
    answer = decoded(body, Listing)
    console = Console(highlight=False)
    if json:
        typer.echo(body.decode())
    elif console.is_terminal:
        drawn = table_lines.draw(answer, time.time(), counters, exact=exact)
        if exact:  # draw wide lines, which a narrow terminal wraps, so that no number is cut
            console.width = max(
                console.width, console.measure(drawn, options=console.options.update(max_width=_WIDEST)).maximum
            )
        console.print(drawn)
    else:
        typer.echo(table_lines.plain(answer, time.time(), counters), nl=False)


def _show_connections(found: Iterator[Connection], *, json: bool) -> None:
    if json:
        for connection in found:
            typer.echo(msgspec.json.encode(connection).decode())
        return
    first = [table_lines.CONNECTION_HEADINGS, *map(table_lines.connection, itertools.islice(found, _MEASURED))]
    widths = [max(map(len, column)) for column in zip(*first, strict=True)]
    for row in itertools.chain(first, map(table_lines.connection, found)):
        typer.echo("  ".join(map(str.ljust, row, widths)).rstrip())


def _connections(body: Iterable[bytes]) -> Iterator[Connection]:
    rest = b""
    for piece in body:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            try:
                yield decode(line)
            except ValueError as error:
                raise ControlError(f"cannot understand a line from the kernel: {line!r} ({error})") from error
