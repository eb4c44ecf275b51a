"""What the verbs drain, disable, enable and weight have in common: their options, and how they give an order."""

import datetime as dt
import http
import time
from collections.abc import Iterator
from typing import Annotated, NoReturn

import msgspec
import typer
from rich.console import Console

from lvs_healthd.api.orders import query_of
from lvs_healthd.cli.asking import ControlError, RefusedError, RunningDaemon, decoded, end, explained, say
from lvs_healthd.cli.exit_status import ExitStatus
from lvs_healthd.config.errors import WrongValueError
from lvs_healthd.config.values import duration
from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.override_values import OverriddenServer, OverrideOutcome, OverrideRequest
from lvs_healthd.view.table_values import ListedServer, Listing
from lvs_healthd.view.words import ago

TIMEOUT_S = 15.0
"""How long to wait until an order is carried out, seconds. Writing the file of orders, or to etcd, may take a while."""

LOOK_S = 1.0
"""How often `--wait` asks for the connections, seconds. The daemon reads them from the kernel at each `resync`."""

ServiceArgument = Annotated[
    str, typer.Argument(metavar="[SERVICE]", help="The service, by name or address; may have wildcards.")
]
ServersArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SERVER]...", help="Its real servers; may have wildcards.", show_default="all of them"),
]
EverywhereOption = Annotated[
    str, typer.Option("--everywhere", metavar="ADDRESS", help="One machine, in all its services.", show_default=False)
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; shown in status and in the log.")]
ForOption = Annotated[
    str, typer.Option("--for", metavar="2h", help="For so long; then it ends by itself.", show_default="for ever")
]
UntilOption = Annotated[
    str,
    typer.Option(
        "--until", metavar="TIME", help='Until then: "18:30", or "2026-12-24 18:30", local time.', show_default=False
    ),
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Also if that leaves a service without a real server that may serve.")
]
FleetOption = Annotated[
    bool, typer.Option("--fleet", help="On all directors of the fleet, by way of its etcd; else on this one alone.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the daemon's answer as JSON.")]


def end_of(verb: str, for_: str, until: str) -> float | None:
    """Return when an order ends by itself, Unix time; None for never. Exits with wrong usage."""
    if for_ and until:
        end(verb, "--for and --until are two ways to say the same: use one of them", ExitStatus.USAGE)
    if for_:
        return time.time() + seconds(verb, "--for", for_)
    return _moment(verb, until) if until else None


def seconds(verb: str, option: str, text: str) -> float:
    """Parse a duration on the command line, such as "2h". Exits with wrong usage."""
    try:
        return duration("1s", "3650d")(text)
    except WrongValueError as error:
        _usage(verb, f"{option}: {error}")


def _moment(verb: str, text: str) -> float:
    """Parse a local time; one without a date is the next such time. Exits with wrong usage."""
    now = dt.datetime.now().astimezone()
    try:
        if ":" in text and "-" not in text:
            clock = dt.time.fromisoformat(text)
            moment = dt.datetime.combine(now.date(), clock).astimezone()
            if moment <= now:  # the same time tomorrow, which is not 24 hours later if the clocks change
                moment = dt.datetime.combine(now.date() + dt.timedelta(days=1), clock).astimezone()
            return moment.timestamp()
        moment = dt.datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):
        _usage(verb, f'--until: expected a time such as "18:30" or "2026-12-24 18:30", got "{text}"')
    if moment <= now:
        _usage(verb, f"--until: {text} is over already")
    return moment.timestamp()


def _usage(verb: str, text: str) -> NoReturn:
    end(verb, text, ExitStatus.USAGE)


