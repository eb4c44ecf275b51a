"""`lvs-healthd status`: asks the running daemon for the health of every real server."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from lvs_healthd.cli import draw_status as status_table
from lvs_healthd.cli.asking import ControlError, find_socket, get
from lvs_healthd.view.status_values import Status

EXIT_UNREACHABLE = 1
EXIT_USAGE = 2
EXIT_TROUBLE = 3

DEFAULT_FILE = Path("/etc/lvs-healthd/config.toml")
DEFAULT_WATCH_S = 2.0


def status(
    seconds: Annotated[
        float | None,
        typer.Argument(help="With --watch: how often to ask.", min=0.1, show_default=f"{DEFAULT_WATCH_S:g}"),
    ] = None,
    *,
    config: Annotated[
        Path | None,
        typer.Option(help="Configuration file that names the control socket.", show_default=str(DEFAULT_FILE)),
    ] = None,
    control: Annotated[str | None, typer.Option(help="The control socket; overrides the configuration's.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat until Ctrl-C.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with status 3 if anything is wrong.")] = False,
) -> None:
    """Ask the running daemon for the health of every real server.

    Exit status: 0 answered, 1 the daemon cannot be reached, 2 wrong usage, 3 with --check: a real server is down, a
    service is left without one, the table or a setting cannot be written, somebody else undoes our writes, probes
    cannot tell, or the last reload was rejected.
    """
    if seconds is not None and not watch:
        typer.echo("lvs-healthd status: SECONDS only goes with --watch", err=True)
        raise typer.Exit(EXIT_USAGE)
    if watch and check:
        typer.echo("lvs-healthd status: --check asks once, --watch never ends: use one of them", err=True)
        raise typer.Exit(EXIT_USAGE)
    path, remark = (control, "") if control else find_socket(config or DEFAULT_FILE, explicit=config is not None)
    if remark:
        typer.echo(f"lvs-healthd status: {remark}", err=True)
    if watch:
        _watch(lambda: get(path, "/api/v1/status"), seconds or DEFAULT_WATCH_S, json=json)
        return
    try:
        body = get(path, "/api/v1/status")
        answer = _decode(body)
    except ControlError as error:
        typer.echo(f"lvs-healthd status: {error}", err=True)
        raise typer.Exit(EXIT_UNREACHABLE) from None
    _show(body, answer, json=json)
    if check and (wrong := status_table.troubles(answer)):
        typer.echo(f"lvs-healthd status: {len(wrong)} wrong: {'; '.join(wrong)}", err=True)
        raise typer.Exit(EXIT_TROUBLE)


def _decode(body: bytes) -> Status:
    try:
        return msgspec.json.decode(body, type=Status)
    except msgspec.DecodeError as error:
        raise ControlError(f"cannot understand the daemon's answer: is it a different version? ({error})") from error


def _show(body: bytes, answer: Status, *, json: bool) -> None:
    console = Console(highlight=False)
    if json:
        typer.echo(body.decode())
    elif console.is_terminal:
        console.print(status_table.draw(answer, time.time()))
    else:
        typer.echo(status_table.plain(answer, time.time()), nl=False)


def _watch(ask: Callable[[], bytes], seconds: float, *, json: bool) -> None:
    """Ask and show the answer again and again until Ctrl-C, even while the daemon is down for a restart."""
    console = Console(highlight=False)
    try:
        if console.is_terminal and not json:
            with Live(console=console, screen=True, auto_refresh=False) as live:
                while True:
                    live.update(_drawn(ask), refresh=True)
                    time.sleep(seconds)
        while True:
            try:
                body = ask()
                _show(body, _decode(body), json=json)
            except ControlError as error:
                typer.echo(f"lvs-healthd status: {error}", err=True)
            time.sleep(seconds)
    except KeyboardInterrupt:
        return


def _drawn(ask: Callable[[], bytes]) -> RenderableType:
    try:
        return status_table.draw(_decode(ask()), time.time())
    except ControlError as error:
        return Text(str(error), style="bold red")
