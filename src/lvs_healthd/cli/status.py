"""`lvs-healthd status`: asks the running daemon for the health of every real server."""

import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from lvs_healthd.cli import draw_status as status_table
from lvs_healthd.cli.asking import (
    ConfigOption,
    ControlError,
    ControlOption,
    ExitStatus,
    RunningDaemon,
    decoded,
    end,
    explained,
    say,
)
from lvs_healthd.view.status_values import Status

DEFAULT_WATCH_S = 2.0


def status(
    seconds: Annotated[
        float | None,
        typer.Argument(help="With --watch: how often to ask.", min=0.1, show_default=f"{DEFAULT_WATCH_S:g}"),
    ] = None,
    *,
    config: ConfigOption = None,
    control: ControlOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat until Ctrl-C.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with status 3 if anything is wrong.")] = False,
) -> None:
    """Ask the running daemon for the health of every real server.

    Exit status: 0 answered, 2 wrong usage, 4 no daemon was reached, 3 with --check: a real server is down, a
    service is left without one, the table or a setting cannot be written, somebody else undoes our writes, probes
    cannot tell, or the last reload was rejected.
    """
    if seconds is not None and not watch:
        end("status", "SECONDS only goes with --watch", ExitStatus.USAGE)
    if watch and check:
        end("status", "--check asks once, --watch never ends: use one of them", ExitStatus.USAGE)
    with explained("status"):
        daemon = RunningDaemon("status", config, control)
        if watch:
            _watch(lambda: daemon.get("/api/v1/status"), seconds or DEFAULT_WATCH_S, json=json)
            return
        body = daemon.get("/api/v1/status")
        answer = decoded(body, Status)
    _show(body, answer, json=json)
    if check and (wrong := status_table.troubles(answer)):
        end("status", f"{len(wrong)} wrong: {'; '.join(wrong)}", ExitStatus.TROUBLE)


def _show(body: bytes, answer: Status, *, json: bool) -> None:
    console = Console(highlight=False)
    if json:
        typer.echo(body.decode())
    elif console.is_terminal:
        console.print(status_table.draw(answer, time.time()))
    else:
        typer.echo(status_table.plain(answer, time.time()), nl=False)


def _watch(ask: Callable[[], bytes], seconds: float, *, json: bool) -> None:
    """Ask until Ctrl-C, and keep asking while the daemon is away for a restart."""
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
                _show(body, decoded(body, Status), json=json)
            except ControlError as error:
                say("status", str(error))
            time.sleep(seconds)
    except KeyboardInterrupt:
        return


def _drawn(ask: Callable[[], bytes]) -> RenderableType:
    try:
        return status_table.draw(decoded(ask(), Status), time.time())
    except ControlError as error:
        return Text(str(error), style="bold red")
