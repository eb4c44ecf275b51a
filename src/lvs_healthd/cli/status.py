"""`lvs-healthd status`: asks the running daemon for the health of every real server."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated, NoReturn, Protocol, runtime_checkable

import msgspec
import typer
from rich.console import Console, RenderableType
from typer.core import TyperCommand

from lvs_healthd.cli import draw_status as status_table
from lvs_healthd.cli.asking import (
    ConfigOption,
    ControlError,
    ControlOption,
    NagiosStatus,
    RunningDaemon,
    decoded,
    end,
    explained,
    say,
)
from lvs_healthd.cli.choosing import DownOption, WhatArgument, chosen
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.cli.trouble import LONGEST_LINE, troubles, verdict_line
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.override_values import OverrideValues
from lvs_healthd.view.status_values import Status
from lvs_healthd.view.words import ago, alarms, is_bad, notices, shortage

DEFAULT_WATCH_S = 2.0

_PATH = "/api/v1/status"


@runtime_checkable
class _Exiting(Protocol):
    """An exception of the command line's parser. It carries the exit status."""

    exit_code: int


class Command(TyperCommand):
    """Parses the verb's command line. With --check, wrong usage also ends in a line and a status that Nagios knows."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse the arguments. With --check, wrong usage exits with UNKNOWN."""
        is_check = "--check" in args
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if is_check and isinstance(error, _Exiting) and error.exit_code == ExitStatus.USAGE:
                typer.echo(_nagios_line(NagiosStatus.UNKNOWN, str(error)))
                error.exit_code = NagiosStatus.UNKNOWN
            raise