def give(daemon: RunningDaemon, request: OverrideRequest, *, json: bool) -> OverrideOutcome:
    """Give an order and show what came of it. Exits if it is refused."""
    if bool(request.everywhere) == bool(request.service):
        _usage(request.verb, "which servers? name a service, or a machine with --everywhere")
    with explained(request.verb):
        try:
            body = daemon.post(f"/api/v1/overrides?{query_of(request)}", timeout_s=TIMEOUT_S)
        except RefusedError as error:
            if error.code == http.HTTPStatus.NOT_FOUND:
                raise ControlError("this daemon is older and takes no orders; nothing was changed") from error
            if error.code != http.HTTPStatus.UNPROCESSABLE_ENTITY:
                raise
            body = error.body
        outcome = decoded(body, OverrideOutcome)
    if json:
        typer.echo(body.decode())
    if outcome.refused:
        end(request.verb, outcome.refused, ExitStatus.USAGE if outcome.is_usage else ExitStatus.FAILED)
    if not json:
        for each in outcome.servers:
            typer.echo(_line(each))
    for advice in outcome.advice:
        say(request.verb, advice)
    return outcome


def _line(server: OverriddenServer) -> str:
    """Say how a server stands now."""
    if server.state:
        stands = server.state
    elif server.verdict == "up":
        stands = f"serves with weight {server.weight}" if server.weight else "up with weight 0"
    else:
        stands = f"{server.verdict}; weight {server.weight} once it is up"
    unchanged = "" if server.was_changed else " (as before)"
    return f"{printable(server.service)} {server.server}: {stands}{unchanged}"


def wait_until_empty(daemon: RunningDaemon, outcome: OverrideOutcome) -> None:
    """Wait until drained servers have left the kernel's table. Show the progress.

    The daemon removes them when the kernel counts no connections any more. A count that is shown here may be from
    before the order. Exits if somebody puts a server back meanwhile.
    """
    drained = {(each.service, each.server) for each in outcome.servers if each.state == "drained"}
    console = Console(highlight=False)
    began = time.monotonic()
    most = 0
    at_rest: set[tuple[str, str]] = set()
    """Those for which the daemon has wanted weight 0. It takes a moment after the order."""
    with explained("drain"):
        while drained:
            left = dict(_in_table(daemon, drained))
            wanted = {place for place, server in left.items() if server.wanted is not None and server.wanted.weight}
            for service, server in sorted(wanted & at_rest):
                end("drain", f"{printable(service)} {server} is not drained any more")
            at_rest |= drained - wanted
            if not left:
                break
            counts = [_counts(each) for each in left.values()]
            active, inactive = sum(each[0] for each in counts), sum(each[1] for each in counts)
            most = max(most, active + inactive)
            serving = sum(each.actual is not None and each.actual.weight > 0 for each in left.values())
            _progress(console, (active, inactive), (most, serving), time.monotonic() - began)
            time.sleep(LOOK_S)
    if console.is_terminal:
        console.print()
    typer.echo(f"out of the table after {ago(time.monotonic() - began)}")


def _progress(console: Console, left: tuple[int, int], of: tuple[int, int], passed_s: float) -> None:
    """Show how far it is.

    left: the active and the inactive connections.
    of: the most connections that there were, and how many servers still get new ones.
    """
    active, inactive = left
    most, serving = of
    text = f"{active} active, {inactive} inactive connections left, {ago(passed_s)}"
    if serving:
        text += f"; {serving} not at weight 0 yet"
    if not console.is_terminal:
        typer.echo(text)
        return
    width = 30
    done = width * (most - active - inactive) // most if most else width
    # Not by the console, which takes carriage returns out of texts.
    typer.echo(f"\r[{'#' * done}{'.' * (width - done)}] {text}   ", nl=False)


def _in_table(daemon: RunningDaemon, meant: set[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], ListedServer]]:
    """Yield each of these servers that is in the kernel's table."""
    listing = msgspec.json.decode(daemon.get("/api/v1/table"), type=Listing)
    for service in listing.services:
        for server in service.servers:
            place = (service.service, server.server)
            if place in meant and server.actual is not None:
                yield place, server


def _counts(server: ListedServer) -> tuple[int, int]:
    counted = server.statistics
    if counted is None:
        return 0, 0
    return counted.active_connections, counted.inactive_connections + counted.persistent_connections