def status(
    what: WhatArgument = None,
    *,
    down: DownOption = False,
    check: Annotated[
        bool, typer.Option("--check", help="One line, and the exit statuses of Nagios: 0 OK, 1 WARNING, 2 CRITICAL.")
    ] = False,
    overrides: Annotated[
        bool, typer.Option("--overrides", help="What operators have ordered: drain, disable, weight, files.")
    ] = False,
    watch: Annotated[
        bool,
        typer.Option("--watch", help="A live screen with keys to filter and scroll; with --json: repeat until Ctrl-C."),
    ] = False,
    every: Annotated[
        float | None,
        typer.Option(help="With --watch: how often to ask, seconds.", min=0.1, show_default=f"{DEFAULT_WATCH_S:g}"),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")] = False,
    config: ConfigOption = None,
    control: ControlOption = None,
) -> None:
    """Ask the running daemon for the health of every real server, or only of the named ones.

    Exit status: 0 all is well, 1 refused, 2 wrong usage, 3 trouble: a real server is down, a service is left without
    one, the table, a setting or the state cannot be written, somebody else undoes our writes, probes cannot tell, or
    the last reload was rejected; 4 no daemon was reached. With --check: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN. With
    --watch: 0 at the end, 2 without a terminal.
    """
    if overrides:
        _show_overrides(config, control, json=json)
        return
    if wrong := _wrong_usage(down=down, check=check, watch=watch, every=every, json=json):
        _end_check(NagiosStatus.UNKNOWN, wrong) if check else end("status", wrong, ExitStatus.USAGE)
    words = what or []
    if check:
        _check(words, config, control)
    with explained("status"):
        daemon = RunningDaemon("status", config, control, is_quiet=watch and not json)
        if watch:
            repeat = _repeat if json else _watch
            repeat(lambda: daemon.get(_PATH), words, every or DEFAULT_WATCH_S, down=down)
            return
        body = daemon.get(_PATH)
        whole = decoded(body, Status)
    try:
        answer = _chosen(whole, words)
    except UnknownNameError as error:
        end("status", str(error), ExitStatus.USAGE)
    _show(body, whole, answer, down=down, json=json)
    if troubles(answer):
        raise typer.Exit(ExitStatus.TROUBLE)


def _show_overrides(config: ConfigOption, control: ControlOption, *, json: bool) -> None:
    with explained("status"):
        body = RunningDaemon("status", config, control).get("/api/v1/overrides")
        found = decoded(body, tuple[OverrideValues, ...])
    if json:
        typer.echo(body.decode())
    elif found:
        typer.echo(status_table.rows([_override(each, time.time()) for each in found]), nl=False)
    else:
        say("status", "operators have ordered nothing")


def _override(order: OverrideValues, now: float) -> tuple[str, ...]:
    what = f"weight {order.weight}" if order.kind == "weight" else order.kind
    ends = "" if order.until is None else f"ends in {ago(order.until - now)}"
    missing = "" if order.is_configured else "not configured now"
    since = f"{ago(now - order.since)} ago"
    lost = "etcd has lost it" if order.is_lost else ""
    by = f"uid {order.uid}"
    if order.director:
        by += f" on {printable(order.director)} for the fleet"
    text = [printable(order.reason), ends, missing, lost]
    if order.file:  # if its server is not configured, the reason says so
        by, text = "file", [printable(order.file), printable(order.reason)]
    return printable(order.service), order.server, what, since, by, "; ".join(filter(None, text))


def _wrong_usage(*, down: bool, check: bool, watch: bool, every: float | None, json: bool) -> str:
    """Return which options contradict each other, as a text for the operator; "" if none do."""
    if every is not None and not watch:
        return "--every only goes with --watch"
    if watch and check:
        return "--check asks once, --watch never ends: use one of them"
    if check and (json or down):
        return "--check writes one line: use it without --json and --down"
    return ""


def _check(words: Sequence[str], config: ConfigOption, control: ControlOption) -> NoReturn:
    try:
        answer = _chosen(decoded(RunningDaemon("status", config, control).get(_PATH), Status), words)
    except (ControlError, UnknownNameError) as error:
        _end_check(NagiosStatus.UNKNOWN, str(error))
    _end_check(*verdict_line(answer))


def _end_check(verdict: NagiosStatus, text: str) -> NoReturn:
    typer.echo(_nagios_line(verdict, text))
    raise typer.Exit(verdict)


def _nagios_line(verdict: NagiosStatus, text: str) -> str:
    """Write one bounded line. Nagios takes what follows a bar for performance data."""
    text = " ".join(text.split()).replace("|", "/")
    shown = text if len(text) <= LONGEST_LINE else f"{text[:LONGEST_LINE]}…"
    return f"{verdict.name}: {shown}"


def _chosen(status: Status, words: Sequence[str]) -> Status:
    """Return the status of the services and servers that the operator named. Raises `UnknownNameError`."""
    if not words:
        return status
    known = {each.service: (each.address, [server.server for server in each.real_servers]) for each in status.services}
    is_meant = chosen(words, known)
    services = [
        msgspec.structs.replace(each, real_servers=tuple(kept))
        for each in status.services
        if (kept := [server for server in each.real_servers if is_meant(each.service, server.server)])
    ]
    return msgspec.structs.replace(status, services=tuple(services))


def _only_bad(status: Status) -> Status:
    services = [
        msgspec.structs.replace(each, real_servers=tuple(kept))
        for each in status.services
        if (kept := [server for server in each.real_servers if is_bad(server)]) or shortage(each) or not each.in_sync
    ]
    return msgspec.structs.replace(status, services=tuple(services))


def _show(body: bytes, whole: Status, answer: Status, *, down: bool, json: bool) -> None:
    shown = _only_bad(answer) if down else answer
    console = Console(highlight=False)
    if json:
        typer.echo((body if shown is whole else msgspec.json.encode(shown)).decode())
    elif console.is_terminal:
        console.print(_drawn(whole, shown))
    else:
        for line in (*alarms(answer.daemon), *notices(answer.daemon, time.time())):
            say("status", line)
        typer.echo(status_table.plain(shown, time.time()), nl=False)


def _drawn(whole: Status, shown: Status) -> RenderableType:
    nothing = "nothing is bad" if whole.services else "no services are configured"
    return status_table.draw(shown, time.time(), nothing=nothing)


def _watch(ask: Callable[[], bytes], words: Sequence[str], every_s: float, *, down: bool) -> None:
    """Show the live screen."""
    from lvs_healthd.cli.watch.screen import NoTerminalError, show  # noqa: PLC0415  # other uses need no curses

    try:
        show(lambda: _chosen(decoded(ask(), Status), words), every_s, only_bad=down)
    except NoTerminalError as error:
        end("status", str(error), ExitStatus.USAGE)


def _repeat(ask: Callable[[], bytes], words: Sequence[str], every_s: float, *, down: bool) -> None:
    """Print an answer as JSON again and again until Ctrl-C, and keep asking while the daemon is away for a restart."""
    try:
        while True:
            try:
                body = ask()
                whole = decoded(body, Status)
                _show(body, whole, _chosen(whole, words), down=down, json=True)
            except (ControlError, UnknownNameError) as error:
                say("status", str(error))
            time.sleep(every_s)
    except KeyboardInterrupt:
        return
